import type { RangeBounds } from '../ports.ts'

/** The same range with at most one bound on each side, so that bodies need not choose between `gt` and `gte`. */
export function tightest(bounds: RangeBounds): RangeBounds {
  const { gte, gt, lte, lt, reverse = false, limit } = bounds
  return {
    ...(gt !== undefined && (gte === undefined || Buffer.compare(gt, gte) >= 0)
      ? { gt }
      : gte !== undefined && { gte }),
    ...(lt !== undefined && (lte === undefined || Buffer.compare(lt, lte) <= 0)
      ? { lt }
      : lte !== undefined && { lte }),
    ...(limit !== undefined && { limit: Math.max(0, limit) }),
    reverse,
  }
}
