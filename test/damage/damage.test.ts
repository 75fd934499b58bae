/** Some of each kind of damage; `npm run damage -- --runs 200` for more. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DamageWorld } from './damage-world.ts'
import { DAMAGES } from './kinds.ts'

const SEEDS = [1, 2, 3, 4]
/** What is never taken for what it is not: every such directory of a task is moved aside. */
const ALWAYS_REBUILT = /^(manifest|CURRENT|table): (cut|deleted)/

let world: DamageWorld

beforeAll(async () => {
  world = await DamageWorld.open()
}, 120_000)

afterAll(() => world.close())

test.each(Object.keys(DAMAGES))('%s', async (kind) => {
  for (const seed of SEEDS) {
    const { outcome } = await world.run(kind, seed)
    if (ALWAYS_REBUILT.test(kind)) expect(outcome).toBe('rebuilt')
  }
})

test('every output exactly once', () => world.checkOutputs())
