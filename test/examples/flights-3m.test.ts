/**
 * The big data set, on the embedded broker: by default a part of it that goes over the end of the file's first row
 * group. DRUSE_TEST_FLIGHTS=3000000 takes all of it, some minutes.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openDataSet } from '../../examples/flights/data.ts'
import { committedIn, expectedReport, expectSuccess, startDemo } from './demo.ts'

const FLIGHTS = Number(process.env.DRUSE_TEST_FLIGHTS ?? 280_000)
const ROW_GROUP = 272_727

test('flights-3m: killed on the way, ends with what a loop over the file says, and tells its rate', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'druse-flights-3m-'))
  const report = join(directory, 'report.json')
  const args = ['--data', 'flights-3m', '--flights', String(FLIGHTS), '--data-dir', join(directory, 'data')]
  for (const part of [0.1, 0.5, 0.8]) {
    const running = startDemo(...args, '--progress', '20')
    await running.until((out) => committedIn(out) > part * FLIGHTS)
    running.kill('SIGKILL')
    expect((await running.ended).signal).toBe('SIGKILL')
  }
  const last = await startDemo(...args, '--report', report).ended
  expectSuccess(last)
  expect(last.out).toMatch(/Found: 3376\/3376 airports and [1-9]\d*\/\d+ flights fed\./)
  expect(last.out).toMatch(/Counted: [1-9]\d* flights in [\d.]+ s, [1-9]\d* flights\/s/)
  expect(JSON.parse(await readFile(report, 'utf8'))).toEqual(await expectedReport('flights-3m', FLIGHTS))
  await rm(directory, { recursive: true })
}, 600_000)

test('flights-3m: goes on at any position, over the ends of row groups', async () => {
  const data = await openDataSet('flights-3m', ROW_GROUP + 7_000)
  expect(data.flights).toBe(ROW_GROUP + 7_000)
  const begin = ROW_GROUP - 6_000
  const groups: number[] = []
  const flights = []
  for await (const group of data.from(begin)) {
    groups.push(group.length)
    flights.push(...group)
  }
  expect(groups).toEqual([5_000, 1_000, 5_000, 2_000])
  let position = begin
  for (const at of [begin, begin + 3, ROW_GROUP - 1, ROW_GROUP, ROW_GROUP + 6_999]) {
    for await (const [first] of data.from(at)) {
      expect(first).toEqual(flights[at - begin])
      break
    }
    position = at
  }
  expect(position).toBe(data.flights - 1)
  expect(flights[0]).toEqual({
    departure: expect.any(Number),
    origin: expect.stringMatching(/^[A-Z]{3}$/),
    destination: expect.stringMatching(/^[A-Z]{3}$/),
    delayMinutes: expect.any(Number),
    distanceMiles: expect.any(Number),
  })
  for await (const _ of data.from(data.flights)) expect.unreachable()
  const all = await openDataSet('flights-3m')
  expect(all.flights).toBe(3_000_000)
})
