import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { embeddedBroker, ensureTopics, string, TransactionalProducer } from '../../src/index.ts'
import { druse, fixture, start } from './command.ts'

let directory: string
let broker: string
let regions: string
/** Module and way to Kafka. */
let here: readonly string[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'druse-reset-'))
  broker = join(directory, 'broker')
  regions = join(directory, 'regions')
  here = [fixture('words.ts'), '--embedded', broker]
  await using local = await embeddedBroker({ dir: broker })
  const wire = local.wire()
  await ensureTopics(wire, [
    { topic: 'lines', partitions: 1 },
    { topic: 'counts', partitions: 1 },
  ])
  const producer = await TransactionalProducer.open({ wire, transactionalId: 'lines' })
  const topic = await producer.topic('lines', { key: string, value: string })
  await producer.transact({ topic: 'lines', partition: 0 }, 0, (transaction) => {
    for (const value of ['a', 'a']) transaction.send(topic, { key: 'k', value })
  })
  producer.close()
})

afterEach(() => rm(directory, { recursive: true }))

/** Until it has counted so far. Returns all counts. */
async function run(until: string): Promise<string[]> {
  const command = start(['run', ...here, '--state-dir', regions])
  await command.printed(until)
  command.kill('SIGTERM')
  const { code, out } = await command.ended
  expect(code).toBe(0)
  return out.split('\n').filter((line) => line.startsWith('counted'))
}

test('shows what it would do, then does just that, and the application counts anew', async () => {
  expect(await run('counted a 2')).toEqual(['counted a 1', 'counted a 2'])
  const plan = [
    'Reset of application words',
    '  Inputs: committed offset -> new offset',
    '    lines/0: 3 -> 0',
    '    words-by-line-repartition/0: 3 -> 0',
    '  Internal topics deleted and created again, empty',
    '    words-by-line-repartition (1 partition)',
    '    words-counts-changelog (1 partition)',
    '  Local state moved aside',
    `    ${regions}/tasks/words-by-line-repartition-0`,
    '  Not touched: output topics keep what they hold',
    '    counts',
    '',
  ].join('\n')
  const before = await readdir(join(regions, 'tasks'))
  const dry = await druse('reset', ...here, '--state-dir', regions, '--dry-run')
  expect(dry).toMatchObject({ code: 0, err: '', out: `${plan}Nothing was changed: this was a dry run.\n` })
  expect(await readdir(join(regions, 'tasks'))).toEqual(before)
  const done = await druse('reset', ...here, '--state-dir', regions)
  expect(done).toMatchObject({ code: 0, err: '', out: `${plan}Done.\n` })
  expect(await readdir(regions)).toContain('tasks.aside-1')
  expect(await run('counted a 2')).toEqual(['counted a 1', 'counted a 2'])
})

test('with the state kept, and so far back', async () => {
  await run('counted a 2')
  const done = await druse('reset', ...here, '--keep-state', '--shift-by=-2')
  expect(done).toMatchObject({ code: 0, err: '' })
  expect(done.out).toMatch(/^Reset of application words, with the regions as they are\n/)
  expect(done.out).toContain('    lines/0: 3 -> 1\n')
  expect(done.out).toMatch(/Regions kept: where their changelogs end\n {4}counts\/0: \d+\n/)
  expect(await run('counted a 3')).toEqual(['counted a 3'])
})

test('by how long ago', async () => {
  await run('counted a 2')
  const earlier = await druse('reset', ...here, '--by-duration', 'P1D')
  expect(earlier.out).toContain('    lines/0: 3 -> 0\n')
  const later = await druse('reset', ...here, '--by-duration', 'PT0S')
  expect(later.out).toContain('    lines/0: 0 -> 3\n')
})

test('ends with the code of what keeps it from being done', async () => {
  const noTopic = ['reset', fixture('default-export.ts'), '--embedded', broker]
  expect(await druse(...noTopic)).toMatchObject({
    code: 1,
    out: '',
    err: expect.stringMatching(/\[[A-Z_]+\]/),
  })
  const nowhere = await druse('reset', fixture('words.ts'))
  expect(nowhere).toMatchObject({ code: 1, out: '' })
  expect(nowhere.err).toMatch(/Where is Kafka\?.*\[OPTION_INVALID\]/)
  const running = start(['run', ...here, '--state-dir', regions])
  await running.printed('counted a 2')
  expect(await druse('reset', ...here)).toMatchObject({
    code: 1,
    err: expect.stringContaining('[DISK_LOCKED]'),
  })
  running.kill('SIGTERM')
  await running.ended
})

test('wrong usage ends with 2', async () => {
  const ended = await druse('reset', ...here, '--to-offset', 'x')
  expect(ended).toMatchObject({ code: 2, out: '', err: expect.stringContaining('druse reset MODULE') })
})
