/** Instances in the test driver: they crash, freeze, come and go, and every record counts once. */
import { describe, expect, test } from 'vitest'
import { type Logger, silentLogger } from '../../src/index.ts'
import { TestDriver, type TestInstance } from '../../src/testing/index.ts'
import { entriesOf, figures, sums } from './topologies.ts'

const SEEDS = [1, 2, 3, 4, 5]
const tasksOf = ({ health }: TestInstance): string[] => health.tasks.map(({ task }) => task).sort()
const KEYS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']

/** The messages of a logger that an application was given. */
function journal(): { logger: Logger; lines: string[] } {
  const lines: string[] = []
  const info = (_: object, message: string): void => void lines.push(message)
  return { logger: { ...silentLogger, debug: info, info }, lines }
}

describe('an instance that crashes', () => {
  test.each(SEEDS)('before a commit processes its records again, once in effect (seed %i)', async (seed) => {
    const seen: number[] = []
    const { topology, totals } = sums((value) => seen.push(value))
    await using driver = await TestDriver.create(topology, { seed })
    const [app] = driver.instances
    const numbers = driver.createInputTopic('numbers', figures)
    const out = driver.createOutputTopic('sums', figures)
    await numbers.pipeInput('a', 1)
    app.crash({ at: 'beforeCommit' })
    expect(app.state).toBe('running')
    await numbers.pipeInput('a', 2)
    expect(app.state).toBe('stopped')
    expect(await out.readValuesToList()).toEqual([1])
    expect(await driver.region(totals).get('a')).toBe(1)
    await app.restart()
    expect(app.state).toBe('running')
    expect(await out.readValuesToList()).toEqual([3])
    expect(await driver.region(totals).get('a')).toBe(3)
    expect(seen).toEqual([1, 2, 2])
  })

  test.each(SEEDS)('after a commit goes on behind it (seed %i)', async (seed) => {
    const seen: number[] = []
    const { topology, totals } = sums((value) => seen.push(value))
    await using driver = await TestDriver.create(topology, { seed })
    const [app] = driver.instances
    const numbers = driver.createInputTopic('numbers', figures)
    await numbers.pipeInput('a', 1)
    app.crash({ at: 'afterCommit' })
    await numbers.pipeInput('a', 2)
    expect(app.state).toBe('stopped')
    await app.restart()
    await numbers.pipeInput('a', 4)
    expect(await driver.createOutputTopic('sums', figures).readValuesToList()).toEqual([1, 3, 7])
    expect(await driver.region(totals).get('a')).toBe(7)
    expect(seen).toEqual([1, 2, 4])
  })

  test('before a commit, under at-least-once, has effects twice', async () => {
    const { topology, totals } = sums()
    await using driver = await TestDriver.create(topology, { processingGuarantee: 'at_least_once' })
    const [app] = driver.instances
    const numbers = driver.createInputTopic('numbers', figures)
    await numbers.pipeInput('a', 1)
    app.crash({ at: 'beforeCommit' })
    await numbers.pipeInput('a', 2)
    await app.restart()
    expect(await driver.createOutputTopic('sums', figures).readValuesToList()).toEqual([1, 3, 5])
    app.crash({ at: 'afterCommit' })
    await numbers.pipeInput('a', 4)
    expect(app.state).toBe('stopped')
    await app.restart()
    expect(await driver.region(totals).get('a')).toBe(9)
  })

  test('at once has committed what was piped, and what comes meanwhile waits', async () => {
    const { topology } = sums()
    await using driver = await TestDriver.create(topology)
    const [app] = driver.instances
    const numbers = driver.createInputTopic('numbers', figures)
    const out = driver.createOutputTopic('sums', figures)
    await numbers.pipeInput('a', 1)
    app.crash()
    expect(app.state).toBe('stopped')
    await numbers.pipeInput('a', 2)
    expect(await out.readValuesToList()).toEqual([1])
    await app.restart()
    expect(await out.readValuesToList()).toEqual([3])
  })

  test('in the middle of a record has none of its effects', async () => {
    let driver: TestDriver | undefined
    const { topology } = sums((value) => {
      if (value === 2 && driver?.instances[0].state === 'running' && lives++ === 0)
        driver.instances[0].crash()
    })
    let lives = 0
    driver = await TestDriver.create(topology)
    const numbers = driver.createInputTopic('numbers', figures)
    await numbers.pipeKeyValueList([
      ['a', 1],
      ['a', 2],
      ['a', 3],
    ])
    expect(driver.instances[0].state).toBe('stopped')
    const out = driver.createOutputTopic('sums', figures)
    expect(await out.isEmpty()).toBe(true)
    await driver.instances[0].restart()
    expect(await out.readValuesToList()).toEqual([1, 3, 6])
    await driver.close()
  })

  test('leaves what its operators keep in variables behind, when the topology is a function', async () => {
    const topologyOf = () => {
      let count = 0
      return sums(() => {
        count += 1
        counts.push(count)
      }).topology
    }
    let counts: number[] = []
    const topology = topologyOf()
    for (const [given, expected] of [
      [topologyOf, [1, 1]],
      [topology, [1, 2]],
    ] as const) {
      counts = []
      await using driver = await TestDriver.create(given)
      const numbers = driver.createInputTopic('numbers', figures)
      await numbers.pipeInput('a', 1)
      driver.instances[0].crash()
      await driver.instances[0].restart()
      await numbers.pipeInput('a', 1)
      expect(counts).toEqual(expected)
    }
  })

  test.each(['same', 'empty'] as const)('restarts on the %s directory', async (directory) => {
    const { logger, lines } = journal()
    const { topology, totals } = sums()
    await using driver = await TestDriver.create(topology, { logger })
    const [app] = driver.instances
    const numbers = driver.createInputTopic('numbers', figures)
    await numbers.pipeInput('a', 1)
    app.crash()
    lines.length = 0
    await app.restart({ emptyDirectory: directory === 'empty' })
    const replayed = lines.filter((line) => line.includes('state replayed'))
    expect(replayed).toHaveLength(directory === 'empty' ? 1 : 0)
    await numbers.pipeInput('a', 2)
    expect(await driver.createOutputTopic('sums', figures).readValuesToList()).toEqual([1, 3])
    expect(await driver.region(totals).get('a')).toBe(3)
  })
})

