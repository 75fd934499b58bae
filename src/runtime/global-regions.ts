/**
 * Replicated regions of this process: a full copy of each topic in the process store, with the position beside the
 * data in every batch. Loaded to the last stable offset before tasks run, then kept up to date.
 */
import { DruseError } from '../errors.ts'
import type { Delivery } from '../kafka/fetcher.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { PartitionReader } from '../kafka/partition-reader.ts'
import { recordsOf } from '../kafka/read-committed.ts'
import { listOffsets, type TopicDescription } from '../kafka/topics.ts'
import type { Store } from '../ports.ts'
import type { GlobalRegion } from '../region/definition.ts'
import {
  assertFingerprint,
  assertFoundAlike,
  EntryWrites,
  type Fingerprint,
  OF_NOTHING,
} from '../region/fingerprint.ts'
import { readStatement, readStoreValue, statementWrite } from '../region/layout.ts'
import { clearRange } from '../region/range.ts'
import { RegionReplica } from '../region/replica.ts'
import { memoryDisk } from '../store/index.ts'
import { preparationOf, prepared } from './preparation.ts'
import { deleteRetentionMs, type Surroundings } from './surroundings.ts'
import { definitionOf, shortHash } from './task-metadata.ts'

const PREPARED_AT_ONCE = 1_000

/** What stands beside the entries of a partition. */
interface Known {
  /** What they are a copy of. */
  readonly of: string
  readonly position: number
  /** Wall clock: when they were last known to be all that the topic holds up to the position. */
  readonly asOfMs: number
}

