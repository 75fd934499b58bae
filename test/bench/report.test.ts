/** Medians and what is printed of them; the command line of the benchmark. */
import { describe, expect, test } from 'vitest'
import { parseOptions, UsageError } from '../../bench/options.ts'
import { summary } from '../../bench/report.ts'
import type { RunResult } from '../../bench/run.ts'

const run = (program: string, recordsPerSecond: number): RunResult => ({
  program,
  recordsPerSecond,
  usage: { cpuSeconds: 1, peakMb: 100 },
  brokerCpuSeconds: undefined,
  outputRecords: 10,
})

describe('a summary', () => {
  test('has the medians and their ratio', () => {
    const runs = [
      run('druse', 100_000),
      run('kafka-streams', 40_000),
      run('druse', 130_000),
      run('kafka-streams', 60_000),
      run('druse', 90_000),
    ]
    const { json, text } = summary('count', runs)
    expect(json).toMatchObject({ name: 'count', druse: 100_000, peer: 50_000, ratio: 2 })
    expect(json.runs).toEqual(runs)
    expect(text).toContain('ratio  2\n')
  })

  test('of one program has no ratio', () => {
    const { json, text } = summary('pass', [run('druse', 100_000.4)])
    expect(json).toMatchObject({ name: 'pass', druse: 100_000, peer: null, ratio: null })
    expect(text).not.toContain('ratio')
  })
})

describe('the command line', () => {
  test('says what to measure, or has defaults', () => {
    expect(parseOptions(['count'])).toEqual({
      kind: 'count',
      runs: 3,
      records: 1_000_000,
      keys: 100_000,
      limitSeconds: 300,
      programs: ['druse', 'kafka-streams'],
      json: false,
    })
    const given = 'pass --runs 5 --records 10 --keys 2 --limit 9 --only druse --json'.split(' ')
    expect(parseOptions(given)).toEqual({
      kind: 'pass',
      runs: 5,
      records: 10,
      keys: 2,
      limitSeconds: 9,
      programs: ['druse'],
      json: true,
    })
    expect(parseOptions(['--help'])).toBeUndefined()
  })

  test.each([
    [[]],
    [['sort']],
    [['pass', 'count']],
    [['pass', '--runs', '0']],
    [['pass', '--records', '1e6']],
    [['pass', '--only', 'flink']],
    [['pass', '--unknown']],
  ])('%j is told to be wrong', (args) => {
    expect(() => parseOptions(args)).toThrow(UsageError)
  })
})