describe('several instances', () => {
  test('share the tasks, and give them on when one crashes or is closed', async () => {
    const { topology, totals } = sums()
    await using driver = await TestDriver.create(topology, { instances: 2, partitions: 4 })
    const [first, second] = driver.instances as readonly [TestInstance, TestInstance]
    expect(tasksOf(first)).toHaveLength(2)
    expect([...tasksOf(first), ...tasksOf(second)].sort()).toEqual(['0_0', '0_1', '0_2', '0_3'])
    const numbers = driver.createInputTopic('numbers', figures)
    const everyKey = () => numbers.pipeKeyValueList(KEYS.map((key) => [key, 1]))
    await everyKey()

    const crashedMs = driver.nowMs
    second.crash()
    await everyKey()
    expect(driver.nowMs - crashedMs).toBeGreaterThan(30_000)
    expect(tasksOf(first)).toHaveLength(4)
    expect(await entriesOf(driver.region(totals).range())).toEqual(KEYS.map((key) => [key, 2]))

    await second.restart()
    expect(tasksOf(second)).toHaveLength(2)
    const third = await driver.addInstance()
    expect(driver.instances.map(({ name }) => name)).toEqual(['instance-0', 'instance-1', 'instance-2'])
    expect(driver.instances[2]).toBe(third)
    expect(tasksOf(third).length).toBeGreaterThan(0)
    await everyKey()

    const closedMs = driver.nowMs
    await first.close()
    expect(first.state).toBe('stopped')
    expect(driver.nowMs - closedMs).toBeLessThan(30_000)
    expect([...tasksOf(second), ...tasksOf(third)].sort()).toEqual(['0_0', '0_1', '0_2', '0_3'])
    await everyKey()
    expect(await entriesOf(driver.region(totals).range())).toEqual(KEYS.map((key) => [key, 4]))
    const sumsOf = await driver.createOutputTopic('sums', figures).readKeyValuesToList()
    expect(sumsOf.filter(([key]) => key === 'c').map(([, value]) => value)).toEqual([1, 2, 3, 4])
  })

  test('stop when they are told to in the end, though one of them stands', async () => {
    const { topology } = sums()
    const driver = await TestDriver.create(topology, { instances: 3, partitions: 3 })
    driver.instances[1]?.freeze()
    driver.instances[2]?.crash()
    await driver.close()
    expect(driver.instances.map(({ state }) => state)).toEqual(['stopped', 'stopped', 'stopped'])
    const [first, frozen] = driver.instances
    expect([first.health.state, frozen?.health.state]).toEqual(['NOT_RUNNING', 'NOT_RUNNING'])
  })
})

