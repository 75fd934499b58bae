/**
 * The whole job in one process: feeder and application, on the embedded broker in it or on Kafka.
 *
 *   airports fed ─► application started ─► flights fed and counted ─► sinks read back and checked
 *
 * Every step asks first what is there already: the first start, the one after a kill and the one after the end take
 * the same path.
 */
import { isDeepStrictEqual } from 'node:util'
import {
  type CommittedRegion,
  consoleLogger,
  Druse,
  embeddedBroker,
  ensureTopics,
  kafkaWire,
  type RestoreProgress,
} from '../../src/index.ts'
import { readAirports, readFlights } from './data.ts'
import type { Directory } from './directory.ts'
import { type Feed, Feeder } from './feeder.ts'
import { namesOf } from './names.ts'
import { Progress } from './progress.ts'
import { readSinks, type Sinks } from './report.ts'
import { type Airport, airportAvro, type DelayStats, type Flight, flightAvro } from './serdes.ts'
import { topicsOf } from './topics.ts'
import { flightsJob, LATE_MINUTES } from './topology.ts'
import { until } from './watch.ts'

export interface JobOptions {
  /** Of Kafka; undefined: the embedded broker. */
  readonly brokers: readonly string[] | undefined
  readonly prefix: string
  readonly directory: Directory
  readonly progressMs: number
  /** Ends the job early, with what is done committed. */
  readonly signal: AbortSignal
}

/** Undefined when it was ended early. Errors: those of Druse; sinks that are not exact. */
export async function runJob(options: JobOptions): Promise<Sinks | undefined> {
  const [flights, airports] = await Promise.all([readFlights(), readAirports()])
  const { directory, progressMs, signal, brokers } = options
  const { registry } = directory
  const names = namesOf(options.prefix)
  const { topology, delays } = flightsJob(names)
  await using closing = new AsyncDisposableStack()
  const wire =
    brokers === undefined
      ? closing.use(await embeddedBroker({ dir: directory.broker })).wire()
      : kafkaWire({ brokers, clientId: names.application, log: consoleLogger('warn') })
  await ensureTopics(wire, topicsOf(names))
  const feeder = closing.adopt(await Feeder.open(wire, registry, names.feeder), (it) => it.close())
  let fed = await feeder.position(names.flights)
  const fedAirports = await feeder.position(names.airports)
  say(`Found: ${fedAirports}/${airports.length} airports and ${fed}/${flights.length} flights fed.`)
  // The application loads what this topic holds when it starts, and only then takes flights.
  await feeder.feed(airportFeed(names.airports, airports), () => {}, signal)
  if (signal.aborted) return undefined

  const replayed = new Map<string, RestoreProgress>()
  const app = closing.adopt(
    new Druse(topology, {
      wire,
      registry,
      stateDir: directory.state,
      onRestore: (progress) => replayed.set(progress.task, progress),
    }),
    (it) => it.close(),
  )
  await app.start()
  if (!(await until(() => app.state === 'RUNNING', app, signal))) return undefined
  for (const { task, region, from, end, records } of replayed.values()) {
    say(`Replayed: task ${task}, region ${region}, changelog ${from} to ${end}, ${records} records.`)
  }
  const region = app.region(delays)
  let counted = await countFlights(region)
  if (counted > 0 && replayed.size === 0) say('Replayed: nothing, the regions stand at what was committed.')
  say(`Running: ${app.health.tasks.length} tasks; ${counted}/${flights.length} flights were counted before.`)

  const over = new AbortController()
  closing.defer(() => over.abort())
  const progress = closing.adopt(
    new Progress(
      progressMs,
      () => `fed ${fed}/${flights.length}, processed ${app.health.counts.records}, committed ${counted}`,
    ),
    (it) => it.stop(),
  )
  const onFed = (count: number): void => {
    fed = count
  }
  const allCounted = async (): Promise<boolean> => {
    counted = await countFlights(region)
    return counted >= flights.length
  }
  const stop = AbortSignal.any([signal, over.signal])
  await Promise.all([
    feeder.feed(flightFeed(names.flights, flights), onFed, stop),
    until(allCounted, app, stop),
  ])
  progress.stop()
  if (signal.aborted) return undefined

  // A commit may be answered a moment before readers see it.
  let sinks: Sinks | undefined
  const allThere = async (): Promise<boolean> => {
    sinks = await readSinks(wire, registry, names)
    return sinks.report.flights >= flights.length
  }
  await until(allThere, app, signal)
  if (sinks !== undefined && !signal.aborted) assertExact(sinks, flights, await statsOf(region))
  return signal.aborted ? undefined : sinks
}

function airportFeed(topic: string, airports: readonly Airport[]): Feed<Airport> {
  return {
    topic,
    value: airportAvro,
    records: airports.map((airport) => ({ key: airport.code, value: airport })),
  }
}

/** By destination: so the job has to bring the flights of an origin together by itself. */
function flightFeed(topic: string, flights: readonly Flight[]): Feed<Flight> {
  return {
    topic,
    value: flightAvro,
    records: flights.map((flight) => ({
      key: flight.destination,
      value: flight,
      timestamp: flight.departure,
    })),
  }
}

type Delays = CommittedRegion<string, DelayStats>

/** Committed flights: a flight's count and its record in the sink are committed together. */
async function countFlights(delays: Delays): Promise<number> {
  let count = 0
  for await (const [, { flights }] of delays.range()) count += flights
  return count
}

async function statsOf(delays: Delays): Promise<ReadonlyMap<string, DelayStats>> {
  const stats = new Map<string, DelayStats>()
  for await (const [airport, found] of delays.range()) stats.set(airport, { ...found })
  return stats
}

function assertExact(
  { report, problems }: Sinks,
  flights: readonly Flight[],
  stats: ReadonlyMap<string, DelayStats>,
): void {
  const late = flights.filter(({ delayMinutes }) => delayMinutes > LATE_MINUTES).length
  const found = [...problems]
  if (report.flights !== flights.length) {
    found.push(`airport-delays has ${report.flights} records for ${flights.length} flights`)
  }
  // Committed before the last of airport-delays, since one producer ends one transaction after the other.
  if (report.lateFlights !== late) {
    found.push(`late-flights has ${report.lateFlights} records for ${late} late flights`)
  }
  for (const [airport, last] of Object.entries(report.airports)) {
    if (isDeepStrictEqual(stats.get(airport), last)) continue
    found.push(`region delays and airport-delays do not agree on ${airport}`)
  }
  if (found.length === 0) return
  throw new Error(
    `the sinks are not exact:\n  ${found.slice(0, 20).join('\n  ')}\n(${found.length} findings)`,
  )
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
