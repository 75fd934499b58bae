/** State that does not fit: directories of others, offsets that a tool has moved, topics that are not what they were. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  avro,
  type DruseError,
  double,
  embeddedBroker,
  ensureTopics,
  int64,
  levelDisk,
  localRegistry,
  memoryDisk,
  type Serde,
  string,
  Topology,
} from '../../src/index.ts'
import { partitionFor } from '../../src/kafka/partitioner.ts'
import { decodeMetadata, encodeMetadata, type TaskMetadata } from '../../src/runtime/task-metadata.ts'
import { type Fates, type Instance, type InstanceOptions, QUICK_BROKER } from './instance.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage
const roots: string[] = []
const children: ChildProcess[] = []

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const root of roots.splice(0)) await rm(root, { recursive: true, force: true })
})

async function newRoot(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'druse-state-'))
  roots.push(root)
  return root
}

const counting = (): Topology => {
  const t = new Topology('app')
  t.stream('in', strings).groupByKey().count('n').toStream().to('out')
  return t
}

/** Two sub-topologies: of one the state is spoilt, the other has to go on. */
const pair = (): Topology => {
  const t = counting()
  t.stream('beside', strings).to('beside-out')
  return t
}

const failures = ({ app }: Instance): (DruseError | undefined)[] =>
  app.health.tasks.map(({ error }) => error).filter((error) => error !== undefined)

/** Of the one task that fails. `except` are the topics that it reads: all others are processed. */
async function failureOf(
  topology: () => Topology,
  options: Partial<InstanceOptions> = {},
  except = ['in'],
): Promise<DruseError> {
  const one = await stage.run(topology, options)
  await expect.poll(() => failures(one).length).toBe(1)
  await stage.drained(topology, except)
  const error = failures(one)[0] as DruseError
  expect(one.app.state).toBe('RUNNING')
  expect(one.app.health.healthy).toBe(false)
  expect(one.log.some(({ level, message }) => level === 'error' && message === 'task: stopped')).toBe(true)
  await one.close()
  return error
}

const IN = { topic: 'in', partition: 0 }
const counts = async () => stage.read('out', { key: string, value: int64 })

async function begin(partitions = 1): Promise<void> {
  await stage.topics({ topic: 'in', partitions }, { topic: 'out', partitions }, 'beside', 'beside-out')
}

/** Runs an application over what is said, and closes it. */
async function lived(topology = counting, disk = memoryDisk()): Promise<typeof disk> {
  const one = await stage.run(topology, { disk })
  await stage.drained(topology)
  await one.close()
  return disk
}

const metadataNow = async (): Promise<TaskMetadata> =>
  decodeMetadata((await stage.committed('app', IN))?.metadata ?? '', 'test')

