/**
 * An application whose state directories are damaged while it is stopped. It is started on each of them and has to come
 * out with the state that its changelogs hold, whatever became of the files, and to go on from there.
 */
import { cp, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json, string, Topology } from '../../src/index.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import { type Instance, PATIENT } from '../runtime/instance.ts'
import { Stage, strings } from '../runtime/stage.ts'
import { DAMAGES } from './kinds.ts'

/**
 * rebuilt: noticed, moved aside, made again from the changelog. behind: a store of some commits ago, brought up to date.
 * asBefore: nothing that was in it has changed. replica: a store of replicated regions that was not moved aside; it was
 * as before, behind, or of another topic and filled anew.
 */
export type Outcome = 'rebuilt' | 'behind' | 'asBefore' | 'replica'

export interface Case {
  readonly kind: string
  readonly seed: number
  readonly fixture: string
  readonly what: string
  readonly outcome: Outcome
}

interface Counted {
  readonly count: number
  readonly text: string
}

/** A state directory as it was left. */
interface Fixture {
  readonly name: string
  readonly root: string
  readonly older: string
}

const PARTITIONS = 2
const KEYS = 300
const NAMES = 50
const LIVES = 6
/** Enough for logs of several blocks of LevelDB's, with several commits in each. */
const RECORDS_PER_LIFE = 2_400
const FEEDS_PER_LIFE = 15
const FED_PER_CASE = 4
const TASK = 'tasks/in-0'
const OTHER_TASK = 'tasks/in-1'
const PROCESS = 'process'
/** A damaged copy has to be started, rebuilt and judged within it. */
const PATIENCE_MS = 60_000

const REGIONS = new Topology('regions')
const COUNTS = REGIONS.region('counts', { key: string, value: json<Counted>() })
const GLOBALS = REGIONS.globalRegion('names', { topic: 'names', ...strings })

function counting(): Topology {
  const t = new Topology('damage')
  const counts = t.region('counts', { key: string, value: json<Counted>() })
  t.globalRegion('names', { topic: 'names', ...strings })
  t.stream('in', strings)
    .process('count', { regions: [counts], value: string }, ({ key, value }, context) => {
      const count = (context.counts.get(key)?.count ?? 0) + 1
      if (value === 'forget') context.counts.delete(key)
      else context.counts.put(key, { count, text: value })
      context.forward(key, String(count))
    })
    .to('out')
  return t
}

export class DamageWorld {
  readonly #stage: Stage
  readonly #root: string
  readonly #fixtures: Fixture[] = []
  readonly #otherCluster: string
  /** What has to be in `counts`. */
  readonly #counts = new Map<string, Counted>()
  readonly #names = new Map<string, string>()
  /** What has to come out, by key. */
  readonly #out = new Map<string, string[]>()
  readonly #random = new SeededRandom(1)
  /** Where `counts` of each task stands in an undamaged fixture. */
  readonly #positions = new Map<string, number>()
  #fed = 0

  private constructor(stage: Stage, root: string) {
    this.#stage = stage
    this.#root = root
    this.#otherCluster = join(root, 'other-cluster')
  }

