/** A process of the fleet: `node child.ts <ChildSpec as JSON>`. A mutant changes the source before any of it is loaded. */
import type { ChildSpec } from './reports.ts'

const spec = JSON.parse(process.argv[2] ?? '') as ChildSpec
if (spec.mutant !== undefined) (await import('../sim/mutation.ts')).apply(spec.mutant)
const { runApplication } = await import('./application.ts')
await runApplication(spec)
