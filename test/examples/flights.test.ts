/** The main job: real flights, real kills, and a plain reduce over the data file to compare with. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { localTime } from '../../examples/flights/data.ts'
import type { ChildProcess } from '../child-process.ts'
import { committedIn, expectedReport, expectSuccess, randomOf, startDemo } from './demo.ts'

const KILLS = 10
const FLIGHTS = 20_000

let directory: string
let report: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'druse-flights-'))
  report = join(directory, 'report.json')
})

afterEach(() => rm(directory, { recursive: true }))

function demo(...more: readonly string[]): ChildProcess {
  return startDemo('--data-dir', join(directory, 'data'), '--report', report, ...more)
}

async function readReport(): Promise<unknown> {
  return JSON.parse(await readFile(report, 'utf8'))
}

/** Which directories they are, not only what they are called. */
async function stateDirectories(): Promise<Readonly<Record<string, number>>> {
  const tasks = join(directory, 'data/state/tasks')
  const names = await readdir(tasks).catch(() => [])
  const entries = names.map(async (name) => [name, (await stat(join(tasks, name))).ino] as const)
  return Object.fromEntries(await Promise.all(entries))
}

test('counts every flight once, shows it, and says the same when it is asked again', async () => {
  const first = await demo().ended
  expectSuccess(first)
  expect(await readReport()).toEqual(await expectedReport())
  expect(first.out).toContain('Found: 0/3376 airports and 0/20000 flights fed.')
  expect(first.out).toMatch(/The busiest airports\n.*\n {2}DFW {2}Dallas-Fort Worth International +1103 /)
  expect(first.out).toMatch(/The most delayed airports.*\n.*\n {2}JFK {2}John F Kennedy Intl +200 /)
  expect(first.out).toContain(join(directory, 'data/state'))

  await rm(report)
  const again = await demo().ended
  expectSuccess(again)
  expect(again.out).toContain('Found: 3376/3376 airports and 20000/20000 flights fed.')
  expect(again.out).toContain('processed 0, committed 20000/20000')
  expect(await readReport()).toEqual(await expectedReport())
})

test('ends with the same figures after ten kills, on the state that each kill has left', async () => {
  const seed = Number(process.env.DRUSE_TEST_SEED ?? Date.now() % 1_000_000)
  const random = randomOf(seed)
  const moments: string[] = []
  let known: Readonly<Record<string, number>> = {}
  let reached = 0
  while (moments.length < KILLS) {
    const running = demo('--progress', '5')
    // Every third one at any time after its start, the others when a part of the rest has been committed.
    const isBlind = moments.length % 3 === 2
    const target = reached + random() * ((FLIGHTS - reached) / (KILLS - moments.length))
    if (!isBlind) await running.until((out) => committedIn(out) > target)
    await pause(random() * (isBlind ? 500 : 20))
    running.kill('SIGKILL')
    const ended = await running.ended
    expect(ended.err).toBe('')
    // It was faster: the next kill comes earlier.
    if (ended.signal !== 'SIGKILL') {
      reached = 0
      continue
    }
    reached = Math.max(reached, committedIn(ended.out))
    moments.push(`${isBlind ? 'blind' : 'at'} ${committedIn(ended.out)}`)
    const found = await stateDirectories()
    expect(found, `seed ${seed}`).toMatchObject(known)
    known = found
  }
  console.log(`seed ${seed}; killed when so many flights were committed: ${moments.join(', ')}`)
  expectSuccess(await demo().ended)
  expect(await readReport(), `seed ${seed}`).toEqual(await expectedReport())
  expect(await stateDirectories(), `seed ${seed}`).toEqual(known)
  expect(Object.keys(known)).toHaveLength(4)
}, 120_000)

test('brings a state directory that has fallen behind to what was committed, by replaying', async () => {
  const state = join(directory, 'data/state')
  const running = demo('--progress', '5')
  await running.until((out) => committedIn(out) > 0)
  running.kill('SIGKILL')
  await running.ended
  await cp(state, join(directory, 'older'), { recursive: true })
  const later = demo('--progress', '5')
  await later.until((out) => committedIn(out) > 10_000)
  later.kill('SIGKILL')
  await later.ended
  await rm(state, { recursive: true })
  await cp(join(directory, 'older'), state, { recursive: true })

  const last = await demo().ended
  expectSuccess(last)
  expect(last.out).toMatch(
    /Replayed: task \d_\d, region delays, changelog [1-9]\d* to \d+, [1-9]\d* records\./,
  )
  expect(await readReport()).toEqual(await expectedReport())
})

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('stops at %s with everything committed, and goes on', async (signal, code) => {
  const running = demo('--progress', '5')
  await running.until((out) => committedIn(out) > 0)
  running.kill(signal)
  const ended = await running.ended
  expect(ended).toMatchObject({ code, err: '' })
  expect(ended.out).toContain('Stopped; start it again to go on.')
  await expect(stat(report)).rejects.toMatchObject({ code: 'ENOENT' })
  const last = await demo().ended
  expectSuccess(last)
  expect(last.out).toContain('Replayed: nothing')
  expect(await readReport()).toEqual(await expectedReport())
})

