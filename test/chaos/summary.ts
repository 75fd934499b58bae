/** A run in one line. */
import type { ChaosResult } from './run.ts'

export function summaryOf(result: ChaosResult): string {
  const { faults, points, ambiguous } = result
  const all = [...faults.values()].reduce((sum, n) => sum + n, 0)
  const byKind = Array.from(faults, ([family, n]) => `${family} ${n}`).join(', ')
  const missing = points.missing.length > 0 ? ` without ${points.missing.join(' ')}` : ''
  const total = ambiguous.committed + ambiguous.aborted + ambiguous.unresolved
  return [
    `${result.transactions} transactions`,
    `${result.records} records`,
    `${all} faults (${byKind})`,
    `${points.hit} of ${points.all} failpoints${missing}`,
    `${total} ambiguous commits, ${ambiguous.committed} found committed, ${ambiguous.aborted} not, ${ambiguous.unresolved} unresolved`,
    `${result.restores} restores`,
    `${result.oldAnswers} old answers of the group coordinator`,
    `${result.wipes} state wipes${result.wipesAfterDamage > 0 ? ` and ${result.wipesAfterDamage} after damage` : ''}`,
    `heaps of at most ${Math.ceil(result.heapBytesMax / (1 << 20))} MiB`,
    `${result.violations.length} violations`,
  ].join('; ')
}
