import { describe, expect, test } from 'vitest'
import { parseCommand, type ResetArguments } from '../../src/cli/arguments.ts'

const resetOf = (...args: readonly string[]): ResetArguments => {
  const command = parseCommand(['reset', 'a.ts', ...args])
  if (command.name !== 'reset') throw new Error(command.name)
  return command.with
}

describe('reset', () => {
  test('without options', () => {
    expect(resetOf()).toEqual({
      brokers: undefined,
      embedded: undefined,
      logLevel: undefined,
      to: undefined,
      topics: [],
      keepState: false,
      stateDirs: [],
      force: false,
      dryRun: false,
    })
  })

  test('with all that go together', () => {
    const args = ['--brokers', 'a:1, b:2', '--to-latest', '--topic', 'x', '--topic=y', '--keep-state']
    const more = ['--state-dir', 'one', '--state-dir', 'two', '--force', '--dry-run', '--log-level', 'info']
    expect(resetOf(...args, ...more)).toEqual({
      brokers: ['a:1', 'b:2'],
      embedded: undefined,
      logLevel: 'info',
      to: 'latest',
      topics: ['x', 'y'],
      keepState: true,
      stateDirs: ['one', 'two'],
      force: true,
      dryRun: true,
    })
  })

  const HOUR = 3_600_000
  test.each([
    [['--to-earliest'], 'earliest'],
    [['--to-offset', '12'], { offset: 12 }],
    [['--shift-by', '12'], { shiftBy: 12 }],
    [['--shift-by=-12'], { shiftBy: -12 }],
    [['--to-datetime', '2026-01-31T18:00:00Z'], { timestampMs: Date.UTC(2026, 0, 31, 18) }],
    [
      ['--to-datetime', '2026-01-31T18:00:00.250+02:00'],
      { timestampMs: Date.UTC(2026, 0, 31, 16, 0, 0, 250) },
    ],
    [['--to-datetime', '2026-01-31T18:00'], { timestampMs: Date.UTC(2026, 0, 31, 18) }],
    [['--to-datetime', '2026-01-31'], { timestampMs: Date.UTC(2026, 0, 31) }],
    [['--by-duration', 'P1DT2H30M1.5S'], { agoMs: 26.5 * HOUR + 1_500 }],
    [['--by-duration', 'P2D'], { agoMs: 48 * HOUR }],
    [['--by-duration', 'PT90M'], { agoMs: 1.5 * HOUR }],
  ] as const)('%j', (args, to) => {
    expect(resetOf(...args).to).toEqual(to)
  })

  test.each([
    [['--to-earliest', '--to-latest'], 'exclude each other'],
    [['--shift-by=-1', '--to-offset', '3'], 'exclude each other'],
    [['--brokers', 'a:1', '--embedded', 'x'], 'exclude each other'],
    [['--to-offset=-1'], 'no whole number from 0'],
    [['--to-offset', '1.5'], 'no whole number'],
    [['--shift-by', 'ten'], 'no whole number'],
    [['--shift-by', '-10'], "'--shift-by=-XYZ'"],
    [['--shift-by='], 'is empty'],
    [['--to-datetime', 'yesterday'], 'is no time'],
    [['--to-datetime', '2026-13-01'], 'is no time'],
    [['--to-datetime', '1969-12-31'], 'is no time'],
    [['--to-datetime', '31.1.2026'], 'is no time'],
    [['--by-duration', '1h'], 'is no duration'],
    [['--by-duration', 'P'], 'is no duration'],
    [['--by-duration', 'P1DT'], 'is no duration'],
    [['--topic', 'x'], '--topic needs one of --to-earliest'],
    [['--topic', '', '--to-latest'], '--topic is empty'],
    [['--state-dir', 'a', '--state-dir='], '--state-dir is empty'],
    [['--broker', 'x'], '--broker'],
  ] as const)('%j is wrong usage', (args, why) => {
    expect(() => resetOf(...args)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    expect(() => resetOf(...args)).toThrow(why)
  })
})

test.each([
  [['run', 'a.ts', '--dry-run'], "--dry-run is an option of 'reset'"],
  [['describe', 'a.ts', '--brokers', 'x:1'], "--brokers is an option of 'run' and 'reset'"],
  [['run', 'a.ts', '--state-dir', 'a', '--state-dir', 'b'], 'takes one --state-dir'],
] as const)('%j is wrong usage', (args, why) => {
  expect(() => parseCommand(args)).toThrow(why)
})
