/** The flights demo from outside: its process, and what its report has to say by nothing but the data file and a loop. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { expect } from 'vitest'
import { ChildProcess, type Ended } from '../child-process.ts'

const MAIN = fileURLToPath(new URL('../../examples/flights/main.ts', import.meta.url))

export function startDemo(...args: readonly string[]): ChildProcess {
  return new ChildProcess(MAIN, args)
}

/** As the last line of progress has it. */
export function committedIn(out: string): number {
  return Number(out.match(/.*committed (\d+)/s)?.[1] ?? 0)
}

export function expectSuccess(ended: Ended): void {
  expect(ended, `${ended.err}\n${ended.out}`).toMatchObject({ code: 0, err: '' })
}

export interface Report {
  readonly flights: number
  readonly airports: Readonly<Record<string, Stats>>
  readonly lateFlights: number
}

interface Stats {
  flights: number
  delayed: number
  totalDelayMinutes: number
  maxDelayMinutes: number
}

interface Row {
  readonly origin: string
  readonly delay: number | bigint
}

export async function expectedReport(
  data: 'flights-20k' | 'flights-3m' = 'flights-20k',
  flights = Number.POSITIVE_INFINITY,
): Promise<Report> {
  const rows = data === 'flights-20k' ? await jsonRows() : await parquetRows(flights)
  const airports: Record<string, Stats> = {}
  let lateFlights = 0
  for (const row of rows.slice(0, flights)) {
    const delay = Number(row.delay)
    airports[row.origin] ??= { flights: 0, delayed: 0, totalDelayMinutes: 0, maxDelayMinutes: delay }
    const stats = airports[row.origin] as Stats
    stats.flights += 1
    if (delay > 15) stats.delayed += 1
    stats.totalDelayMinutes += delay
    stats.maxDelayMinutes = Math.max(stats.maxDelayMinutes, delay)
    if (delay > 120) lateFlights += 1
  }
  return { flights: Math.min(flights, rows.length), airports, lateFlights }
}

async function jsonRows(): Promise<Row[]> {
  return JSON.parse(await readFile(pathOf('flights-20k.json'), 'utf8'))
}

async function parquetRows(flights: number): Promise<Row[]> {
  const file = await asyncBufferFromFile(pathOf('flights-3m.parquet'))
  const columns = ['origin', 'delay']
  return (await parquetReadObjects({ file, compressors, columns, rowStart: 0, rowEnd: flights })) as Row[]
}

function pathOf(file: string): string {
  return fileURLToPath(new URL(`../../node_modules/vega-datasets/data/${file}`, import.meta.url))
}

/** mulberry32 */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