describe('region definitions', () => {
  const of =
    (key: Serde<string>, value: Serde<number>, store: 'persistent' | 'memory' = 'persistent') =>
    (): Topology => {
      const t = new Topology('app')
      const kept = t.region('kept', { key, value, store })
      t.stream('in', strings)
        .process('keep', { regions: [kept], value: int64 }, (record, { kept, forward }) => {
          kept.put(record.key, (kept.get(record.key) ?? 0) + 1)
          forward(record.key, kept.get(record.key) as number)
        })
        .to('out')
      t.stream('beside', strings).to('beside-out')
      return t
    }

  test('a changed one stops its task, and loses nothing: with the old one it goes on', async () => {
    await begin()
    await stage.say('in', ['k', '1'])
    const disk = await lived(of(string, int64))
    await stage.say('in', ['k', '2'])
    await stage.say('beside', ['k', 'v'])
    const error = await failureOf(of(string, double), { disk })
    expect(error).toMatchObject({
      code: 'REGION_CHANGED',
      kind: 'user',
      details: { region: 'kept', task: '0_0' },
    })
    expect(error.message).toMatch(
      /^Region 'kept' was committed with another definition than its present one \(partitioned, key string, value double\).*Give it another name\. To start over from empty regions: 'druse reset MODULE'/,
    )
    expect(await stage.read('beside-out')).toEqual([['k', 'v']])
    await lived(of(string, int64), disk)
    expect(await counts()).toEqual([
      ['k', 1],
      ['k', 2],
    ])
  })

  test('a key of another kind is another definition, too', async () => {
    await begin()
    await lived(of(string, int64))
    const key: Serde<string> = { ...string, kind: 'other' }
    expect((await failureOf(of(key, int64))).code).toBe('REGION_CHANGED')
  })

  test('a new version of an Avro schema is the same definition, and reads the old entries', async () => {
    const registry = localRegistry(memoryDisk())
    const record = (fields: object[]) =>
      avro<{ n: number; note?: string }>({ type: 'record', name: 'Kept', fields })
    const versions = [
      record([{ name: 'n', type: 'int' }]),
      record([
        { name: 'n', type: 'int' },
        { name: 'note', type: 'string', default: 'new' },
      ]),
    ]
    const seen: unknown[] = []
    const topology = (version: number) => (): Topology => {
      const t = new Topology('app')
      const kept = t.region('kept', { key: string, value: versions[version] as (typeof versions)[0] })
      t.stream('in', strings).process('keep', { regions: [kept] }, ({ key }, { kept }) => {
        seen.push(kept.get(key))
        kept.put(key, { n: (kept.get(key)?.n ?? 0) + 1, ...(version === 1 && { note: 'own' }) })
      })
      return t
    }
    await begin()
    await stage.say('in', ['k', '1'])
    const run = async (version: number, disk = memoryDisk()) => {
      const one = await stage.run(topology(version), { disk, registry })
      await stage.drained(topology(version))
      await one.close()
      return disk
    }
    const disk = await run(0)
    await stage.say('in', ['k', '2'])
    await run(1, disk)
    expect(seen).toEqual([undefined, { n: 1, note: 'new' }])
  })

  test('a region that moves from memory to disk is rebuilt there, beside one that was there', async () => {
    const topology = (store: 'persistent' | 'memory') => (): Topology => {
      const t = new Topology('app')
      const moved = t.region('moved', { key: string, value: int64, store })
      const stays = t.region('stays', { key: string, value: int64 })
      t.stream('in', strings)
        .process('keep', { regions: [moved, stays], value: int64 }, (record, { moved, stays, forward }) => {
          for (const region of [moved, stays]) region.put(record.key, (region.get(record.key) ?? 0) + 1)
          forward(record.key, moved.get(record.key) as number)
          forward(record.key, stays.get(record.key) as number)
        })
        .to('out')
      return t
    }
    await begin()
    const disk = memoryDisk()
    for (const store of ['memory', 'persistent', 'memory', 'persistent'] as const) {
      await stage.say('in', ['k', store])
      await lived(topology(store), disk)
    }
    expect((await counts()).map(([, n]) => n)).toEqual([1, 1, 2, 2, 3, 3, 4, 4])
  })
})

