/** An embedded broker with a clock, a disk and a client, for tests that look behind the wire. */
import { EmbeddedBroker } from '../../src/embedded/embedded-broker.ts'
import type { BrokerSettings } from '../../src/embedded/settings.ts'
import type { Random, Store } from '../../src/ports.ts'
import { type MemoryDisk, memoryDisk } from '../../src/store/index.ts'
import { Session } from '../contract/fixture.ts'
import { TestClock } from './test-clock.ts'

const TRAITS = { sessionTimeoutMs: 6_000, patienceMs: 20_000, canCompact: true }

/** Small, fast, seeded: mulberry32. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return { next, bytes: (count) => Uint8Array.from({ length: count }, () => Math.floor(next() * 256)) }
}

/** A broker, and the way to kill it and open it again. */
export class Assembly {
  readonly clock: TestClock
  readonly disk: MemoryDisk
  readonly #random: Random
  readonly #settings: Partial<BrokerSettings>
  #broker: EmbeddedBroker | undefined
  #session: Session | undefined
  #count = 0
  #gate: Promise<void> = Promise.resolve()

  constructor(settings: Partial<BrokerSettings> = {}, parts: { clock?: TestClock; random?: Random } = {}) {
    this.clock = parts.clock ?? new TestClock()
    this.disk = memoryDisk()
    this.#random = parts.random ?? seededRandom(1)
    this.#settings = settings
  }

  static async open(settings: Partial<BrokerSettings> = {}): Promise<Assembly> {
    const assembly = new Assembly(settings)
    await assembly.open()
    return assembly
  }

  get broker(): EmbeddedBroker {
    if (this.#broker === undefined) throw new Error('The broker is not open')
    return this.#broker
  }

  get session(): Session {
    if (this.#session === undefined) throw new Error('The broker is not open')
    return this.#session
  }

  /** Holds back the writes to the store from now on, until released. */
  gate(): { release(): void } {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#gate = promise
    return { release: resolve }
  }

  async open(): Promise<void> {
    const disk = await this.disk.open('broker')
    this.#gate = Promise.resolve()
    const store: Store = {
      asClosed: disk.asClosed,
      getSync: (key) => disk.getSync(key),
      getMany: (keys) => disk.getMany(keys),
      range: (bounds) => disk.range(bounds),
      write: async (writes) => {
        await this.#gate
        await disk.write(writes)
      },
      distrust: () => disk.distrust(),
      close: () => disk.close(),
    }
    const { clock } = this
    this.#broker = await EmbeddedBroker.open({ store, clock, random: this.#random, ...this.#settings })
    this.#count += 1
    const cluster = { wire: this.#broker.wire(), close: () => this.broker.close() }
    this.#session = new Session(cluster, TRAITS, `run${this.#count}`)
  }

  /** As kill -9 does: what is in the store stays, nothing else. */
  async kill(): Promise<void> {
    const { broker } = this
    this.disk.crash()
    this.#session?.close()
    await broker.close().catch(() => {})
    this.#broker = undefined
    this.#session = undefined
  }

  async killAndOpen(): Promise<void> {
    await this.kill()
    await this.open()
  }

  /** How many entries the store has. */
  async entryCount(): Promise<number> {
    const store = await this.disk.open('broker')
    let count = 0
    for await (const _ of store.range({})) count += 1
    await store.close()
    return count
  }
}
