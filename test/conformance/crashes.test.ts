/**
 * The same cases while instances crash at every step of a commit, lose their directories and come back: what is committed
 * is what Kafka Streams gave without any of that.
 */
import { describe, expect, test } from 'vitest'
import { Topology } from '../../src/index.ts'
import { TestDriver } from '../../src/testing/index.ts'
import { SeededRandom } from '../../src/testing/seeded-random.ts'
import type { Build } from './build.ts'
import { type Case, type CaseRecord, loadCases } from './case.ts'
import { built } from './coverage.ts'
import { expectedOf } from './expected.ts'
import { inputSerdes, type Outcomes, outcomesOf, topicsOf } from './observe.ts'
import { encoded } from './text.ts'

/** How often an input meets a crash. */
const CRASHES = 0.15

/** The wall clock of a case stands still between its advances; that of the driver does not. */
const isTimed = ({ inputs }: Case): boolean => inputs.some((input) => 'advanceWallClockMs' in input)
/** Its processor keeps a count in a variable, which dies with the process. */
const FORGETFUL = ['processor-cancel']
/** Callbacks see what is processed again. */
const isCommitted = ({ outputs }: Case): boolean =>
  Object.keys(outputs).every((name) => !name.startsWith('@'))

async function runWithCrashes(recorded: Case, build: Build): Promise<Outcomes> {
  const topology = (): Topology => {
    const t = new Topology(recorded.topology)
    build(t, () => {})
    return t
  }
  const graph = topology().build()
  const random = new SeededRandom(recorded.seed + 1)
  await using driver = await TestDriver.create(topology, {
    seed: recorded.seed + 1,
    instances: 2,
    topics: topicsOf(graph, recorded).map((topic) => ({ topic })),
  })
  const inputs = new Map(
    Array.from(inputSerdes(graph), ([topic, serdes]) => [
      topic,
      { input: driver.createInputTopic(topic, serdes), serdes },
    ]),
  )
  const feed = async ({ topic, key, value, ts, headers = [] }: CaseRecord): Promise<void> => {
    const at = inputs.get(topic)
    if (at === undefined) throw new Error(`the topology reads no topic ${topic}`)
    await at.input.pipeInput(encoded(at.serdes.key, key), encoded(at.serdes.value, value), {
      timestamp: ts,
      headers: headers.map(([name, text]) => ({ key: name, value: Buffer.from(text) })),
    })
  }
  for (const input of recorded.inputs) {
    const instance = driver.instances[random.below(driver.instances.length)] ?? driver.instances[0]
    const crashes = random.next() < CRASHES
    if (crashes)
      instance.crash({ at: (['now', 'beforeCommit', 'afterCommit'] as const)[random.below(3)] as 'now' })
    await feed(input as CaseRecord)
    if (crashes) await instance.restart({ emptyDirectory: random.next() < 0.3 })
  }
  return await outcomesOf(graph, recorded, {
    records: (topic, serdes) => driver.createOutputTopic(topic, serdes).readRecordsToList(),
    entries: (region) => driver.region(region).range(),
    seen: {},
  })
}

describe('recorded cases with crashes', () => {
  const cases = loadCases().filter(
    (recorded) => !isTimed(recorded) && isCommitted(recorded) && !FORGETFUL.includes(recorded.topology),
  )
  for (const recorded of cases) {
    const { topology, seed } = recorded
    const build = built[topology]
    if (build === undefined) continue
    test(`${topology}, seed ${seed}`, async () => {
      const { outputs, stores } = await runWithCrashes(recorded, build)
      const expected = expectedOf(recorded)
      expect(stores).toEqual(expected.stores)
      expect(outputs).toEqual(expected.outputs)
    })
  }
})
