/**
 * What the sinks say, read as anybody else would: by topic, committed records only, whichever process wrote them.
 * Followed while the job runs, so that even three million records need not be in memory.
 */
import { type Registry, type StreamRecord, string, TopicReader, type Wire } from '../../src/index.ts'
import { INDEX_HEADER } from './feeder.ts'
import type { Names } from './names.ts'
import type { Report } from './report.ts'
import {
  type AirportDelay,
  airportDelayAvro,
  type DelayStats,
  type LateFlight,
  lateFlightAvro,
} from './serdes.ts'

const PROBLEMS_KEPT = 20

export class Sinks {
  readonly #delays: TopicReader<string, AirportDelay>
  readonly #late: TopicReader<string, LateFlight>
  readonly #delaysSeen: Seen
  readonly #lateSeen: Seen
  readonly #last = new Map<string, AirportDelay>()
  /** What is not as exactly-once has it: the first ones, and how many. */
  readonly problems: string[] = []
  problemCount = 0

  private constructor(
    delays: TopicReader<string, AirportDelay>,
    late: TopicReader<string, LateFlight>,
    flights: number,
  ) {
    this.#delays = delays
    this.#late = late
    this.#delaysSeen = new Seen(flights)
    this.#lateSeen = new Seen(flights)
  }

  /** For so many flights. Errors: those of `TopicReader.open`. */
  static async open(wire: Wire, registry: Registry, names: Names, flights: number): Promise<Sinks> {
    const key = string
    const delays = await TopicReader.open(wire, names.airportDelays, {
      key,
      value: airportDelayAvro,
      registry,
    })
    const late = await TopicReader.open(wire, names.lateFlights, { key, value: lateFlightAvro, registry })
    return new Sinks(delays, late, flights)
  }

  /** Records in airport-delays, so far. */
  get flights(): number {
    return this.#delaysSeen.records
  }

  /** Records in late-flights, so far. */
  get lateFlights(): number {
    return this.#lateSeen.records
  }

  /** Reads on to the end of airport-delays. */
  readDelays(): Promise<void> {
    return this.#delays.read((record) => {
      const { key, value } = record
      // Records of one airport are in one partition, so they come in their order.
      const before = this.#last.get(key)?.flights ?? 0
      if (value.flights !== before + 1) {
        this.#complain(`airport-delays: ${key} goes from ${before} flights to ${value.flights}`)
      }
      this.#last.set(key, value)
      this.#note('airport-delays', this.#delaysSeen, record)
    })
  }

  /** Reads on to the end of late-flights. */
  readLate(): Promise<void> {
    return this.#late.read((record) => this.#note('late-flights', this.#lateSeen, record))
  }

  /** The last record of each airport. */
  get airports(): ReadonlyMap<string, DelayStats> {
    return new Map(Array.from(this.#last, ([code, { airport, name, ...stats }]) => [code, stats] as const))
  }

  /** Names of the airports. */
  get names(): ReadonlyMap<string, string> {
    return new Map(Array.from(this.#last, ([code, { name }]) => [code, name ?? '?']))
  }

  get report(): Report {
    return {
      flights: this.flights,
      airports: Object.fromEntries([...this.airports].sort(byCode)),
      lateFlights: this.lateFlights,
    }
  }

  close(): void {
    this.#delays.close()
    this.#late.close()
  }

  #note(topic: string, seen: Seen, { headers }: StreamRecord): void {
    const index = Buffer.from(headers.find(({ key }) => key === INDEX_HEADER)?.value ?? []).toString()
    const verdict = seen.add(Number(index === '' ? Number.NaN : index))
    if (verdict !== undefined) this.#complain(`${topic}: flight ${index} ${verdict}`)
  }

  #complain(problem: string): void {
    this.problemCount += 1
    if (this.problems.length < PROBLEMS_KEPT) this.problems.push(problem)
  }
}

/** Which flights have left a record: one bit each. */
class Seen {
  readonly #flights: number
  readonly #bits: Uint8Array
  records = 0

  constructor(flights: number) {
    this.#flights = flights
    this.#bits = new Uint8Array(Math.ceil(flights / 8))
  }

  /** What is wrong with it, if anything. */
  add(index: number): string | undefined {
    this.records += 1
    if (!Number.isInteger(index) || index < 0 || index >= this.#flights)
      return 'is none of those that are fed'
    const bit = 1 << (index & 7)
    const bits = this.#bits[index >> 3] as number
    if ((bits & bit) !== 0) return 'is there twice'
    this.#bits[index >> 3] = bits | bit
    return undefined
  }
}

function byCode([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}
