/**
 * A region as it is committed, by its changelog or its topic: whole, whichever instances run or have its parts, and read
 * as an instance reads its own.
 */
import { DruseError } from '../errors.ts'
import type { AnyRegion } from '../region/definition.ts'
import { RegionReplica } from '../region/replica.ts'
import { TypedEntries } from '../region/typed.ts'
import type { Committed, CommittedRegion } from '../runtime/query.ts'
import { memoryDisk } from '../store/index.ts'
import { logOf } from '../topology/internal-topics.ts'
import type { CommittedTail } from './committed-tail.ts'
import type { World } from './world.ts'

interface Opened {
  readonly replica: RegionReplica
  /** Up to the end of what is committed. */
  update(): Promise<void>
}

export class RegionView implements CommittedRegion<unknown, unknown> {
  readonly #world: World
  readonly #region: AnyRegion
  #opened: Opened | undefined

  /** Errors: TOPOLOGY_INVALID. */
  constructor(world: World, region: AnyRegion) {
    const { regions, globals } = world.graph
    const known = region.kind === 'global' ? globals : regions
    if (!known.has(region.name)) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `Region '${region.name}' is not of this application's topology`,
      )
    }
    this.#world = world
    this.#region = region
  }

  get(key: unknown): Promise<unknown> {
    return this.#read(async (replica) => replica.get(key))
  }

  async *range(bounds: Parameters<RegionReplica['range']>[0] = {}) {
    yield* await this.#read((replica) => entriesOf(replica.range(bounds)))
  }

  async *prefix(...of: Parameters<RegionReplica['prefix']>) {
    yield* await this.#read((replica) => entriesOf(replica.prefix(...of)))
  }

  async *fetch(...of: Parameters<RegionReplica['fetch']>) {
    yield* await this.#read((replica) => entriesOf(replica.fetch(...of)))
  }

  async *fetchAll(...of: Parameters<RegionReplica['fetchAll']>) {
    yield* await this.#read((replica) => entriesOf(replica.fetchAll(...of)))
  }

  #read<T>(look: (replica: RegionReplica) => Promise<T>): Promise<T> {
    const world = this.#world
    return world.inTurn(async () => {
      await world.untilIdle()
      this.#opened ??= await world.run(this.#open())
      const { replica, update } = this.#opened
      await world.run(update())
      return look(replica)
    })
  }

  async #open(): Promise<Opened> {
    const { graph, registry } = this.#world
    const region = this.#region
    const topic = region.kind === 'global' ? region.topic : logOf(graph.application, region)
    const key = await region.key.open({ topic, part: 'key', registry, writes: true })
    const value = await region.value.open({ topic, part: 'value', registry, writes: false })
    const timed = region.kind === 'global' ? undefined : region.timed
    const entries = new TypedEntries<unknown, unknown>(region.name, region.key, key, value, timed)
    const store = await memoryDisk().open('view')
    const tail: CommittedTail = await this.#world.tail(topic)
    const update = async (): Promise<void> => {
      for (const { raw } of await tail.next()) {
        await entries.prepare(raw)
        const write = entries.write(raw)
        if (write !== undefined) await store.write([write])
      }
    }
    return { replica: new RegionReplica(entries, store), update }
  }
}

async function entriesOf<T>(entries: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const entry of entries) all.push(entry)
  return all
}

export function regionView<R extends AnyRegion>(world: World, region: R): Committed<R> {
  return new RegionView(world, region) as unknown as Committed<R>
}
