/** What a task writes to topics: records on their way to sinks, and dead letters. */
import { DruseError } from '../errors.ts'
import { recordBytesMax } from '../kafka/record-batch.ts'
import type { Codec } from '../ports.ts'
import type { RepartitionNode, SinkNode, Step } from '../topology/graph.ts'
import type { StreamRecord } from '../topology/record.ts'
import type { TopicChooser } from '../topology/routing.ts'
import { operatorFailed } from '../topology/steps.ts'
import type { Header } from '../types.ts'
import { Opening, type OutputTopic } from './chosen-topics.ts'
import { type Output, OutputLog } from './output-log.ts'
import { type Destination, Placement, type TopicDestinations } from './placement.ts'

/** Where it goes. */
export interface OutputSurroundings {
  destinations(topic: string): TopicDestinations
  output(node: SinkNode | RepartitionNode, topic: string): OutputTopic
  /** Of a topic that was chosen for a record; on its way when it is not known yet. */
  chosenOutput(node: SinkNode, topic: string): OutputTopic | Opening
}

export class TaskOutputs {
  readonly #surroundings: OutputSurroundings
  readonly #placement = new Placement()
  #log = new OutputLog()
  #bytes = 0
  /** Topics that the record under way waits for. */
  readonly #openings = new Set<Opening>()

  constructor(surroundings: OutputSurroundings) {
    this.#surroundings = surroundings
  }

  get size(): number {
    return this.#log.size
  }

  /** Since the last seal, roughly. */
  get bytes(): number {
    return this.#bytes
  }

  get openings(): Iterable<Opening> {
    return this.#openings
  }

  /** Takes back all behind the first ones. */
  truncate(size: number): void {
    this.#log.truncate(size)
  }

  /** The next ones go into another log. */
  seal(): OutputLog {
    const sealed = this.#log
    this.#log = new OutputLog()
    this.#bytes = 0
    return sealed
  }

  /** Its partition follows from the key's bytes. */
  letter(topic: string, letter: Omit<Output, 'to'> & { readonly headers: readonly Header[] }): void {
    const to = this.#placement.byKey(this.#surroundings.destinations(topic), letter.key)
    this.emit({ to, ...letter })
  }

  /** As a step of the chain. */
  of(node: SinkNode | RepartitionNode): Step {
    const { topic } = node
    if (typeof topic === 'function') return this.#chosenOutput(node as SinkNode, topic)
    const output = this.#surroundings.output(node, topic)
    return (record) => this.#send(node, output, record)
  }

  #chosenOutput(node: SinkNode, choose: TopicChooser): Step {
    return (record) => {
      let output: OutputTopic | Opening
      try {
        output = this.#surroundings.chosenOutput(node, choose(record.value, record.key, record))
      } catch (error) {
        throw operatorFailed(node.name, record, error)
      }
      if (!(output instanceof Opening)) return this.#send(node, output, record)
      return this.#sendWhenOpen(node, output, record)
    }
  }

  async #sendWhenOpen(node: SinkNode, opening: Opening, record: StreamRecord): Promise<void> {
    let opened: OutputTopic
    this.#openings.add(opening)
    try {
      opened = await opening.opened
    } catch (error) {
      throw operatorFailed(node.name, record, error)
    } finally {
      this.#openings.delete(opening)
    }
    this.#send(node, opened, record)
  }

  #send(node: SinkNode | RepartitionNode, output: OutputTopic, record: StreamRecord): void {
    const { name, partitioner } = node
    const { destinations } = output
    const { topic } = destinations[0] as Destination
    try {
      const key = encode(output.key, record.key, 'key', topic)
      const value = encode(output.value, record.value, 'value', topic)
      const placed = key === null ? null : (node.key.partitionBytes?.(key) ?? key)
      const to =
        partitioner === undefined
          ? this.#placement.byKey(destinations, placed)
          : this.#placement.chosen(partitioner, destinations, placed, record)
      this.emit({ to, timestamp: record.timestamp, key, value, headers: record.headers })
    } catch (error) {
      throw operatorFailed(name, record, error)
    }
  }

  emit(output: Output): void {
    const bytes = recordBytesMax(output.key, output.value, output.headers)
    const { topic, maxRecordBytes } = output.to
    if (bytes > maxRecordBytes) {
      throw new DruseError(
        'RECORD_TOO_LARGE',
        `A record for topic '${topic}' has ${bytes} bytes, the topic takes ${maxRecordBytes}; raise its max.message.bytes or write less`,
        { topic, bytes, limitBytes: maxRecordBytes },
      )
    }
    this.#log.push(output)
    this.#bytes += bytes
  }
}

function encode(codec: Codec<unknown>, value: unknown, part: string, topic: string): Uint8Array | null {
  if (value === null) return null
  if (value !== undefined) return codec.encode(value)
  throw new DruseError(
    'ENCODE_FAILED',
    `A record for topic '${topic}' has an undefined ${part}; an operator returned nothing. Use null where nothing is meant`,
  )
}
