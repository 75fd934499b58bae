/** The figures, as the sinks have them. */
import { open, rename } from 'node:fs/promises'
import type { DelayStats } from './serdes.ts'

export interface Report {
  /** Records in airport-delays. */
  readonly flights: number
  /** The last record of each airport. */
  readonly airports: Readonly<Record<string, DelayStats>>
  /** Records in late-flights. */
  readonly lateFlights: number
}

/** Replaces the file in one step. */
export async function writeReport(path: string, report: Report): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`
  const file = await open(temporary, 'w')
  try {
    await file.writeFile(`${JSON.stringify(report, null, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}