describe('an instance that freezes', () => {
  test.each(SEEDS)(
    'beyond its session loses its tasks, and what it had done is void (seed %i)',
    async (seed) => {
      const seen: string[] = []
      let frozen: TestInstance | undefined
      const { topology, totals } = sums((value) => {
        seen.push(`${value}`)
        // In the middle of a record that whoever has the task by then processes again.
        if (value === 2 && frozen === undefined) {
          frozen = driver.instances.find(({ health }) => health.tasks.some(({ task }) => task === '0_0'))
          frozen?.freeze()
        }
      })
      await using driver = await TestDriver.create(topology, { seed, instances: 2, partitions: 2 })
      const numbers = driver.createInputTopic('numbers', figures)
      const out = driver.createOutputTopic('sums', figures)
      await numbers.pipeInput('a', 1, { partition: 0 })
      await numbers.pipeInput('a', 2, { partition: 0 })
      expect(frozen?.state).toBe('frozen')
      expect(seen).toEqual(['1', '2', '2'])
      expect(await out.readValuesToList()).toEqual([1, 3])
      frozen?.thaw()
      expect(frozen?.state).toBe('running')
      await numbers.pipeInput('a', 4, { partition: 0 })
      expect(await out.readValuesToList()).toEqual([7])
      expect(await driver.region(totals).get('a')).toBe(7)
      expect(driver.instances.map((instance) => tasksOf(instance).length)).toEqual([1, 1])
    },
  )

  test('in the middle of a commit holds its sink until the transaction is over: a read waits for that', async () => {
    let isArmed = false
    const { topology } = sums()
    const driver = await TestDriver.create(topology, {
      instances: 2,
      sessionTimeoutMs: 6_000,
      heartbeatIntervalMs: 1_000,
      transactionTimeoutMs: 60_000,
      trace: (line) => {
        const at = /(instance-.) .* Produce = .*sums\/0/.exec(line)
        if (!isArmed || at === null) return
        isArmed = false
        driver.instances.find(({ name }) => name === at[1])?.freeze()
      },
    })
    const numbers = driver.createInputTopic('numbers', figures)
    await numbers.pipeInput('a', 1)
    isArmed = true
    const beforeMs = driver.nowMs
    await numbers.pipeInput('a', 2)
    expect(driver.instances.map(({ state }) => state).toSorted()).toEqual(['frozen', 'running'])
    expect(driver.nowMs - beforeMs).toBeGreaterThan(59_000)
    expect(await driver.createOutputTopic('sums', figures).readValuesToList()).toEqual([1, 3])
    await driver.close()
  })

  test('and has not noticed that others have its tasks is waited for until it does', async () => {
    const { topology } = sums()
    await using driver = await TestDriver.create(topology, { instances: 2, partitions: 2 })
    const [first] = driver.instances
    first.freeze()
    await driver.advanceWallClockTime(120_000)
    first.thaw()
    await driver.untilIdle()
    expect(driver.instances.flatMap(tasksOf).toSorted()).toEqual(['0_0', '0_1'])
  })

  test('for a shorter time keeps them', async () => {
    const { topology } = sums()
    await using driver = await TestDriver.create(topology, { instances: 2, partitions: 2 })
    const [first] = driver.instances
    const before = tasksOf(first)
    const numbers = driver.createInputTopic('numbers', { ...figures, waitForIdle: false })
    first.freeze()
    await numbers.pipeInput('a', 1, { partition: 0 })
    await numbers.pipeInput('a', 1, { partition: 1 })
    await driver.advanceWallClockTime(20_000)
    first.thaw()
    expect(await driver.createOutputTopic('sums', figures).readValuesToList()).toEqual([1, 1])
    expect(tasksOf(first)).toEqual(before)
  })

  test('alone is waited for by nobody', async () => {
    const { topology } = sums()
    await using driver = await TestDriver.create(topology)
    const [app] = driver.instances
    app.freeze()
    const numbers = driver.createInputTopic('numbers', figures)
    const beforeMs = driver.nowMs
    await numbers.pipeInput('a', 1)
    const out = driver.createOutputTopic('sums', figures)
    expect(await out.isEmpty()).toBe(true)
    expect(driver.nowMs - beforeMs).toBeLessThan(1_000)
    app.thaw()
    expect(await out.readValue()).toBe(1)
  })
})
