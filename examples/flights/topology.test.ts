/** What the job makes of flights, without a Kafka: its own rules, and that each flight counts once whatever crashes. */
import { expect, test } from 'vitest'
import { string } from '../../src/index.ts'
import { TestDriver, type TestDriverOptions } from '../../src/testing/index.ts'
import { namesOf } from './names.ts'
import { airportAvro, airportDelayAvro, type Flight, flightAvro, lateFlightAvro } from './serdes.ts'
import { flightsJob } from './topology.ts'

const names = namesOf('flights-20k', '')
const { topology, delays } = flightsJob(names)

const flight = (origin: string, destination: string, delayMinutes: number): Flight => ({
  departure: Date.UTC(2001, 0, 1, 12),
  origin,
  destination,
  delayMinutes,
  distanceMiles: 100,
})
const byDestination = (flights: readonly Flight[]) => flights.map((each) => [each.destination, each] as const)

async function open(options: TestDriverOptions = {}) {
  const driver = await TestDriver.create(topology, { partitions: 4, ...options })
  return {
    driver,
    flights: driver.createInputTopic(names.flights, { key: string, value: flightAvro }),
    airports: driver.createInputTopic(names.airports, { key: string, value: airportAvro }),
    airportDelays: driver.createOutputTopic(names.airportDelays, { key: string, value: airportDelayAvro }),
    lateFlights: driver.createOutputTopic(names.lateFlights, { key: string, value: lateFlightAvro }),
  }
}

test('figures are kept by origin, and carry the name of the airport once it is known', async () => {
  const { driver, flights, airports, airportDelays } = await open()
  await using _ = driver
  await flights.pipeInput('LAX', flight('SFO', 'LAX', 10))
  expect(await airportDelays.readValue()).toMatchObject({
    airport: 'SFO',
    name: null,
    flights: 1,
    delayed: 0,
  })

  const place = { city: 'San Francisco', state: 'CA', country: 'USA', latitude: 37.6, longitude: -122.4 }
  await airports.pipeInput('SFO', { code: 'SFO', name: 'San Francisco International', ...place })
  await flights.pipeKeyValueList(byDestination([flight('SFO', 'JFK', 16), flight('JFK', 'SFO', -5)]))
  expect(await airportDelays.readKeyValuesToMap()).toMatchObject(
    new Map<string, object>([
      ['SFO', { name: 'San Francisco International', flights: 2, delayed: 1, totalDelayMinutes: 26 }],
      ['JFK', { name: null, flights: 1, delayed: 0, maxDelayMinutes: -5 }],
    ]),
  )
  expect(await driver.region(delays).get('SFO')).toMatchObject({ flights: 2, maxDelayMinutes: 16 })
})

test('flights are late beyond two hours', async () => {
  const { driver, flights, lateFlights } = await open()
  await using _ = driver
  await flights.pipeKeyValueList(byDestination([120, 121].map((minutes) => flight('SFO', 'LAX', minutes))))
  expect(await lateFlights.readValuesToList()).toMatchObject([{ origin: 'SFO', delayMinutes: 121 }])
})

test.each([1, 2, 3])('each flight counts once while instances crash (seed %i)', async (seed) => {
  const { driver, flights, airportDelays } = await open({ seed, instances: 2 })
  await using _ = driver
  const origins = ['ATL', 'DFW', 'JFK', 'LAX', 'ORD', 'SFO']
  const [first, second] = driver.instances
  for (const at of ['beforeCommit', 'afterCommit', 'now'] as const) {
    first.crash({ at })
    await flights.pipeKeyValueList(
      byDestination(origins.map((origin, i) => flight(origin, origins.at(-i) ?? '', i))),
    )
    second?.crash()
    await first.restart({ emptyDirectory: at === 'now' })
    await second?.restart()
  }
  const counted = (await airportDelays.readValuesToList()).map((value) => `${value.airport} ${value.flights}`)
  expect(counted.toSorted()).toEqual(origins.flatMap((origin) => [1, 2, 3].map((n) => `${origin} ${n}`)))
})
