/** The report for people. */

import type { DelayStats } from './serdes.ts'
import type { Sinks } from './sinks.ts'

const ROWS = 10
/** Of an airport with fewer flights, a mean says little. */
const FLIGHTS_MIN = 50

export function tables({ report, names }: Sinks): string {
  const airports = Object.entries(report.airports)
  const busiest = airports.toSorted(([, a], [, b]) => b.flights - a.flights)
  const latest = airports
    .filter(([, { flights }]) => flights >= FLIGHTS_MIN)
    .toSorted(([, a], [, b]) => mean(b) - mean(a))
  const rows = (list: typeof airports) =>
    list.slice(0, ROWS).map(([code, stats]) => row(code, names.get(code) ?? '', stats))
  return [
    `${report.flights} flights from ${airports.length} airports, ${report.lateFlights} of them more than two hours late.`,
    '',
    'The busiest airports',
    HEAD,
    ...rows(busiest),
    '',
    `The most delayed airports, of those with at least ${FLIGHTS_MIN} flights`,
    HEAD,
    ...rows(latest),
    '',
  ].join('\n')
}

const HEAD = line('', '', 'flights', 'delayed', 'mean', 'longest')

function row(code: string, name: string, stats: DelayStats): string {
  const share = `${((100 * stats.delayed) / stats.flights).toFixed(1)} %`
  return line(
    code,
    name,
    String(stats.flights),
    share,
    minutes(mean(stats).toFixed(1)),
    minutes(stats.maxDelayMinutes),
  )
}

function line(code: string, name: string, ...figures: readonly string[]): string {
  return `  ${code.padEnd(5)}${name.slice(0, 38).padEnd(40)}${figures.map((figure) => figure.padStart(11)).join('')}`
}

function mean({ totalDelayMinutes, flights }: DelayStats): number {
  return totalDelayMinutes / flights
}

function minutes(figure: string | number): string {
  return `${figure} min`
}
