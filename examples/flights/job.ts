/**
 * The whole job in one process: feeder and application, on the embedded broker in it or on Kafka, where more
 * processes may share the work.
 *
 *   airports fed ──┬─► application started ─► all flights in the sinks ─► sinks checked
 *                  └─► flights fed
 *
 * Every step asks first what is there already: the first start, the one after a kill and the one after the end take
 * the same path. How far the job is, is read from the sinks: so it does not matter which process does what.
 */
import { setTimeout as pause } from 'node:timers/promises'
import {
  consoleLogger,
  embeddedBroker,
  ensureTopics,
  kafkaWire,
  string,
  TopicReader,
  type Wire,
} from '../../src/index.ts'
import { Application } from './application.ts'
import { type DataSet, type DataSetName, openDataSet, readAirports } from './data.ts'
import type { Directory } from './directory.ts'
import { assertExact, differences } from './exactness.ts'
import { type Feed, Feeder } from './feeder.ts'
import { keepFeeding } from './feeding.ts'
import { type Names, namesOf } from './names.ts'
import { pausing } from './pausing.ts'
import { Rate } from './rate.ts'
import type { Screen } from './screen.ts'
import { type Airport, airportAvro, type Flight, flightAvro } from './serdes.ts'
import { Sinks } from './sinks.ts'
import { Standstill } from './standstill.ts'
import { topicsOf } from './topics.ts'
import { flightsJob, LATE_MINUTES } from './topology.ts'

const POLL_MS = 20
/** On the embedded broker something is broken then; on Kafka a broker or another process may come back. */
const STANDSTILL_MS = 30_000
/** The lowest that brokers allow by default: so long the tasks of a process that was killed wait for another. */
const SESSION_TIMEOUT_MS = 6_000
const HEARTBEAT_INTERVAL_MS = 1_500
const AIRPORTS_GROUP = 500

export interface JobOptions {
  /** Of Kafka; undefined: the embedded broker. */
  readonly brokers: readonly string[] | undefined
  readonly prefix: string
  readonly data: DataSetName
  /** Only so many of the flights. */
  readonly flights: number | undefined
  /** False: another process feeds. */
  readonly feeds: boolean
  readonly directory: Directory
  readonly progressMs: number
  readonly screen: Screen
  /** Ends the job early, with what is done committed. */
  readonly signal: AbortSignal
}

export interface Outcome {
  readonly sinks: Sinks
  /** Flights that have reached the sinks in this run, and in how many seconds. */
  readonly counted: number
  readonly seconds: number
}

/** Undefined when it was ended early. Errors: those of Druse; sinks that are not exact. */
export async function runJob(options: JobOptions): Promise<Outcome | undefined> {
  const { brokers, directory } = options
  const [data, airports] = await Promise.all([openDataSet(options.data, options.flights), readAirports()])
  await using closing = new AsyncDisposableStack()
  const wire =
    brokers === undefined
      ? closing.use(await embeddedBroker({ dir: directory.broker })).wire()
      : kafkaWire({ brokers, clientId: 'druse-flights', log: consoleLogger('warn') })
  await using job = new Job(options, wire, data, airports)
  try {
    return await job.run()
  } catch (error) {
    if (options.signal.aborted) return undefined
    throw error
  }
}

class Job {
  readonly #options: JobOptions
  readonly #names: Names
  readonly #wire: Wire
  readonly #data: DataSet
  readonly #airports: readonly Airport[]
  readonly #over = new AbortController()
  /** The job is interrupted, or over. */
  readonly #stop: AbortSignal
  readonly #standstill = new Standstill()
  readonly #rate = new Rate()
  #feeding: Promise<void> = Promise.resolve()
  #feedingFailure: { readonly error: unknown } | undefined
  #application: Application | undefined
  #sinks: Sinks | undefined
  #airportsKnown = 0
  /** Undefined: not known yet, or another process feeds. */
  #fed: number | undefined

  constructor(options: JobOptions, wire: Wire, data: DataSet, airports: readonly Airport[]) {
    this.#options = options
    this.#names = namesOf(options.data, options.prefix)
    this.#wire = wire
    this.#data = data
    this.#airports = airports
    this.#stop = AbortSignal.any([options.signal, this.#over.signal])
  }

