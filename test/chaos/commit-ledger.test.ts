import { expect, test } from 'vitest'
import { CommitLedger } from './commit-ledger.ts'

const at = 'numbers/0'

test('a commit that was answered is not ambiguous', () => {
  const ledger = new CommitLedger()
  ledger.ending('A', { at, sequence: 3 })
  ledger.ended('A', true)
  ledger.lost('A')
  expect(ledger.ambiguous).toBe(0)
})

test('one that was not is settled by the offsets that are read next', () => {
  const ledger = new CommitLedger()
  ledger.ending('A', { at, sequence: 3 })
  ledger.ended('A', false)
  ledger.ending('B', { at: 'numbers/1', sequence: 7 })
  ledger.lost('B')
  ledger.ending('C', { at: 'numbers/2', sequence: 0 })
  ledger.lost('C')
  expect(ledger.unresolved).toBe(3)
  ledger.read([
    { at, sequence: 3 },
    { at: 'numbers/1', sequence: 6 },
  ])
  expect(ledger).toMatchObject({ ambiguous: 3, unresolved: 1, resolved: { committed: 1, aborted: 1 } })
  ledger.read([{ at: 'numbers/2', sequence: -1 }])
  expect(ledger).toMatchObject({ unresolved: 0, resolved: { committed: 1, aborted: 2 } })
})

test('a process that ends without a commit under way leaves nothing open', () => {
  const ledger = new CommitLedger()
  ledger.ending('A', { at, sequence: 3 })
  ledger.ended('A', true)
  ledger.lost('A')
  ledger.lost('A')
  expect(ledger.unresolved).toBe(0)
})