  static async open(): Promise<DamageWorld> {
    const world = new DamageWorld(await stageOf(), await mkdtemp(join(tmpdir(), 'druse-damage-')))
    await world.#makeOther()
    await world.#makeFixtures()
    for (const fixture of world.#fixtures) await world.#control(fixture)
    return world
  }

  async close(): Promise<void> {
    await this.#stage.close()
    await rm(this.#root, { recursive: true })
  }

  /** Errors: when the state is not what it has to be, or the application does not run. */
  async run(kind: string, seed: number): Promise<Case> {
    const random = new SeededRandom(seed)
    for (let attempt = 0; attempt < 100; attempt++) {
      // The first life has nothing before it.
      const fixture = random.pick(this.#fixtures.slice(2))
      const store = random.chance(0.25) ? PROCESS : TASK
      const root = await mkdtemp(join(this.#root, 'case-'))
      try {
        await cp(fixture.root, root, { recursive: true })
        const what = await DAMAGES[kind]?.({
          directory: join(root, store),
          older: join(fixture.older, store),
          // There is one process store.
          otherTask: join(store === PROCESS ? fixture.older : fixture.root, otherOf(store)),
          otherCluster: join(this.#otherCluster, store),
          random,
        })
        if (what === undefined) continue
        const place = `${kind}, seed ${seed}, ${fixture.name} ${store}: ${what}`
        try {
          return { kind, seed, fixture: fixture.name, what, outcome: await this.#judge(root, store, fixture) }
        } catch (error) {
          throw new Error(`${place}: ${error instanceof Error ? error.message : error}`, { cause: error })
        }
      } finally {
        await rm(root, { recursive: true })
      }
    }
    throw new Error(`${kind}: nothing to damage`)
  }

  /** Of all that was put in, in all cases: exactly that has come out. */
  async checkOutputs(): Promise<void> {
    const found = new Map<string, string[]>()
    for (const [key, value] of await this.#stage.read('out')) {
      const list = found.get(key) ?? []
      found.set(key, list)
      list.push(value)
    }
    for (const [key, expected] of this.#out) {
      if (found.get(key)?.join() !== expected.join())
        throw new Error(`of ${key} has come out ${found.get(key)}, not ${expected}`)
    }
  }

  async #makeOther(): Promise<void> {
    const stage = await stageOf()
    const one = await stage.run(counting, { stateDir: this.#otherCluster, ...PATIENT })
    await stage.say('in', ...Array.from({ length: KEYS }, (_, n) => [`key-${n}`, 'of others'] as const))
    await stage.say('names', ['name-0', 'of others'])
    await stage.drained(counting)
    await one.close()
    await stage.close()
  }

  async #makeFixtures(): Promise<void> {
    const root = join(this.#root, 'base')
    for (let life = 0; life < LIVES; life++) {
      const one = await this.#stage.run(counting, { stateDir: root, ...PATIENT })
      for (let n = 0; n < FEEDS_PER_LIFE; n++) {
        await this.#feed(RECORDS_PER_LIFE / FEEDS_PER_LIFE)
        await this.#feedNames()
      }
      await this.#keep(`${life} killed`, root, life)
      await one.close()
      await this.#keep(`${life} closed`, root, life)
    }
  }

  /** A copy of files that are in use is what a process leaves that is killed then. */
  async #keep(name: string, root: string, life: number): Promise<void> {
    const copy = join(this.#root, name.replace(' ', '-'))
    for (;;) {
      const before = await sizesOf(root)
      await rm(copy, { recursive: true, force: true })
      await cp(root, copy, { recursive: true }).catch(() => {})
      // LevelDB may have been at work meanwhile, and the copy of several moments.
      if ((await sizesOf(root)) === before && (await sizesOf(copy)) === before) break
    }
    const older = join(this.#root, `${Math.max(0, life - 1 - this.#random.below(2))}-closed`)
    this.#fixtures.push({ name, root: copy, older })
  }

  /** What is not damaged is used as it is. */
  async #control(fixture: Fixture): Promise<void> {
    const root = await mkdtemp(join(this.#root, 'control-'))
    await cp(fixture.root, root, { recursive: true })
    const one = await this.#start(root)
    if (one.logged('moved aside')) throw new Error(`${fixture.name} is moved aside without being damaged`)
    if (fixture.name.endsWith('killed') && !one.logged('its state was checked'))
      throw new Error(`${fixture.name} is taken on trust`)
    this.#positions.set(fixture.name, positionOf(one))
    await this.#check(one)
    await one.close()
    await rm(root, { recursive: true })
  }

  async #judge(root: string, store: string, fixture: Fixture): Promise<Outcome> {
    const one = await this.#start(root)
    try {
      await this.#feed(FED_PER_CASE)
      await this.#check(one)
    } finally {
      await one.close()
    }
    const isMoved = one.logged('moved aside')
    const aside = join(root, `${store}.aside-1`)
    const kept = await readdir(aside).catch(() => undefined)
    if (isMoved !== (kept !== undefined)) throw new Error(`what is moved aside is lost: ${kept}`)
    if (isMoved) return 'rebuilt'
    if (store === PROCESS) return 'replica'
    return positionOf(one) < (this.#positions.get(fixture.name) as number) ? 'behind' : 'asBefore'
  }

  async #start(root: string): Promise<Instance> {
    const one = this.#stage.instance(counting, { stateDir: root, ...PATIENT })
    let late: NodeJS.Timeout | undefined
    const limit = new Promise<never>((_, reject) => {
      late = setTimeout(() => reject(new Error('it does not start')), PATIENCE_MS)
    })
    try {
      await Promise.race([one.start().then(() => one.app.untilRunning()), limit])
    } finally {
      clearTimeout(late)
    }
    const failed = one.app.health.tasks.find(({ status }) => status !== 'running')
    if (failed !== undefined) throw new Error(`task ${failed.task} is ${failed.status}: ${failed.error}`)
    return one
  }

  async #feed(records: number): Promise<void> {
    const said: [string, string][] = []
    for (let n = 0; n < records; n++) {
      const key = `key-${this.#random.below(KEYS)}`
      const count = (this.#counts.get(key)?.count ?? 0) + 1
      // Some that compress and some that do not.
      const text = this.#random.chance(0.1)
        ? 'forget'
        : this.#random.chance(0.5)
          ? `${'text '.repeat(this.#random.below(30))}${this.#fed}`
          : Buffer.from(this.#random.bytes(this.#random.below(60))).toString('base64')
      this.#fed += 1
      said.push([key, text])
      if (text === 'forget') this.#counts.delete(key)
      else this.#counts.set(key, { count, text })
      const out = this.#out.get(key) ?? []
      this.#out.set(key, out)
      out.push(String(count))
    }
    await this.#stage.say('in', ...said)
    await this.#stage.drained(counting)
  }

  async #feedNames(): Promise<void> {
    const said = Array.from({ length: 20 }, (): [string, string | null] => [
      `name-${this.#random.below(NAMES)}`,
      this.#random.chance(0.2) ? null : `called ${this.#random.below(1_000_000)}`,
    ])
    await this.#stage.say('names', ...said)
    for (const [key, name] of said) {
      if (name === null) this.#names.delete(key)
      else this.#names.set(key, name)
    }
  }

  /** Every entry, as ranges and as single reads find it, and none else. */
  async #check({ app }: Instance): Promise<void> {
    const counts = app.region(COUNTS)
    const keys = Array.from({ length: KEYS }, (_, n) => `key-${n}`)
    await same('counts', counts, this.#counts, keys, (counted) => `${counted.count} ${counted.text}`)
    const names = Array.from({ length: NAMES }, (_, n) => `name-${n}`)
    await same('names', app.region(GLOBALS), this.#names, names, (name) => name)
  }
}

async function stageOf(): Promise<Stage> {
  const stage = await Stage.open()
  await stage.topics(
    { topic: 'in', partitions: PARTITIONS },
    { topic: 'out', partitions: PARTITIONS },
    { topic: 'names', configs: { 'cleanup.policy': 'compact' } },
  )
  return stage
}

const otherOf = (store: string): string => (store === TASK ? OTHER_TASK : store)

async function same<V>(
  region: string,
  found: {
    get(key: string): Promise<V | undefined>
    range(): AsyncIterable<readonly [key: string, value: V]>
  },
  expected: ReadonlyMap<string, V>,
  keys: readonly string[],
  text: (value: V) => string,
): Promise<void> {
  const told = (value: V | undefined): string | undefined => (value === undefined ? undefined : text(value))
  let entries = 0
  for await (const [key, value] of found.range()) {
    entries += 1
    if (told(value) !== told(expected.get(key)))
      throw new Error(`${region}: a range finds ${told(value)} under ${key}, not ${told(expected.get(key))}`)
  }
  if (entries !== expected.size)
    throw new Error(`${region}: a range finds ${entries} entries, not ${expected.size}`)
  for (const key of keys) {
    const value = told(await found.get(key))
    if (value !== told(expected.get(key)))
      throw new Error(`${region}: found ${value} under ${key}, not ${told(expected.get(key))}`)
  }
}

/** Where the state of the damaged task went on. */
function positionOf({ log }: Instance): number {
  const replayed = log.find(
    ({ message, details }) => message === 'task: state replayed' && details.task === '0_0',
  )
  return (replayed?.details.from as number | undefined) ?? Number.MAX_SAFE_INTEGER
}

async function sizesOf(root: string): Promise<string> {
  const names = (await readdir(root, { recursive: true })).sort()
  const sizes = await Promise.all(
    names.map(async (name) => {
      const { size } = await stat(join(root, name)).catch(() => ({ size: -1 }))
      return `${name} ${size}`
    }),
  )
  return sizes.join('\n')
}
