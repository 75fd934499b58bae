/** What the test driver's types allow and refuse. `tsc` checks this file. */
import { describe, expect, expectTypeOf, test } from 'vitest'
import {
  avro,
  type CommittedRegion,
  int64,
  json,
  type StreamRecord,
  string,
  Topology,
} from '../../src/index.ts'
import {
  TestDriver,
  type TestInputTopic,
  type TestInstance,
  type TestOutputTopic,
} from '../../src/testing/index.ts'

interface Click {
  readonly page: string
}

const topology = new Topology('types')
const clicks = topology.region('clicks', { key: string, value: int64 })
const pages = topology.globalRegion('pages', { topic: 'pages', key: string, value: json<Click>() })

/** Only the types of its body are of interest. */
const onlyTyped = (_: (driver: TestDriver) => unknown): void => expect(true).toBe(true)

describe('types', () => {
  test('follow the serdes into topics', () => {
    onlyTyped(async (driver) => {
      const input = driver.createInputTopic('in', { key: string, value: json<Click>() })
      expectTypeOf(input).toEqualTypeOf<TestInputTopic<string, Click>>()
      expectTypeOf(input.pipeInput('a', { page: '/' })).toEqualTypeOf<Promise<void>>()
      await input.pipeInput(null, null, { timestamp: 1, partition: 0, headers: [] })
      await input.pipeRecordList([{ key: 'a', value: { page: '/' } }])
      await input.pipeKeyValueList([['a', { page: '/' }]])
      // @ts-expect-error keys are strings
      await input.pipeInput(1, { page: '/' })
      // @ts-expect-error values are clicks
      await input.pipeInput('a', 'b')
      // @ts-expect-error so they are in lists
      await input.pipeKeyValueList([['a', 1]])
      // @ts-expect-error a record has no offset before it is written
      await input.pipeInput('a', { page: '/' }, { offset: 1 })
    })
  })

  test('follow the serdes out of topics', () => {
    onlyTyped((driver) => {
      const output = driver.createOutputTopic('out', { key: string, value: avro<Click>('"string"') })
      expectTypeOf(output).toEqualTypeOf<TestOutputTopic<string, Click>>()
      expectTypeOf(output.readRecord()).resolves.toEqualTypeOf<StreamRecord<string, Click> | undefined>()
      expectTypeOf(output.readKeyValue()).resolves.toEqualTypeOf<[key: string, value: Click] | undefined>()
      expectTypeOf(output.readValue()).resolves.toEqualTypeOf<Click | undefined>()
      expectTypeOf(output.readRecordsToList()).resolves.toEqualTypeOf<StreamRecord<string, Click>[]>()
      expectTypeOf(output.readKeyValuesToList()).resolves.toEqualTypeOf<[key: string, value: Click][]>()
      expectTypeOf(output.readKeyValuesToMap()).resolves.toEqualTypeOf<Map<string, Click>>()
      expectTypeOf(output.readValuesToList()).resolves.toEqualTypeOf<Click[]>()
    })
  })

  test('follow the regions', () => {
    onlyTyped((driver) => {
      expectTypeOf(driver.region(clicks)).toEqualTypeOf<CommittedRegion<string, number>>()
      expectTypeOf(driver.region(pages)).toEqualTypeOf<CommittedRegion<string, Click>>()
      // @ts-expect-error keys are strings
      driver.region(clicks).get(1)
    })
  })

  test('know that there is an instance', () => {
    onlyTyped((driver) => {
      expectTypeOf(driver.instances[0]).toEqualTypeOf<TestInstance>()
      expectTypeOf(driver.instances[1]).toEqualTypeOf<TestInstance | undefined>()
      expectTypeOf(driver.addInstance()).resolves.toEqualTypeOf<TestInstance>()
      // @ts-expect-error there is no such point
      driver.instances[0].crash({ at: 'never' })
    })
  })

  test('take a topology or a function, and settings', () => {
    onlyTyped(async () => {
      await TestDriver.create(topology, {
        commitIntervalMs: 10,
        seed: 1,
        processingGuarantee: 'at_least_once',
      })
      await using driver = await TestDriver.create(() => topology)
      expectTypeOf(driver).toEqualTypeOf<TestDriver>()
      // @ts-expect-error each instance would have the same id
      await TestDriver.create(topology, { groupInstanceId: 'a' })
      // @ts-expect-error the driver has its own
      await TestDriver.create(topology, { stateDir: './state' })
    })
  })
})
