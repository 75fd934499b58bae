/** State directories that are not what they were: of others, of long ago, damaged; and changelogs that are compacted. */
import { type MemoryDisk, memoryDisk } from '../../../src/index.ts'
import { metaWrite, readMeta, type StoreMeta } from '../../../src/runtime/task-store.ts'
import { copyOf, copyStore, directoryOf, type Stage, TALLYING } from '../stage.ts'
import { ALL_GROUPS, changelogOf, groupOf } from '../workload.ts'
import { type Instance, Violation } from '../world.ts'
import type { Story } from './story.ts'

const LASTS = changelogOf('lasts')
const RETENTION_MS = 4_000
const SHORT_LIVED = { 'cleanup.policy': 'compact', 'delete.retention.ms': String(RETENTION_MS) }
const MOVED = { exempt: /aside/ }

function assertMovedAside(stage: Stage, ...paths: readonly string[]): void {
  const moved = stage.world.movedAside.toSorted().join(' ')
  if (moved !== paths.toSorted().join(' '))
    throw new Violation(`moved aside: '${moved}', not '${paths.join(' ')}'`)
}

/** As if a directory had been written by somebody else. */
async function editMeta(
  disk: MemoryDisk,
  path: string,
  change: (meta: StoreMeta) => Partial<StoreMeta>,
): Promise<void> {
  const store = await disk.open(path)
  const meta = readMeta(store) as StoreMeta
  await store.write([metaWrite({ ...meta, ...change(meta) })])
  await store.close()
}

/** Somebody has lived there, and died when all was committed and nothing was to be done. */
async function leftBehind(stage: Stage): Promise<MemoryDisk> {
  const disk = memoryDisk()
  const instance = stage.start('i0', disk)
  // One at a time, so that each commit leaves something that none after it has changed.
  for (let n = 0; n < 12; n++) {
    await stage.feed(1)
    await stage.drained()
  }
  instance.process.kill()
  stage.world.forget(instance)
  return disk
}

/** Where `lasts` of a partition stands in a directory that nobody has open. */
function keysOf(stage: Stage, partition: number): ReadonlySet<string> {
  return new Set(stage.world.ledger.fold(`${LASTS}/${partition}`, Number.MAX_SAFE_INTEGER).keys())
}

/** Until a key is gone that was there. */
async function forgetSomething(stage: Stage): Promise<void> {
  const before = [0, 1].map((partition) => keysOf(stage, partition))
  for (let n = 0; n < 60; n++) {
    await stage.feed(1)
    await stage.drained()
    const now = [0, 1].map((partition) => keysOf(stage, partition))
    if (before.some((keys, partition) => [...keys].some((key) => !now[partition]?.has(key)))) return
  }
  throw new Error('nothing was deleted')
}

/** The newest committed count of each group. */
function countsOf(stage: Stage): ReadonlyMap<string, number> {
  return new Map(ALL_GROUPS.map((group) => [group, stage.world.committedCount(group)]))
}

function fedOf(stage: Stage, group: string): number {
  return stage.fed.filter(({ id }) => groupOf(id) === group).length
}

