/** What the sinks say, read back as anybody else would: by topic, committed records only. */
import { open, rename } from 'node:fs/promises'
import { type Registry, readTopic, type StreamRecord, string, type Wire } from '../../src/index.ts'
import { INDEX_HEADER } from './feeder.ts'
import type { Names } from './names.ts'
import { type AirportDelay, airportDelayAvro, type DelayStats, lateFlightAvro } from './serdes.ts'

export interface Report {
  /** Records in airport-delays. */
  readonly flights: number
  /** The last record of each airport. */
  readonly airports: Readonly<Record<string, DelayStats>>
  /** Records in late-flights. */
  readonly lateFlights: number
}

export interface Sinks {
  readonly report: Report
  /** Names of the airports in the report. */
  readonly names: ReadonlyMap<string, string>
  /** What is not as exactly-once has it; empty when all is well. */
  readonly problems: readonly string[]
}

export async function readSinks(wire: Wire, registry: Registry, names: Names): Promise<Sinks> {
  const delays = await readTopic(wire, names.airportDelays, {
    key: string,
    value: airportDelayAvro,
    registry,
  })
  const late = await readTopic(wire, names.lateFlights, { key: string, value: lateFlightAvro, registry })
  const last = new Map<string, AirportDelay>()
  const problems: string[] = []
  // Records of one airport are in one partition, so they come in their order.
  for (const { key, value } of delays) {
    const before = last.get(key)?.flights ?? 0
    if (value.flights !== before + 1) {
      problems.push(`airport-delays: ${key} goes from ${before} flights to ${value.flights}`)
    }
    last.set(key, value)
  }
  problems.push(...repeated('airport-delays', delays), ...repeated('late-flights', late))
  return {
    report: {
      flights: delays.length,
      airports: Object.fromEntries(
        Array.from(last, ([code, { airport, name, ...stats }]) => [code, stats] as const).sort(byCode),
      ),
      lateFlights: late.length,
    },
    names: new Map(Array.from(last, ([code, { name }]) => [code, name ?? '?'])),
    problems,
  }
}

function byCode([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
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

/** Inputs that have left more than one record. */
function repeated(topic: string, records: readonly StreamRecord[]): string[] {
  const seen = new Set<string>()
  return records.flatMap(({ headers }) => {
    const index = Buffer.from(headers.find(({ key }) => key === INDEX_HEADER)?.value ?? []).toString()
    if (!seen.has(index)) {
      seen.add(index)
      return []
    }
    return [`${topic}: flight ${index} is there twice`]
  })
}
