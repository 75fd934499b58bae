import { expect, test } from 'vitest'
import { minimise } from './minimise.ts'

const ALL = Array.from({ length: 40 }, (_, i) => `${i % 3 === 0 ? 'lose' : 'crash'}@${i}`)
const always = (): boolean => true
/** Fails when all of these are there. */
const failsWith =
  (...needed: readonly string[]) =>
  async (some: readonly string[]): Promise<string | undefined> =>
    needed.every((name) => some.includes(name)) ? `${some.length} were there` : undefined

test.each([
  ['one', ['lose@9']],
  ['two of a kind', ['lose@3', 'lose@36']],
  ['of two kinds', ['crash@1', 'lose@3', 'crash@38']],
  ['none', []],
])('what is needed is left: %s', async (_, needed) => {
  const found = await minimise(ALL, failsWith(...needed), always)
  expect(found).toMatchObject({ left: needed, isMinimal: true, message: `${needed.length} were there` })
})

test('either of two is enough', async () => {
  const found = await minimise(
    ALL,
    async (some) => (some.includes('lose@9') || some.includes('crash@11') ? 'failed' : undefined),
    always,
  )
  expect(found?.left).toHaveLength(1)
})

test('what does not fail again is no failure', async () => {
  expect(await minimise(ALL, async () => undefined, always)).toBeUndefined()
})

test('when there is no time left, what is left still fails', async () => {
  const failureOf = failsWith('crash@1', 'lose@3', 'crash@38')
  const found = await minimise(ALL, failureOf, (runs) => runs < 7)
  expect(found).toMatchObject({ isMinimal: false, runs: 7 })
  expect(found?.left.length).toBeLessThan(ALL.length)
  expect(await failureOf(found?.left ?? [])).toBeDefined()
})