describe('the state directory', () => {
  test('occupied by another instance of this process', async () => {
    await begin()
    const one = await stage.run(counting)
    const two = stage.instance(counting, { disk: one.disk })
    const error = await two.start().catch((error: unknown) => error)
    expect(error).toMatchObject({
      code: 'STATE_DIR_OCCUPIED',
      kind: 'user',
      details: { directory: 'memory:', pid: process.pid },
    })
    expect(one.app.health.healthy).toBe(true)
    await stage.say('in', ['k', 'v'])
    await stage.drained(counting)
    expect(await counts()).toEqual([['k', 1]])
    await one.close()
    await stage.run(counting, { disk: one.disk })
  })

  test('occupied by another process, which is named; free when that has died', async () => {
    const root = await newRoot()
    const child = spawn(process.execPath, [join(import.meta.dirname, 'holder.ts'), root], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    await once(child.stdout, 'data')
    await begin()
    const stateDir = levelDisk(root)
    const error = await stage
      .instance(counting, { stateDir })
      .start()
      .catch((error: unknown) => error as DruseError)
    expect(error).toMatchObject({ code: 'STATE_DIR_OCCUPIED', details: { directory: root, pid: child.pid } })
    expect((error as DruseError).message).toMatch(
      new RegExp(
        `^State directory ${root} is in use by process ${child.pid} on .+; stop it, or give each instance`,
      ),
    )
    child.kill('SIGKILL')
    await once(child, 'exit')
    const foreign = await failureOf(counting, { stateDir })
    expect(foreign.code).toBe('STATE_WITHOUT_OFFSETS')
  })

  test('of another application', async () => {
    await begin()
    const disk = await lived()
    const other = (): Topology => {
      const t = new Topology('other')
      t.stream('in', strings).to('out')
      return t
    }
    const before = await disk.readText('owner.json')
    const error = await stage
      .instance(other, { disk })
      .start()
      .catch((error: unknown) => error as DruseError)
    expect(error).toMatchObject({ code: 'STATE_DIR_FOREIGN', kind: 'user', details: { application: 'app' } })
    expect((error as DruseError).message).toMatch(
      /^State directory memory: belongs to application 'app', not to 'other'; choose another directory/,
    )
    expect(await disk.readText('owner.json')).toBe(before)
    await stage.run(counting, { disk })
  })

  for (const text of ['', 'no JSON', 'null', '7', '{}']) {
    test(`whose owner file holds '${text}'`, async () => {
      await begin()
      const disk = memoryDisk()
      await disk.writeText('owner.json', text)
      const error = await stage
        .instance(counting, { disk })
        .start()
        .catch((error: unknown) => error)
      expect(error).toMatchObject({ code: 'STATE_DIR_FOREIGN' })
      expect(await disk.readText('owner.json')).toBe(text)
    })
  }

  test('tasks whose stores have been swapped are rebuilt; what was there is moved aside, not deleted', async () => {
    await begin(2)
    const root = await newRoot()
    const stateDir = levelDisk(root)
    const keys = ['a', 'b', 'c', 'd', 'e', 'f']
    expect(new Set(keys.map((key) => partitionFor(Buffer.from(key), 2))).size).toBe(2)
    const say = () => stage.say('in', ...keys.map((key) => [key, 'v'] as const))
    await say()
    const first = await stage.run(counting, { stateDir })
    await stage.drained(counting)
    await first.close()
    const tasks = join(root, 'tasks')
    await rename(join(tasks, 'in-0'), join(tasks, 'other'))
    await rename(join(tasks, 'in-1'), join(tasks, 'in-0'))
    await rename(join(tasks, 'other'), join(tasks, 'in-1'))
    await say()
    const second = await stage.run(counting, { stateDir })
    await stage.drained(counting)
    expect((await counts()).sort()).toEqual(
      keys.flatMap((key) => [
        [key, 1],
        [key, 2],
      ]),
    )
    const told = second.log.filter(({ message }) => message.includes('moved aside'))
    expect(told.map(({ details }) => details.reason)).toEqual(
      Array(2).fill('it is of an earlier life of the application'),
    )
    const names = await readdir(tasks)
    expect(names).toHaveLength(4)
    for (const { details } of told) expect(names).toContain(String(details.movedTo).replace('tasks/', ''))
  })

  test('a damaged store is moved aside and rebuilt', async () => {
    await begin()
    const root = await newRoot()
    const stateDir = levelDisk(root)
    await stage.say('in', ['k', '1'], ['k', '2'])
    const first = await stage.run(counting, { stateDir })
    await stage.drained(counting)
    await first.close()
    await rm(join(root, 'tasks', 'in-0', 'CURRENT'))
    await stage.say('in', ['k', '3'])
    const second = await stage.run(counting, { stateDir })
    await stage.drained(counting)
    expect(await counts()).toEqual([
      ['k', 1],
      ['k', 2],
      ['k', 3],
    ])
    expect(second.logged('moved aside')).toBe(true)
    expect(await readdir(join(root, 'tasks'))).toHaveLength(2)
  })

  test('of another cluster: state without offsets stops the task, and is left alone', async () => {
    await begin()
    await stage.say('in', ['k', '1'])
    const disk = await lived()
    const elsewhere = await embeddedBroker(QUICK_BROKER)
    try {
      const wire = elsewhere.wire()
      await ensureTopics(wire, [
        { topic: 'in', partitions: 1 },
        { topic: 'out', partitions: 1 },
      ])
      const error = await failureOf(counting, { disk, wire }, ['in', 'beside'])
      expect(error).toMatchObject({ code: 'STATE_WITHOUT_OFFSETS', kind: 'fatal' })
      expect(error.message).toMatch(
        /^No offsets are committed for task 0_0, but its directory in memory: holds state: the offsets have expired or were deleted.*'druse reset MODULE'.*'druse reset MODULE --keep-state'/,
      )
    } finally {
      await elsewhere.close()
    }
    await stage.say('in', ['k', '2'])
    await lived(counting, disk)
    expect(await counts()).toEqual([
      ['k', 1],
      ['k', 2],
    ])
  })

  test('the worker id stays, so that a successor fences what is left of its predecessor', async () => {
    await begin()
    const root = await newRoot()
    const ids = []
    for (let i = 0; i < 2; i++) {
      const one = await stage.run(counting, { stateDir: levelDisk(root) })
      await one.close()
      ids.push(JSON.parse(await readFile(join(root, 'owner.json'), 'utf8')).workerId)
    }
    expect(ids[0]).toMatch(/^[0-9a-f]{16}$/)
    expect(ids[1]).toBe(ids[0])
  })
})

describe('committed offsets', () => {
  beforeEach(async () => {
    await begin()
    await stage.say('in', ['k', '1'], ['k', '2'])
    await stage.say('beside', ['k', 'v'])
  })

  /** Stops the task; the one beside goes on; put right, nothing was lost. */
  async function refused(
    move: () => Promise<void>,
    code: DruseError['code'],
    message: RegExp,
  ): Promise<void> {
    const disk = await lived(pair)
    const right = await stage.committed('app', IN)
    await move()
    await stage.say('in', ['k', '3'])
    await stage.say('beside', ['k', 'w'])
    for (const options of [{ disk }, {}]) {
      const error = await failureOf(pair, options)
      expect(error).toMatchObject({ code, kind: 'fatal' })
      expect(error.message).toMatch(message)
    }
    expect(await stage.read('beside-out')).toHaveLength(2)
    await stage.commitOffset('app', IN, right?.offset as number, right?.metadata as string)
    await lived(pair, disk)
    expect((await counts()).map(([, n]) => n)).toEqual([1, 2, 3])
  }

  test('moved by a tool, which writes no metadata', () =>
    refused(
      () => stage.commitOffset('app', IN, 0, ''),
      'METADATA_FOREIGN',
      /^The offset of in\/0 was not committed by Druse \(metadata ""\): another consumer uses this group, or a tool has moved the offsets/,
    ))

  for (const text of [
    '{"a":1}',
    '[]',
    '["1"]',
    '[1,"x"]',
    '[1,"y",1,"a","b",0,0,{}]',
    '[1,"x",1.5,"a","b",0,0,{}]',
    '[1,"x",1,"a","b",0,0,{"r":[1]}]',
  ]) {
    test(`with metadata of others: ${text}`, () =>
      refused(() => stage.commitOffset('app', IN, 1, text), 'METADATA_FOREIGN', /not committed by Druse/))
  }

  test('of a newer Druse', () =>
    refused(
      () => stage.commitOffset('app', IN, 1, '[2,"new"]'),
      'METADATA_NEWER',
      /newer Druse \(format 2.*run that version/,
    ))

  test('moved, the metadata kept', () =>
    refused(
      async () => stage.commitOffset('app', IN, 1, encodeMetadata(await metadataNow())),
      'OFFSETS_INCONSISTENT',
      /^Task 0_0 cannot start: The offset of in\/0 is 1, but Druse committed \d+: a tool has moved it/,
    ))

  test('copied from another cluster', () =>
    refused(
      async () => {
        const metadata = await metadataNow()
        await stage.commitOffset(
          'app',
          IN,
          metadata.offset,
          encodeMetadata({ ...metadata, cluster: 'ffffffff' }),
        )
      },
      'CLUSTER_CHANGED',
      /committed on another cluster: offsets and changelogs were copied here/,
    ))

  test('set back to an earlier commit: the state is ahead, and would count twice', async () => {
    const disk = await lived()
    const early = await stage.committed('app', IN)
    await stage.say('in', ['k', '3'])
    await lived(counting, disk)
    const late = await stage.committed('app', IN)
    await stage.commitOffset('app', IN, early?.offset as number, early?.metadata as string)
    for (const options of [{}, { disk }]) {
      const error = await failureOf(counting, options)
      expect(error).toMatchObject({ code: 'OFFSETS_OLDER_THAN_STATE', details: { task: '0_0', region: 'n' } })
      expect(error.message).toMatch(
        /the offsets were set back\. Processing from them would count records twice/,
      )
    }
    await stage.commitOffset('app', IN, late?.offset as number, late?.metadata as string)
    await stage.say('in', ['k', '4'])
    await lived(counting, disk)
    expect((await counts()).map(([, n]) => n)).toEqual([1, 2, 3, 4])
  })

  test('of two inputs of a task, committed apart', async () => {
    const topology = (): Topology => {
      const t = new Topology('app')
      t.stream(['in', 'beside'], strings).groupByKey().count('n').toStream().to('out')
      return t
    }
    await lived(topology)
    const metadata = await metadataNow()
    const other = { ...metadata, sequence: metadata.sequence + 1 }
    await stage.commitOffset('app', IN, metadata.offset, encodeMetadata(other))
    const error = await failureOf(topology, {}, ['in', 'beside'])
    expect(error.code).toBe('OFFSETS_INCONSISTENT')
    expect(error.message).toMatch(/is of commit \d+ \([0-9a-f]{8}\), others are of commit \d+/)
    await stage.commitOffset(
      'app',
      IN,
      metadata.offset,
      encodeMetadata({ ...metadata, incarnation: '00000000' }),
    )
    expect((await failureOf(topology, {}, ['in', 'beside'])).code).toBe('OFFSETS_INCONSISTENT')
  })
})

describe('topics that are not what they were', () => {
  const remove = (topic: string) => stage.ask(IN, { api: 'DeleteTopics', topics: [topic], timeoutMs: 1_000 })
  const deleteRecords = (topic: string, offset: number) =>
    stage.ask(
      { topic, partition: 0 },
      { api: 'DeleteRecords', partitions: [{ topic, partition: 0, offset }], timeoutMs: 1_000 },
    )

  test('a changelog that was deleted, and made again by the start', async () => {
    await begin()
    await stage.say('in', ['k', '1'])
    await stage.say('beside', ['k', 'v'])
    const disk = await lived(pair)
    await remove('app-n-changelog')
    await stage.say('in', ['k', '2'])
    for (const options of [{ disk }, {}]) {
      const error = await failureOf(pair, options)
      expect(error).toMatchObject({
        code: 'TOPIC_RECREATED',
        details: { region: 'n', topic: 'app-n-changelog' },
      })
      expect(error.message).toMatch(/it was deleted and created again\..*'druse reset MODULE'/)
    }
    expect(await counts()).toEqual([['k', 1]])
    // The one copy of the state that is left.
    expect(await disk.exists('tasks/in-0')).toBe(true)
  })

  test('a changelog that holds records before anything was ever committed', async () => {
    await begin()
    await stage.topics({ topic: 'app-n-changelog', configs: { 'cleanup.policy': 'compact' } })
    await stage.send('app-n-changelog', [{ key: 'k', value: 5 }], { key: string, value: int64 })
    await stage.say('in', ['k', '1'])
    const error = await failureOf(pair)
    expect(error.code).toBe('STATE_WITHOUT_OFFSETS')
    expect(error.message).toMatch(
      /^No offsets are committed for task 0_0, but its changelog app-n-changelog\/0 holds records/,
    )
    expect((await stage.committed('app', IN))?.offset).toBeUndefined()
  })

  test('a changelog that holds nothing but what was aborted is none', async () => {
    await begin()
    await stage.say('in', ['k', '1'])
    // Its first commit is aborted, its offsets-only one is not made: both steps are asked again by the successor.
    const first = stage.instance(counting, {
      fates: ({ api }) => (api === 'TxnOffsetCommit' ? 'crashBefore' : 'pass'),
    })
    await first.start()
    await first.fell
    await lived(counting, first.disk)
    expect(await counts()).toEqual([['k', 1]])
  })

  test('input that was deleted before it was processed: told, not passed over; others go on', async () => {
    await begin()
    await stage.say('in', ['k', '1'])
    await stage.say('beside', ['k', 'v'])
    const disk = await lived(pair)
    await stage.say('in', ['k', '2'], ['k', '3'])
    await deleteRecords('in', 4)
    await stage.say('beside', ['k', 'w'])
    const one = await stage.run(pair, { disk })
    await expect
      .poll(() => failures(one)[0])
      .toMatchObject({
        code: 'OFFSET_OUT_OF_RANGE',
        kind: 'fatal',
        details: { topic: 'in', partition: 0, offset: 2 },
      })
    expect(failures(one)[0]?.message).toMatch(
      /^in\/0 has no offset 2.*: records were deleted before they were processed.*Nothing is skipped by itself/,
    )
    await expect.poll(() => stage.read('beside-out')).toHaveLength(2)
    await stage.say('beside', ['k', 'x'])
    await expect.poll(() => stage.read('beside-out')).toHaveLength(3)
    expect(one.app.health.tasks.map(({ status }) => status)).toEqual(['failed', 'running'])
    expect(await counts()).toEqual([['k', 1]])
  })

  test('a changelog whose beginning was deleted cannot rebuild state; the state that is there is taken', async () => {
    await begin()
    await stage.say('in', ['k', '1'], ['l', '1'])
    const disk = await lived()
    // No broker deletes from a topic that is only compacted; one whose policy was changed for a while has.
    const at = { topic: 'app-n-changelog', partition: 0 }
    const beginsAt =
      (offset: number): Fates =>
      (request) => {
        if (request.api !== 'ListOffsets') return 'pass'
        const [asked] = request.partitions
        if (asked?.at !== 'earliest' || asked.topic !== at.topic) return 'pass'
        return { answer: { partitions: [{ ...at, errorCode: 0, offset }] } }
      }
    const error = await failureOf(counting, { fates: beginsAt(1) })
    expect(error).toMatchObject({
      code: 'CHANGELOG_TRUNCATED',
      details: { changelog: 'app-n-changelog/0', logStart: 1, needed: 0 },
    })
    expect(error.message).toMatch(
      /begins at app-n-changelog\/0@1, but records from 0 on are needed: they were deleted/,
    )
    await stage.say('in', ['k', '2'])
    const one = await stage.run(counting, { disk, fates: beginsAt(3) })
    await stage.drained(counting)
    expect(failures(one)).toEqual([])
    expect((await counts()).at(-1)).toEqual(['k', 2])
  })

  test('a changelog whose end was lost', async () => {
    await begin()
    await stage.say('in', ['k', '1'])
    await lived()
    const at = { topic: 'app-n-changelog', partition: 0 }
    const error = await failureOf(counting, {
      fates: (request) =>
        request.api === 'ListOffsets' && request.isolation === 'read_uncommitted'
          ? { answer: { partitions: [{ ...at, errorCode: 0, offset: 0 }] } }
          : 'pass',
    })
    expect(error).toMatchObject({ code: 'CHANGELOG_TRUNCATED', details: { highWatermark: 0, committed: 1 } })
    expect(error.message).toMatch(/Kafka has lost data \(unclean leader election\?\)/)
  })

  test('an input that a task did not have before is read from where it begins', async () => {
    const one = (): Topology => {
      const t = new Topology('app')
      t.stream('in', strings).groupByKey().count('n').toStream().to('out')
      return t
    }
    const two = (): Topology => {
      const t = new Topology('app')
      t.stream(['in', 'late'], strings).groupByKey().count('n').toStream().to('out')
      return t
    }
    await begin()
    await stage.topics('late')
    await stage.say('in', ['k', '1'])
    await stage.say('late', ['gone', '1'], ['k', '2'])
    await deleteRecords('late', 1)
    const disk = await lived(one)
    await lived(two, disk)
    expect(await counts()).toEqual([
      ['k', 1],
      ['k', 2],
    ])
  })
})

test('an entry of its own state that cannot be decoded is no fault of the record: no policy passes over it', async () => {
  const picky: Serde<string> = {
    ...string,
    open: async (context) => {
      const codec = await string.open(context)
      const decode = (bytes: Uint8Array): string => {
        const text = codec.decode(bytes)
        if (context.topic.endsWith('-changelog')) throw new Error(`what is '${text}'?`)
        return text
      }
      return { ...codec, encode: (value) => codec.encode(value), decode }
    },
  }
  const joining = (value: Serde<string>) => (): Topology => {
    const t = new Topology('app', { onFailure: 'skip' })
    const texts = t.region('texts', { key: string, value })
    t.stream('in', strings)
      .process('join', { regions: [texts], ...strings }, (record, context) => {
        const text = `${context.texts.get(record.key) ?? ''}${record.value}`
        context.texts.put(record.key, text)
        context.forward(record.key, text)
      })
      .to('out')
    return t
  }
  await stage.topics('in', 'out')
  await stage.say('in', ['k', '1'])
  const first = await stage.run(joining(string))
  await stage.drained(joining(string))
  await first.close()
  await stage.say('in', ['k', '2'])
  const second = await stage.run(joining(picky), { disk: first.disk })
  await expect.poll(() => second.app.health.tasks[0]?.error?.message).toMatch(/'texts'.*schema-cache\.json/)
  await second.close()
  await stage.run(joining(string), { disk: first.disk })
  await stage.drained(joining(string))
  expect(await stage.read('out')).toEqual([
    ['k', '1'],
    ['k', '12'],
  ])
})
