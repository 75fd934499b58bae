/** Results as lines and as JSON. */
import type { RunResult } from './run.ts'

export interface Summary {
  readonly text: string
  /** `druse` and `peer` are medians of records per second; null for a program that did not run. */
  readonly json: {
    readonly name: string
    readonly druse: number | null
    readonly peer: number | null
    readonly ratio: number | null
    readonly runs: readonly RunResult[]
  }
}

export function text(round: number, result: RunResult): string {
  return `run ${round}  ${row(result.program, [result])}`
}

export function summary(name: string, results: readonly RunResult[]): Summary {
  const druse = results.filter(({ program }) => program === 'druse')
  const peer = results.filter(({ program }) => program === 'kafka-streams')
  const ofDruse = median(druse.map(({ recordsPerSecond }) => recordsPerSecond))
  const ofPeer = median(peer.map(({ recordsPerSecond }) => recordsPerSecond))
  const ratio = ofDruse === null || ofPeer === null ? null : Number((ofDruse / ofPeer).toFixed(2))
  const lines = [druse, peer]
    .filter((runs) => runs.length > 0)
    .map((runs) => `median ${row((runs[0] as RunResult).program, runs)}`)
  if (ratio !== null) lines.push(`ratio  ${ratio}\n`)
  return {
    text: lines.join(''),
    json: { name, druse: rounded(ofDruse), peer: rounded(ofPeer), ratio, runs: results },
  }
}

function row(program: string, runs: readonly RunResult[]): string {
  const figure = (of: (run: RunResult) => number | undefined, digits: number): string =>
    median(runs.map(of).filter((value) => value !== undefined))?.toFixed(digits) ?? '-'
  const columns = [
    program.padEnd(14),
    `${figure((run) => run.recordsPerSecond, 0).padStart(7)} records/s`,
    `CPU ${figure((run) => run.usage?.cpuSeconds, 1).padStart(5)} s`,
    `peak memory ${figure((run) => run.usage?.peakMb, 0).padStart(4)} MB`,
    `broker CPU ${figure((run) => run.brokerCpuSeconds, 1).padStart(5)} s`,
    `output ${figure((run) => run.outputRecords, 0)} records`,
  ]
  return `${columns.join('  ')}\n`
}

function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  if (upper === undefined) return null
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2
}

function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value)
}
