/**
 * State directories, damaged: `npm run damage -- [--runs N] [--seed S] [--kind TEXT]`. N of each kind, from seed S on, of
 * the kinds whose names contain TEXT. Says what became of them; the exit code is 0 when none went unnoticed or was lost.
 */
import { parseArgs } from 'node:util'
import { DamageWorld, type Outcome } from './damage-world.ts'
import { DAMAGES } from './kinds.ts'

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    kind: { type: 'string', default: '' },
    verbose: { type: 'boolean', default: false },
  },
})

const COLUMNS = ['rebuilt', 'behind', 'asBefore', 'replica', 'wrong'] as const
type Counts = Record<Outcome | 'wrong', number>

const none = (): Counts => ({ rebuilt: 0, behind: 0, asBefore: 0, replica: 0, wrong: 0 })
const row = (cells: readonly (string | number)[], name: string): string =>
  `${cells.map((cell) => String(cell).padStart(9)).join('')}  ${name}`

const world = await DamageWorld.open()
const total = none()
console.log(row(COLUMNS, ''))
for (const kind of Object.keys(DAMAGES).filter((name) => name.includes(values.kind))) {
  const counts = none()
  for (let n = 0; n < Number(values.runs); n++) {
    try {
      const { outcome, fixture, what, seed } = await world.run(kind, Number(values.seed) + n)
      counts[outcome] += 1
      if (values.verbose) console.log(`  seed ${seed}: ${outcome}: ${fixture}: ${what}`)
    } catch (error) {
      counts.wrong += 1
      console.log(`WRONG ${error instanceof Error ? error.message : error}`)
    }
  }
  console.log(
    row(
      COLUMNS.map((column) => counts[column]),
      kind,
    ),
  )
  for (const column of COLUMNS) total[column] += counts[column]
}
await world.checkOutputs()
await world.close()
const directories = COLUMNS.reduce((sum, column) => sum + total[column], 0)
console.log(
  row(
    COLUMNS.map((column) => total[column]),
    `${directories} directories, ${total.wrong} unnoticed or lost; every output exactly once`,
  ),
)
process.exitCode = total.wrong === 0 ? 0 : 1
