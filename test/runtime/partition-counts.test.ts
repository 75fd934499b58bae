/** Topics have to have as many partitions as those that they meet in a region, and no others. */
import { expect, test } from 'vitest'
import { int64, type Region, type Stream, string, Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { Stage } from './stage.ts'

const strings = { key: string, value: string }
const KEYS = Array.from({ length: 20 }, (_, n) => `key ${n}`)

/** Two counts that have nothing in common but the sub-topology. */
function twoCounts(): Topology {
  const t = new Topology('counts')
  const one = t.stream('one', strings)
  const two = t.stream('two', strings)
  one.groupByKey().count('of-one')
  two.groupByKey().count('of-two')
  one.merge(two).to('all')
  return t
}

test('inputs that meet in no region may have any; entries are found in the parts they are in', async () => {
  const stage = await Stage.open()
  try {
    await stage.topics({ topic: 'one', partitions: 2 }, { topic: 'two', partitions: 5 }, 'all')
    const { app } = await stage.run(twoCounts)
    expect(app.health.tasks.length).toBe(5)
    for (const topic of ['one', 'two']) {
      await stage.say(topic, ...KEYS.map((key) => [key, 'a'] as const))
    }
    for (const name of ['of-one', 'of-two']) {
      const region = app.region(twoCounts().build().regions.get(name) as Region<string, string, number>)
      for (const key of KEYS) await expect.poll(() => region.get(key)).toBe(1)
    }
  } finally {
    await stage.close()
  }
})

test('what is restored from a topic of fewer partitions than its tasks is refused', async () => {
  const t = new Topology('reused')
  const one = t.table('one', { ...strings, reuseSourceTopic: true, name: 'kept' }).toStream()
  one
    .mapValues((value) => value ?? '')
    .merge(t.stream('two', strings))
    .to('all', strings)
  const topics = [
    { topic: 'one', partitions: 2, configs: { 'cleanup.policy': 'compact' } },
    { topic: 'two', partitions: 5 },
  ]
  await expect(TestDriver.create(t, { topics })).rejects.toThrow(
    "Table 'kept' is to be restored from its source topic 'one', which has 2 partitions, but its tasks are 5",
  )
})

test('a repartition topic has as many as those it meets, else as the inputs where it is written', async () => {
  const t = new Topology('counts')
  const many = t.stream('many', strings)
  const few = t.stream('few', strings)
  // Beside `few` alone.
  const names = few.toTable('names')
  many
    .selectKey((value) => value)
    .repartition('by-value', strings)
    .join(names, (value) => value)
    .to('joined', strings)
  many.groupBy('alone', (value) => value).count('values')
  await using driver = await TestDriver.create(t, {
    topics: [
      { topic: 'many', partitions: 4 },
      { topic: 'few', partitions: 2 },
    ],
  })
  await driver.createInputTopic('few', strings).pipeKeyValueList(KEYS.map((key) => [key, 'name']))
  await driver.createInputTopic('many', strings).pipeKeyValueList(KEYS.map((key) => ['x', key]))
  const joined = driver.createOutputTopic('joined', strings)
  expect((await joined.readValuesToList()).sort()).toEqual([...KEYS].sort())
  const tasks = driver.instances[0].health.tasks.map(({ task }) => task)
  const counts = new Map<string, number>()
  for (const task of tasks) {
    const [sub = ''] = task.split('_')
    counts.set(sub, (counts.get(sub) ?? 0) + 1)
  }
  expect([...counts.values()].sort()).toEqual([2, 4, 4])
})

test('groups of repartition topics have as many as the largest of the inputs', async () => {
  const t = new Topology('counts')
  const keyed = (topic: string) => t.stream(topic, strings).groupBy(`by-${topic}`, (value) => value)
  keyed('small')
    .cogroup((sum: number) => sum + 1)
    .cogroup(keyed('large'), (sum: number) => sum + 1)
    .aggregate('together', () => 0, { value: int64 })
  await using driver = await TestDriver.create(t, {
    topics: [
      { topic: 'small', partitions: 2 },
      { topic: 'large', partitions: 3 },
    ],
  })
  expect(driver.instances[0].health.tasks.length).toBe(2 + 3 + 3)
})

test('also those that meet by way of others', async () => {
  const t = new Topology('counts')
  const [one, two] = [t.region('of-one', strings), t.region('of-two', strings)]
  const process = (topic: string, regions: Region<string, string, string>[]) =>
    t
      .stream(topic, strings)
      .repartition(`by-${topic}`)
      .process(`with-${topic}`, { regions }, () => {})
  process('small', [one])
  process('middle', [one, two])
  process('large', [two])
  await using driver = await TestDriver.create(t, { topics: [{ topic: 'large', partitions: 4 }] })
  expect(driver.instances[0].health.tasks.length).toBe(1 + 1 + 4 + 4)
})

test('also those whose inputs are counted later', async () => {
  const t = new Topology('counts')
  const shared = t.region('shared', strings)
  const process = (stream: Stream<string, string>, name: string) =>
    stream.process(name, { regions: [shared] }, () => {})
  process(t.stream('small', strings).repartition('by-small'), 'with-small')
  process(t.stream('large', strings).repartition('first').repartition('second'), 'with-large')
  await using driver = await TestDriver.create(t, { topics: [{ topic: 'large', partitions: 4 }] })
  expect(driver.instances[0].health.tasks.length).toBe(1 + 4 + 4 + 4)
})
