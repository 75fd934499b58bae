/** The laws that look at a run while it is on, and at what its processes have printed. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { judgeLogs } from './logs-law.ts'
import { type CommittedInput, OffsetLaw, parseCommitted } from './offset-law.ts'
import { Verdict } from './verdict.ts'

describe('committed offsets', () => {
  const at = (more: Partial<CommittedInput> = {}): CommittedInput => {
    const position = { topic: 'transfers', partition: 0, offset: 7, sequence: 3 }
    return { ...position, incarnation: 'life', regions: { a: 5 }, ...more }
  }

  function found(...samples: CommittedInput[][]): string[] {
    const verdict = new Verdict()
    const law = new OffsetLaw(verdict)
    for (const sample of samples) law.judge(sample)
    return verdict.violations
  }

  test('that go on, or stay, are as they should be', () => {
    const next = at({ offset: 8, sequence: 4, regions: { a: 6, b: 0 } })
    expect(found([at()], [at()], [next], [next, at({ ...next, topic: 'credits', offset: 1 })])).toEqual([])
  })

  test('are behind when they are of an earlier commit, or gone, and not when they begin anew', () => {
    const law = new OffsetLaw(new Verdict())
    expect(law.isBehind([])).toBe(false)
    law.judge([at()])
    for (const behind of [[], [at({ sequence: 2 })], [at({ partition: 1 })]])
      expect(law.isBehind(behind)).toBe(true)
    for (const now of [at(), at({ sequence: 4 }), at({ sequence: 0, incarnation: 'another' })])
      expect(law.isBehind([now])).toBe(false)
  })

  const wrong: [string, CommittedInput[], RegExp][] = [
    ['go back', [at({ offset: 6, sequence: 4 })], /offset 6 after 7/],
    ['are of an earlier commit', [at({ offset: 8, sequence: 2 })], /sequence 2 after 3/],
    ['are two of one commit', [at({ offset: 8 })], /sequence 3 has offset 7, then 8/],
    ['leave a region behind', [at({ offset: 8, sequence: 4, regions: { a: 4 } })], /region is at 4 after 5/],
    ['forget a region', [at({ offset: 8, sequence: 4, regions: {} })], /region is at -1 after 5/],
    ['begin anew', [at({ incarnation: 'another' })], /begun anew/],
    ['are gone', [], /its offset is gone/],
    ['of one task are of two commits', [at(), at({ topic: 'credits', sequence: 4 })], /transfers has 3/],
    ['of one task see two states', [at(), at({ topic: 'credits', regions: { a: 6 } })], /stand elsewhere/],
    ['of two tasks have one life', [at(), at({ topic: 'credits', partition: 1 })], /of another task/],
  ]
  test.each(wrong)('that %s are found', (_, sample, message) => {
    const violations = found([at()], sample)
    expect(violations).toHaveLength(1)
    expect(violations[0]).toMatch(message)
  })

  test('with metadata of something else are found', () => {
    const verdict = new Verdict()
    const metadata = (offset: number) =>
      JSON.stringify([1, 'x', 3, 'life', 'c', offset, 't', 0, [], { a: [5] }])
    expect(parseCommitted('transfers', 0, 7, metadata(7), verdict)).toEqual(at())
    expect(verdict.violations).toEqual([])
    for (const text of ['', 'x', '[2]', metadata(8)]) parseCommitted('transfers', 0, 7, text, verdict)
    expect(verdict.violations).toHaveLength(4)
  })
})

describe('logs', () => {
  async function found(text: string): Promise<string[]> {
    const directory = await mkdtemp(join(tmpdir(), 'druse-logs-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    const path = join(directory, 'log')
    await writeFile(path, `2026-01-01T00:00:00.000Z warn task: waits error=no answer\n${text}\n`)
    const verdict = new Verdict()
    await judgeLogs([path], ['open sesame'], verdict)
    return verdict.violations.map((violation) => violation.replace(`${path}:`, ''))
  }

  test('without either have nothing wrong', async () => {
    expect(await found('2026-01-01T00:00:00.000Z error group: an error of the broker')).toEqual([])
  })

  test.each([
    ['Uncaught Error: no', 'C9'],
    ['(node:1) UnhandledPromiseRejectionWarning: no', 'C9'],
    ['TypeError: x is not a function', 'C9'],
    ['    at run (file:///druse/src/x.ts:1:2)', 'C9'],
    ['<--- FATAL ERROR: heap out of memory', 'C9'],
    ['warn password=open sesame', 'C10'],
    [`warn authorization=Basic ${Buffer.from('open sesame').toString('base64')}`, 'C10'],
  ])('%s', async (line, law) => {
    const violations = await found(line)
    expect(violations).toHaveLength(1)
    expect(violations[0]).toMatch(new RegExp(`^${law} logs: 2\\b`))
    expect(violations[0]).not.toContain('sesame')
  })
})