  async run(): Promise<Outcome> {
    const { directory, screen, feeds, progressMs } = this.#options
    const { registry } = directory
    const names = this.#names
    const total = this.#data.flights
    await ensureTopics(this.#wire, topicsOf(names))
    const options = { key: string, value: airportAvro, registry }
    const airports = await TopicReader.open(this.#wire, names.airports, options)
    this.#closeAtEnd(airports)
    const sinks = await Sinks.open(this.#wire, registry, names, total)
    this.#closeAtEnd(sinks)
    if (feeds) {
      this.#feeding = this.#feed().catch((error: unknown) => {
        this.#feedingFailure = { error }
      })
      await this.#until('the feeder to start', async () => this.#fed !== undefined)
    } else screen.say('Another process feeds.')

    const timer = setInterval(() => this.#show(), progressMs)
    this.#closeAtEnd({ close: () => clearInterval(timer) })
    this.#sinks = sinks
    await this.#until('the sinks to be read', async () => {
      await sinks.readDelays()
      return true
    })
    const countedBefore = sinks.flights
    const beginMs = performance.now()

    // The application loads them when it starts, and only then takes flights.
    const codes = new Set<string>()
    await this.#until('the airports to be fed', async () => {
      await airports.read(({ key }) => codes.add(key))
      this.#airportsKnown = codes.size
      return codes.size >= this.#airports.length
    })

    const { topology, delays } = flightsJob(names)
    const application = new Application(
      topology,
      {
        wire: this.#wire,
        registry,
        stateDir: directory.state,
        sessionTimeoutMs: SESSION_TIMEOUT_MS,
        heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
        // Killed and started again, it has its tasks back at once.
        ...(this.#isAlone ? {} : { groupInstanceId: directory.instance }),
      },
      { say: (line) => screen.say(line), signal: this.#stop },
    )
    this.#application = application
    await this.#until('the tasks to start', async () => {
      await application.tend()
      return application.running !== undefined
    })
    this.#sayWhatRuns(application, countedBefore)

    await this.#until('all flights to be counted', async () => {
      await application.tend()
      await sinks.readDelays()
      return sinks.flights >= total
    })
    const seconds = (performance.now() - beginMs) / 1000
    clearInterval(timer)
    this.#show()
    screen.endProgress()
    // Sent before the last flight was counted; but what a transaction has committed is not seen everywhere at once.
    const late = await this.#data.countLater(LATE_MINUTES)
    await this.#until(`${late} records in ${names.lateFlights}`, async () => {
      await application.tend()
      await sinks.readLate()
      return sinks.lateFlights >= late
    })
    assertExact(sinks, total, late)
    let different: readonly string[] = []
    await this.#until(
      () => `region delays to be as ${names.airportDelays} has it for ${different.join(', ')}`,
      async () => {
        await application.tend()
        if (application.running === undefined) return false
        different = await differences(application.running.region(delays), sinks.airports, this.#isAlone)
        return different.length === 0
      },
    )
    return { sinks, counted: total - countedBefore, seconds }
  }

  /** Commits what is done. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort()
    await this.#feeding
    await this.#application?.close()
  }

  get #isAlone(): boolean {
    return this.#options.brokers === undefined
  }

  #feed(): Promise<void> {
    const { directory, screen } = this.#options
    const names = this.#names
    return keepFeeding({
      open: () => Feeder.open(this.#wire, directory.registry, names.feeder),
      feed: async (feeder) => {
        const airports = await feeder.position(names.airports)
        const flights = await feeder.position(names.flights)
        if (this.#fed === undefined) await this.#sayWhatIsFed(airports, flights)
        await feeder.feed(airportFeed(names.airports, this.#airports), () => {}, this.#stop)
        await feeder.feed(flightFeed(names.flights, this.#data), (fed) => (this.#fed = fed), this.#stop)
      },
      company: this.#isAlone ? 'alone' : directory.isRegistryShared ? 'together' : 'apart',
      idleMs: () => this.#standstill.ms,
      say: (line) => screen.say(line),
      signal: this.#stop,
    })
  }

  async #sayWhatIsFed(airports: number, flights: number): Promise<void> {
    const { directory, screen } = this.#options
    const total = this.#data.flights
    screen.say(`Found: ${airports}/${this.#airports.length} airports and ${flights}/${total} flights fed.`)
    if (flights > total) {
      throw new Error(
        `${flights} flights are in the topics, more than the ${total} of this run: leave out --flights, or use another ${this.#isAlone ? 'directory' : '--prefix'}`,
      )
    }
    if (airports > 0 && !(await directory.hasSchemas())) {
      throw new Error(
        `the topics were fed by a process with another directory than ${directory.path}, which knows the ids of the schemas: give that one, or a schema registry with --registry from the beginning`,
      )
    }
    this.#fed = flights
  }

  #sayWhatRuns(application: Application, counted: number): void {
    const { screen } = this.#options
    const { replays } = application
    for (const { task, region, from, end, records } of replays) {
      screen.say(`Replayed: task ${task}, region ${region}, changelog ${from} to ${end}, ${records} records.`)
    }
    if (counted > 0 && replays.length === 0) {
      screen.say('Replayed: nothing, the regions stand at what was committed.')
    }
    screen.say(
      `Running: ${application.tasks} tasks; ${counted}/${this.#data.flights} flights were counted before.`,
    )
  }

  #show(): void {
    const total = this.#data.flights
    const counted = this.#sinks?.flights ?? 0
    const fed = this.#fed === undefined ? '' : `fed ${this.#fed}/${total}, `
    const rate = this.#rate.at(counted)
    this.#options.screen.progress(
      `${fed}processed ${this.#application?.processed ?? 0}, committed ${counted}/${total}${rate === 0 ? '' : `, ${rate} flights/s`}`,
    )
  }

  /** Errors: those of the condition, unless they pass by themselves; of feeding; a standstill, where nobody else can end it. */
  async #until(what: string | (() => string), condition: () => Promise<boolean>): Promise<void> {
    const { screen, signal } = this.#options
    let toldMs = 0
    for (;;) {
      signal.throwIfAborted()
      if (this.#feedingFailure !== undefined) throw this.#feedingFailure.error
      try {
        if (await condition()) return
      } catch (error) {
        if (signal.aborted) throw error
        await pausing(error, (line) => screen.say(line), signal)
      }
      const { state = '', processed = 0 } = this.#application ?? {}
      this.#standstill.see([this.#airportsKnown, this.#fed, this.#sinks?.flights, state, processed].join(' '))
      const { ms } = this.#standstill
      if (ms < STANDSTILL_MS) toldMs = 0
      else if (this.#isAlone || ms - toldMs >= STANDSTILL_MS) {
        const line = `Nothing has moved for ${Math.round(ms / 1000)} s. Waiting for ${typeof what === 'string' ? what : what()}.`
        if (this.#isAlone) throw new Error(line)
        screen.say(line)
        toldMs = ms
      }
      await pause(POLL_MS)
    }
  }

  /** Or when the job is interrupted: what waits on it is then answered. */
  #closeAtEnd(it: { close(): void }): void {
    this.#stop.addEventListener('abort', () => it.close(), { once: true })
  }
}

function airportFeed(topic: string, airports: readonly Airport[]): Feed<Airport> {
  return {
    topic,
    value: airportAvro,
    async *from(position) {
      for (let at = position; at < airports.length; at += AIRPORTS_GROUP) {
        yield airports
          .slice(at, at + AIRPORTS_GROUP)
          .map((airport) => ({ key: airport.code, value: airport }))
      }
    },
  }
}

/** By destination: so the job has to bring the flights of an origin together by itself. */
function flightFeed(topic: string, data: DataSet): Feed<Flight> {
  return {
    topic,
    value: flightAvro,
    async *from(position) {
      for await (const flights of data.from(position)) {
        yield flights.map((flight) => ({
          key: flight.destination,
          value: flight,
          timestamp: flight.departure,
        }))
      }
    },
  }
}
