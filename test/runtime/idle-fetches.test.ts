/** Who has nothing to do asks rarely: once per `fetchMaxWaitMs`, also when partitions are handled one by one. */
import { expect, test } from 'vitest'
import { string, Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'

const strings = { key: string, value: string }

test('an idle application fetches a few times a second, however many partitions its regions have', async () => {
  const topology = new Topology('idle')
  const names = topology.globalRegion('names', { topic: 'customers', ...strings })
  topology
    .stream('in', strings)
    .process('look-up', { regions: [names], value: string }, ({ key }, context) =>
      context.forward(key, context.names.get(key) ?? ''),
    )
    .to('out')
  for (const seed of [1, 2, 3]) {
    let fetches = 0
    await using driver = await TestDriver.create(topology, {
      seed,
      partitions: 5,
      trace: (line) => {
        if (line.includes('> Fetch')) fetches += 1
      },
    })
    // Of the partitions of one region, one has something to be stored, and the others have not.
    await driver.createInputTopic('customers', strings).pipeInput('1', 'Ada')
    fetches = 0
    await driver.advanceWallClockTime(10_000)
    // Of tasks and of the region: two readers, each with a round of 500 ms, and a short one between.
    expect(fetches).toBeLessThanOrEqual(2 * 2 * 21)
  }
})
