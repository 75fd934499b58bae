/**
 * What Kafka's own tools read in a group of protocol type `consumer`: subscription and assignment, version 0
 * (org.apache.kafka.clients.consumer.internals.ConsumerProtocol). Druse's own part is the user data.
 */
import { DruseError } from '../errors.ts'
import type { TopicPartition } from '../types.ts'

export function encodeSubscription(topics: readonly string[], userData: Uint8Array): Buffer {
  return Buffer.concat([
    int16(0),
    int32(topics.length),
    ...topics.map(text),
    int32(userData.length),
    userData,
  ])
}

export function decodeSubscription(bytes: Uint8Array): { topics: string[]; userData: Buffer } {
  const reader = new Reader(bytes)
  reader.int16()
  const topics = Array.from({ length: reader.count() }, () => reader.text())
  return { topics, userData: reader.bytes() }
}

export function encodeAssignment(partitions: readonly TopicPartition[], userData: Uint8Array): Buffer {
  const topics = Map.groupBy(partitions, ({ topic }) => topic)
  const parts: Uint8Array[] = [int16(0), int32(topics.size)]
  for (const [topic, list] of topics) {
    parts.push(text(topic), int32(list.length), ...list.map(({ partition }) => int32(partition)))
  }
  return Buffer.concat([...parts, int32(userData.length), userData])
}

export function decodeAssignment(bytes: Uint8Array): { partitions: TopicPartition[]; userData: Buffer } {
  // A member that joined without anything to do gets no bytes at all.
  if (bytes.length === 0) return { partitions: [], userData: Buffer.alloc(0) }
  const reader = new Reader(bytes)
  reader.int16()
  const partitions: TopicPartition[] = []
  for (let topics = reader.count(); topics > 0; topics--) {
    const topic = reader.text()
    for (let left = reader.count(); left > 0; left--) partitions.push({ topic, partition: reader.int32() })
  }
  return { partitions, userData: reader.bytes() }
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  int16(): number {
    return this.#take(2).readInt16BE(0)
  }

  int32(): number {
    return this.#take(4).readInt32BE(0)
  }

  /** Of elements that have at least two bytes each, so never more than the bytes can hold. */
  count(): number {
    const count = this.int32()
    if (count < 0 || count * 2 > this.#bytes.length - this.#at) throw malformed()
    return count
  }

  text(): string {
    return this.#take(this.int16()).toString('utf8')
  }

  /** Null counts as empty. */
  bytes(): Buffer {
    if (this.#at === this.#bytes.length) return Buffer.alloc(0)
    const length = this.int32()
    return length < 0 ? Buffer.alloc(0) : this.#take(length)
  }

  #take(length: number): Buffer {
    if (length < 0 || this.#at + length > this.#bytes.length) throw malformed()
    const bytes = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return bytes
  }
}

function malformed(): DruseError {
  return new DruseError(
    'GROUP_PROTOCOL',
    "A member's group data cannot be read; another kind of consumer is in this group",
  )
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8')
  return Buffer.concat([int16(bytes.length), bytes])
}