test('--fresh starts over and leaves alone what is not its own', async () => {
  expectSuccess(await demo().ended)
  await writeFile(join(directory, 'data/notes.txt'), 'mine')
  const fresh = await demo('--fresh').ended
  expectSuccess(fresh)
  expect(fresh.out).toContain('Found: 0/3376 airports and 0/20000 flights fed.')
  expect(await readFile(join(directory, 'data/notes.txt'), 'utf8')).toBe('mine')
  expect(await readReport()).toEqual(await expectedReport())
})

test('refuses a directory of another job, and figures of more flights than are asked for', async () => {
  expectSuccess(await demo('--flights', '1000').ended)
  expect(await readReport()).toEqual(await expectedReport('flights-20k', 1000))
  const fewer = await demo('--flights', '999').ended
  expect(fewer).toMatchObject({ code: 1 })
  expect(fewer.err).toBe(
    'flights: 1000 flights are in the topics, more than the 999 of this run: leave out --flights, or use another directory\n',
  )
  for (const other of [
    ['--data', 'flights-3m'],
    ['--brokers', 'localhost:1'],
  ]) {
    const refused = await demo(...other).ended
    expect(refused).toMatchObject({ code: 1, out: '' })
    expect(refused.err).toMatch(/is of another job \(flight-delays, topics: embedded, schemas: file\) than/)
  }
  expectSuccess(await demo('--flights', '1500').ended)
  expect(await readReport()).toEqual(await expectedReport('flights-20k', 1500))
})

test('stops when nobody reads what it says, and goes on', async () => {
  const running = demo('--progress', '5')
  await running.until((out) => committedIn(out) > 0)
  running.closeOutput()
  expect(await running.ended).toMatchObject({ code: 141, err: '' })
  const last = await demo().ended
  expectSuccess(last)
  expect(last.out).toContain('Replayed: nothing')
  expect(await readReport()).toEqual(await expectedReport())
})

test('does not touch a directory that is not its own', async () => {
  const foreign = join(directory, 'data')
  await mkdir(join(foreign, 'state'), { recursive: true })
  await writeFile(join(foreign, 'state/precious'), 'mine')
  for (const more of [[], ['--fresh']]) {
    const ended = await demo(...more).ended
    expect(ended).toMatchObject({ code: 1, out: '' })
    expect(ended.err).toMatch(/not empty and not of this demo/)
  }
  expect(await readdir(foreign, { recursive: true })).toEqual(['state', 'state/precious'])
})

test('does not start over beside a run that is under way', async () => {
  const running = demo('--progress', '5')
  await running.until((out) => out.includes('fed '))
  const fresh = await demo('--fresh').ended
  expect(fresh).toMatchObject({ code: 1, err: expect.stringContaining('[DISK_LOCKED]') })
  expectSuccess(await running.ended)
  expect(await readReport()).toEqual(await expectedReport())
})

test('tells about wrong options and about its options', async () => {
  for (const args of [
    ['--frish'],
    ['x'],
    ['--brokers', 'localhost:9092', '--fresh'],
    ['--brokers', ''],
    ['--progress', 'often'],
    ['--data-dir'],
  ]) {
    const ended = await startDemo(...args).ended
    expect(ended).toMatchObject({ code: 2, out: '', err: expect.stringContaining('Usage: npm start') })
  }
  expect(await startDemo('--help').ended).toMatchObject({
    code: 0,
    err: '',
    out: expect.stringContaining('--data-dir'),
  })
})

test('reads local times the same on every machine', () => {
  const before = process.env.TZ
  try {
    for (const zone of ['UTC', 'Asia/Tokyo', 'America/New_York']) {
      process.env.TZ = zone
      expect(localTime('2001/01/01 00:47')).toBe(978_310_020_000)
      // An hour that New York does not have.
      expect(localTime('2001/04/01 02:30')).toBe(986_092_200_000)
    }
  } finally {
    if (before === undefined) delete process.env.TZ
    else process.env.TZ = before
  }
  expect(() => localTime('2001-01-01')).toThrow('is no date')
})