export class GlobalRegions {
  readonly #surroundings: Surroundings
  readonly #reader: PartitionReader
  readonly #closing = new AbortController()
  readonly #reading: Promise<void>[] = []
  /** Entries of regions that are kept in memory, by name. Their positions stand in the process store all the same. */
  readonly #memory = new Map<string, Store>()
  /** The last write of each region: its fingerprint is of all its partitions. */
  readonly #writing = new Map<GlobalRegion, Promise<void>>()

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
    this.#reader = new PartitionReader(surroundings.cluster)
  }

  get #store(): Store {
    return this.#surroundings.directory.processStore
  }

  /**
   * Resolves when every region holds what its topic held at the call. `failed` is told what stops the updates later.
   * Errors: TOPIC_SETTINGS, those of the reader and of the store.
   */
  async load(topics: ReadonlyMap<string, TopicDescription>, failed: (error: unknown) => void): Promise<void> {
    const { globals } = this.#surroundings.plan.graph
    for (const { name, store } of globals.values()) {
      if (store === 'memory') this.#memory.set(name, await memoryDisk().open('memory'))
    }
    await this.#assertWhole(
      [...globals.values()].filter(({ name }) => !this.#memory.has(name)),
      topics,
    )
    await Promise.all(
      Array.from(globals.values(), async (region) => {
        const topic = topics.get(region.topic) as TopicDescription
        checkRetention(region, topic)
        const entries = this.#surroundings.entries(region.name)
        this.#surroundings.addGlobal(new RegionReplica(entries, this.#memory.get(region.name) ?? this.#store))
        await this.#loadRegion(region, topic, failed)
      }),
    )
  }

  /** Nothing is read any more; a load that has not ended fails. */
  stop(): void {
    this.#closing.abort()
    this.#reader.close()
  }

  async close(): Promise<void> {
    this.stop()
    await Promise.allSettled(this.#reading)
  }

  /** After a crash or damage: what cannot be trusted is moved aside. */
  async #assertWhole(
    regions: readonly GlobalRegion[],
    topics: ReadonlyMap<string, TopicDescription>,
  ): Promise<void> {
    const { directory, log } = this.#surroundings
    try {
      for (const region of regions) {
        const fingerprint = this.#fingerprint(region)
        for (let n = 0; n < (topics.get(region.topic) as TopicDescription).partitions; n++) {
          this.#stored(region, n)
          if (!this.#store.asClosed) await assertFoundAlike(this.#store, positionKey(region, n))
        }
        if (this.#store.asClosed) continue
        await assertFoundAlike(this.#store, fingerprintKey(region))
        await assertFingerprint(this.#store, this.#surroundings.entries(region.name), fingerprint)
      }
    } catch (error) {
      if (!DruseError.is(error, 'STORE_CORRUPT')) throw error
      await directory.replaceProcessStore(log, error.message)
    }
  }

  async #loadRegion(
    region: GlobalRegion,
    topic: TopicDescription,
    failed: (error: unknown) => void,
  ): Promise<void> {
    const { cluster, clock, log } = this.#surroundings
    const partitions = Array.from({ length: topic.partitions }, (_, partition) => ({
      topic: topic.topic,
      partition,
    }))
    const starts = await listOffsets(cluster, partitions, 'earliest')
    const ends = await listOffsets(cluster, partitions, 'latest')
    const of = this.#identity(region, topic)
    // What was in memory is gone, whatever the positions say.
    const isKept = !this.#memory.has(region.name)
    const stored = partitions.map((at) => (isKept ? this.#stored(region, at.partition) : undefined))
    const startedMs = clock.wallMs()
    const freshMs = freshnessOf(topic)
    const isWhole = partitions.every((at, i) => {
      const start = starts.get(partitionKey(at)) as number
      const end = ends.get(partitionKey(at)) as number
      const known = stored[i]
      // What is empty leaves nothing behind, and a copy of another topic or definition is none.
      if (known === undefined) return end === start
      if (known.of !== of || known.position < start) return false
      // Of what was deleted since, the topic may have forgotten it. A time in the future is of a wrong clock.
      const ageMs = startedMs - known.asOfMs
      return known.position >= end || (ageMs >= 0 && ageMs <= freshMs)
    })
    if (isWhole) await this.#prepareKept(region)
    else await this.#clear(region)
    await Promise.all(
      partitions.map((at, i) => {
        const key = partitionKey(at)
        const kept = isWhole ? stored[i] : undefined
        const from = kept?.position ?? (starts.get(key) as number)
        const loaded = Promise.withResolvers<void>()
        const end = ends.get(key) as number
        let asOfMs: number | undefined = kept?.asOfMs ?? startedMs
        if (from >= end) {
          asOfMs = undefined
          loaded.resolve()
        }
        const reading = this.#reader
          .read(
            at,
            from,
            async (delivery) => {
              if (delivery.nextOffset >= end) asOfMs = undefined
              const known = { of, position: delivery.nextOffset, asOfMs: asOfMs ?? clock.wallMs() }
              await this.#apply(region, delivery, known)
              if (delivery.nextOffset >= end) loaded.resolve()
              return false
            },
            this.#closing.signal,
          )
          .catch((error: unknown) => {
            loaded.reject(error)
            if (!this.#closing.signal.aborted) failed(error)
          })
        this.#reading.push(reading)
        return loaded.promise
      }),
    )
    log.info({ region: region.name, topic: topic.topic }, 'global region: loaded')
  }

  async #apply(region: GlobalRegion, delivery: Delivery, known: Known): Promise<void> {
    const entries = this.#surroundings.entries(region.name)
    const records = [...recordsOf(delivery.batches)]
    await this.#prepare(
      region,
      records.map(({ value }) => value),
    )
    if (this.#closing.signal.aborted) return
    const writes = new EntryWrites()
    for (const raw of records) {
      const write = entries.write(raw)
      if (write !== undefined) writes.add(write)
    }
    // Control records alone move the position, too.
    const { partition } = delivery
    if (writes.size === 0 && this.#stored(region, partition)?.position === known.position) return
    const before = this.#writing.get(region)
    const written = (async () => {
      await before
      const memory = this.#memory.get(region.name)
      if (memory !== undefined) {
        await memory.write(writes.writes)
        await this.#store.write([statementWrite(positionKey(region, partition), known)])
        return
      }
      const fingerprint = await writes.fingerprintAfter(this.#store, entries, this.#fingerprint(region))
      await this.#store.write([
        ...writes.writes,
        statementWrite(positionKey(region, partition), known),
        statementWrite(fingerprintKey(region), fingerprint),
      ])
    })()
    this.#writing.set(
      region,
      written.catch(() => {}),
    )
    await written
  }

  /**
   * What an earlier run has loaded: the schemas that were kept beside it may be gone. From here on a value that cannot be
   * decoded is one that nobody can decode with this serde.
   */
  async #prepareKept(region: GlobalRegion): Promise<void> {
    const { prefix, end, value } = this.#surroundings.entries(region.name)
    if (value.prepare === undefined) return
    let values: Uint8Array[] = []
    for await (const [, stored] of this.#store.range({ gte: prefix, lt: end })) {
      values.push(readStoreValue(stored).value)
      if (values.length < PREPARED_AT_ONCE) continue
      await this.#prepare(region, values)
      if (this.#closing.signal.aborted) return
      values = []
    }
    await this.#prepare(region, values)
  }

  async #prepare(region: GlobalRegion, values: readonly (Uint8Array | null)[]): Promise<void> {
    const { clock, log } = this.#surroundings
    const codec = this.#surroundings.entries(region.name).value
    await prepared(() => values.flatMap((value) => preparationOf(codec, value) ?? []), {
      clock,
      signal: this.#closing.signal,
      waiting: (error) =>
        log.warn({ region: region.name, error }, 'global region: waiting for the schema registry'),
    })
  }

  /** Undefined: nothing is stored. */
  #stored(region: GlobalRegion, partition: number): Known | undefined {
    return readKnown(this.#store, region, partition)
  }

  #fingerprint(region: GlobalRegion): Fingerprint {
    return readStated<Fingerprint>(this.#store, fingerprintKey(region)) ?? OF_NOTHING
  }

  /** A copy of this topic, of this cluster, with these serdes. */
  #identity(region: GlobalRegion, { topicId }: TopicDescription): string {
    const kept = this.#memory.has(region.name) ? ' in memory' : ''
    return shortHash(`${this.#surroundings.clusterHash} ${topicId} ${definitionOf(region)}${kept}`)
  }

  /** Only a copy is deleted: the topic has it all. */
  async #clear(region: GlobalRegion): Promise<void> {
    const { prefix, end } = this.#surroundings.entries(region.name)
    const positions = positionKey(region)
    // Positions last: as long as one stands there, the entries are known to be of something else.
    const bounds = [
      { gte: prefix, lt: end },
      { gte: positions, lt: Buffer.concat([positions, Buffer.of(0xff)]) },
    ]
    for (const bound of bounds) await clearRange(this.#store, bound)
    await this.#store.write([[fingerprintKey(region), null]])
  }
}

/** Up to which offset a process store holds a region's topic; undefined: nothing of it. */
export function storedPosition(store: Store, region: GlobalRegion, partition: number): number | undefined {
  return readKnown(store, region, partition)?.position
}

function readKnown(store: Store, region: GlobalRegion, partition: number): Known | undefined {
  return readStated<Known>(store, positionKey(region, partition))
}

function readStated<T extends object>(store: Store, key: Uint8Array): T | undefined {
  const bytes = store.getSync(key)
  return bytes === undefined ? undefined : readStatement<T>(key, bytes)
}

/** Below the entries of all regions, beside what a store says of itself. */
function positionKey(region: GlobalRegion, partition?: number): Buffer {
  return Buffer.from(`\0global ${region.name}/${partition ?? ''}`, 'utf8')
}

function fingerprintKey({ name }: GlobalRegion): Buffer {
  return Buffer.from(`\0fingerprint ${name}`, 'utf8')
}

/** For how long entries can be brought up to date by what came after them: see restore-task.ts. */
function freshnessOf({ configs }: TopicDescription): number {
  const isCompacted = configs['cleanup.policy']?.includes('compact') ?? true
  return isCompacted ? deleteRetentionMs(configs) / 2 : Number.POSITIVE_INFINITY
}

function checkRetention(region: GlobalRegion, { topic, configs }: TopicDescription): void {
  const policy = configs['cleanup.policy'] ?? 'delete'
  if (!policy.includes('delete') || configs['retention.ms'] === '-1') return
  throw new DruseError(
    'TOPIC_SETTINGS',
    `Topic '${topic}' of global region '${region.name}' deletes records by age (cleanup.policy=${policy}): entries would vanish. Set cleanup.policy=compact or retention.ms=-1`,
    { topic, region: region.name },
  )
}