export const DIRECTORY_STORIES: readonly Story[] = [
  {
    name: 'directories-swapped',
    what: 'two tasks have each other’s directory: both are moved aside and rebuilt',
    options: MOVED,
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await copyStore(disk, directoryOf(0), disk, 'spare')
      await copyStore(disk, directoryOf(1), disk, directoryOf(0))
      await copyStore(disk, 'spare', disk, directoryOf(1))
      await stage.feed()
      stage.start('i1', disk)
      await stage.drained()
      assertMovedAside(stage, directoryOf(0), directoryOf(1))
      await stage.exact()
    },
  },
  {
    name: 'directory-of-another-cluster',
    what: 'a directory is of the same task of another cluster: it is moved aside and rebuilt',
    options: MOVED,
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      // A cluster that was cloned: everything fits but its name.
      await editMeta(disk, directoryOf(0), () => ({ cluster: '0badcafe' }))
      await stage.feed()
      stage.start('i1', disk)
      await stage.drained()
      assertMovedAside(stage, directoryOf(0))
      await stage.exact()
    },
  },
  {
    name: 'directory-of-an-earlier-life',
    what: 'a directory is of an earlier life of the application, before a reset: it is moved aside and rebuilt',
    options: MOVED,
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await editMeta(disk, directoryOf(1), () => ({ incarnation: '0badcafe' }))
      await stage.feed()
      stage.start('i1', disk)
      await stage.drained()
      assertMovedAside(stage, directoryOf(1))
      await stage.exact()
    },
  },
  {
    name: 'directory-ahead',
    what: 'a directory says that it is ahead of what is committed: it is moved aside and rebuilt',
    options: MOVED,
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      await stage.feed()
      await stage.lived(disk)
      await editMeta(disk, directoryOf(0), ({ regions }) => ({
        regions: Object.fromEntries(
          Object.entries(regions).map(([key, at]) => [key, { ...at, position: at.position + 100 }]),
        ),
      }))
      stage.start('i1', disk)
      await stage.feed()
      await stage.drained()
      assertMovedAside(stage, directoryOf(0))
      await stage.exact()
    },
  },
  {
    name: 'log-record-dropped',
    what: 'of the log of a task that has died, LevelDB leaves out a record and goes on: it is moved aside and rebuilt',
    options: MOVED,
    async run(stage) {
      const disk = await leftBehind(stage)
      const path = directoryOf(1)
      if (!disk.damage(path, 'lostWrite', (writes) => writes - 2)) throw new Error('nothing was lost')
      await stage.feed()
      stage.start('i1', disk)
      await stage.drained()
      assertMovedAside(stage, path)
      await stage.exact()
    },
  },
  {
    name: 'bits-flipped',
    what: 'bits of entries have flipped after a crash: both directories are moved aside and rebuilt',
    options: MOVED,
    async run(stage) {
      const disk = await leftBehind(stage)
      disk.damage(directoryOf(0), 'flippedBit', (choices) => choices - 1)
      disk.damage(directoryOf(1), 'flippedBit', (choices) => choices >> 1)
      await stage.feed()
      stage.start('i1', disk)
      await stage.drained()
      assertMovedAside(stage, directoryOf(0), directoryOf(1))
      await stage.exact()
    },
  },
  {
    name: 'bit-flipped-at-rest',
    what: 'a bit of an entry has flipped after an orderly end: the directory is moved aside and rebuilt',
    options: MOVED,
    async run(stage) {
      await stage.feed(8)
      const disk = await stage.lived()
      disk.damage(directoryOf(1), 'flippedBit', (choices) => choices >> 1)
      await stage.feed()
      stage.start('i1', disk)
      await stage.drained()
      assertMovedAside(stage, directoryOf(1))
      await stage.exact()
    },
  },
  {
    name: 'directory-restored',
    what: 'a directory is a copy of an earlier time: the rest is replayed, nothing is moved aside',
    async run(stage) {
      await stage.feed()
      const disk = await stage.lived()
      const backup = await copyOf(disk)
      await stage.feed(8)
      await stage.lived(disk)
      await stage.feed()
      stage.start('i1', backup)
      await stage.drained()
      await stage.exact()
    },
  },
  {
    name: 'directory-older-than-deletions',
    what: 'what says that an entry was deleted is compacted away meanwhile: the directory is read anew',
    options: { compacts: true },
    async run(stage) {
      for (const region of ['counts', 'lasts'] as const)
        await stage.createTopic(changelogOf(region), SHORT_LIVED)
      await stage.feed(8)
      const disk = await stage.lived()
      const backup = await copyOf(disk)
      const instance = stage.start('i1', disk)
      await forgetSomething(stage)
      await stage.compact()
      await stage.passed(RETENTION_MS + 1_000)
      await stage.feed(1)
      await stage.drained()
      await stage.compact()
      await stage.close(instance)
      await stage.feed(1)
      stage.start('i2', backup)
      await stage.drained()
      await stage.exact()
    },
  },
  {
    name: 'compaction-while-restoring',
    what: 'changelogs are compacted again and again while they are replayed, batch by batch',
    options: { compacts: true },
    async run(stage) {
      await stage.feed(20)
      const disk = await stage.lived()
      const backup = await copyOf(disk)
      await stage.feed(20)
      await stage.lived(disk)
      stage.fates.onRequest = (_, request) => {
        if (request.api !== 'Fetch') return 'deliver'
        const partitions = request.partitions.map((at) => ({ ...at, maxBytes: 1 }))
        return { instead: { ...request, partitions, maxBytes: 1 }, answered: (response) => response }
      }
      for (const [name, heir] of [
        ['i1', undefined],
        ['i2', backup],
      ] as const) {
        await stage.feed(4)
        const instance = stage.start(name, heir)
        const isRunning = () => areRunning(instance, TALLYING)
        for (let round = 0; round < 500 && !isRunning(); round++) {
          await stage.passed(3)
          await stage.compact()
        }
        await stage.drained()
        await stage.close(instance)
      }
      await stage.exact()
    },
  },
  {
    name: 'at-least-once-then-exactly-once',
    what: 'an owner without transactions leaves changes without a commit, and what they replaced is compacted away',
    // It commits without transactions, and may do things twice.
    options: { compacts: true, exempt: /of no transaction|outside of a transaction/ },
    async run(stage) {
      const plainly = { processingGuarantee: 'at_least_once' } as const
      await stage.feed(12)
      const disk = await stage.lived(undefined, plainly)
      const first = stage.start('i1', disk, plainly)
      await stage.until('all tasks run', () => areRunning(first, TALLYING))
      stage.fates.onRequest = (instance, request) => {
        const tallies =
          request.api === 'OffsetCommit' && request.partitions.some(({ topic }) => topic === 'extra')
        if (tallies) instance.process.kill()
        return tallies ? 'lose' : 'deliver'
      }
      await stage.feed(6)
      await stage.until('it has died', () => first.process.isDead)
      stage.world.forget(first)
      stage.fates.onRequest = () => 'deliver'
      await stage.compact()
      const second = stage.start('i2')
      await stage.drained()
      await stage.until('all tasks run', () => areRunning(second, TALLYING))
      await stage.passed(2_000)
      const before = countsOf(stage)
      const fedBefore = new Map(ALL_GROUPS.map((group) => [group, fedOf(stage, group)]))
      for (const group of ALL_GROUPS) {
        if ((before.get(group) ?? 0) < (fedBefore.get(group) ?? 0))
          throw new Violation(
            `${group} was counted ${before.get(group)} times, fed were ${fedBefore.get(group)}`,
          )
      }
      await stage.feed(8)
      await stage.drained()
      await stage.passed(2_000)
      const after = countsOf(stage)
      for (const group of ALL_GROUPS) {
        const grown = (after.get(group) ?? 0) - (before.get(group) ?? 0)
        const fed = fedOf(stage, group) - (fedBefore.get(group) ?? 0)
        if (grown !== fed) throw new Violation(`${group} has grown by ${grown}, fed were ${fed}`)
      }
      await stage.close(second)
    },
  },
]

function areRunning({ app }: Instance, tasks: readonly string[]): boolean {
  const { tasks: health } = app.health
  return tasks.every((name) => health.some(({ task, status }) => task === name && status === 'running'))
}
