/** Faults that last: each ends as it is documented. */
import { expect, test } from 'vitest'
import { runStory, STORIES } from './stories.ts'

test.each(STORIES)('$name: $what', async ({ name }) => {
  await runStory(name)
})

test('their names are their own', () => {
  expect(new Set(STORIES.map(({ name }) => name)).size).toBe(STORIES.length)
})
