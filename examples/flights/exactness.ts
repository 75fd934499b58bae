/** Whether everything is there exactly once. */
import { isDeepStrictEqual } from 'node:util'
import { type CommittedRegion, DruseError } from '../../src/index.ts'
import type { DelayStats } from './serdes.ts'
import type { Sinks } from './sinks.ts'

/** Errors: one that tells what is not as it should be in the sinks. */
export function assertExact(sinks: Sinks, flights: number, lateFlights: number): void {
  const found = [...sinks.problems]
  let count = sinks.problemCount
  const expect = (what: string, records: number, expected: number): void => {
    if (records === expected) return
    found.push(`${what} are ${records} records for ${expected} flights`)
    count += 1
  }
  expect('in airport-delays', sinks.flights, flights)
  expect('in late-flights', sinks.lateFlights, lateFlights)
  if (count === 0) return
  throw new Error(`the sinks are not exact:\n  ${found.join('\n  ')}\n(${count} findings)`)
}

/**
 * Airports of which the region does not say the same as the last record in the sink: of those whose part runs here, or
 * of all. Parts that are taken away meanwhile are not looked at.
 */
export async function differences(
  region: CommittedRegion<string, DelayStats>,
  sink: ReadonlyMap<string, DelayStats>,
  hasAllParts: boolean,
): Promise<readonly string[]> {
  const different: string[] = []
  for (const [airport, last] of sink) {
    try {
      if (!isDeepStrictEqual({ ...(await region.get(airport)) }, last)) different.push(airport)
    } catch (error) {
      if (hasAllParts || !DruseError.is(error, 'REGION_UNAVAILABLE')) throw error
    }
  }
  return different
}
