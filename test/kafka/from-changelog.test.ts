/** The events of another application's region on a real Kafka, whose writers are killed in the middle of commits. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  ensureTopics,
  json,
  kafkaWire,
  memoryDisk,
  readTopic,
  string,
  Topology,
  TransactionalProducer,
  type Wire,
} from '../../src/index.ts'
import { Instance } from '../runtime/instance.ts'
import { describeOnEachKafka } from '../stack/kafka.ts'

describeOnEachKafka('entry events', ({ brokers }) => {
  const id = `events-${randomBytes(4).toString('hex')}`
  const [input, output, owner, follower] = [`${id}-in`, `${id}-out`, `${id}-owner`, `${id}-follower`]
  const strings = { key: string, value: string }
  const told = { key: string, value: json<readonly (string | null)[]>() }
  const COUNT = 24
  const instances: Instance[] = []
  let wire: Wire

  beforeAll(async () => {
    wire = kafkaWire({ brokers })
    await ensureTopics(wire, [
      { topic: input, partitions: 2 },
      { topic: output, partitions: 2 },
    ])
  })
  afterAll(async () => {
    for (const instance of instances) await instance.close()
  })

  /** `run`: who writes is told by the value, so that what was aborted can be told from what was not. */
  const owning = (run: number) => (): Topology => {
    const t = new Topology(owner)
    t.stream(input, strings)
      .mapValues((value) => (value === 'gone' ? null : `${value}/${run}`))
      .toRegion(t.region('entries', strings))
    return t
  }
  const following = (): Topology => {
    const t = new Topology(follower)
    t.fromRegion({ application: owner, region: 'entries', ...strings })
      .mapValues(({ type, newValue, oldValue }) => [type, newValue, oldValue] as const)
      .to(output, { value: json() })
    return t
  }

  async function start(topology: () => Topology, disk = memoryDisk()): Promise<Instance> {
    // A static member is followed by its successor at once.
    const { application: groupInstanceId } = topology()
    const instance = new Instance({
      wire,
      topology,
      disk,
      commitIntervalMs: 20,
      groupInstanceId,
      sessionTimeoutMs: 10_000,
      heartbeatIntervalMs: 500,
      requestTimeoutMs: 10_000,
    })
    instances.push(instance)
    await instance.start()
    await instance.app.untilRunning()
    return instance
  }

  test('are those of committed changes, each once, whoever is killed', async () => {
    const producer = await TransactionalProducer.open({ wire, transactionalId: `${id}-feeder` })
    const target = await producer.topic(input, strings)
    const disks = [memoryDisk(), memoryDisk()]
    let own = await start(owning(0), disks[0])
    let follow = await start(following, disks[1])
    let run = 0
    const committed = async () => (await readTopic(wire, `${owner}-entries-changelog`, strings)).length
    for (let n = 0; n < COUNT; n++) {
      if (n % 6 === 2) own.fates = ({ api }) => (api === 'EndTxn' ? 'crashBefore' : 'pass')
      if (n % 6 === 4) follow.fates = ({ api }) => (api === 'EndTxn' ? 'crashBefore' : 'pass')
      await producer.transact({ topic: input, partition: 0 }, n + 1, (transaction) => {
        transaction.send(target, { key: `k${n % 5}`, value: n % 7 === 6 ? 'gone' : `${n}` })
      })
      if (n % 6 === 2) {
        await own.fell
        run += 1
        own = await start(owning(run), disks[0])
      }
      await expect.poll(committed).toBeGreaterThan(n)
      if (n % 6 === 4) {
        await follow.fell
        follow = await start(following, disks[1])
      }
    }
    producer.close()
    expect(run).toBe(4)

    // What each event has to be, by the changelog alone, read by nobody's rules but Kafka's.
    const entries = new Map<string, string>()
    const expected = new Map<string, (readonly (string | null)[])[]>()
    for (const { key, value } of await readTopic(wire, `${owner}-entries-changelog`, strings)) {
      const before = entries.get(key) ?? null
      const after = value as string | null
      if (after === null) entries.delete(key)
      else entries.set(key, after)
      if (after === null && before === null) continue
      const type = after === null ? 'destroy' : before === null ? 'create' : 'update'
      expected.set(key, [...(expected.get(key) ?? []), [type, after, before]])
    }
    const events = async () => {
      const found = new Map<string, (readonly (string | null)[])[]>()
      for (const { key, value } of await readTopic(wire, output, told)) {
        found.set(key, [...(found.get(key) ?? []), value])
      }
      return found
    }
    const count = (of: Map<string, unknown[]>) => [...of.values()].flat().length
    await expect.poll(async () => count(await events())).toBe(count(expected))
    expect(await events()).toEqual(expected)
    // A record that was processed twice was committed by the second run alone.
    expect([...expected.values()].flat().filter(([, value]) => /^2\/0$/.test(value ?? ''))).toEqual([])
    expect(expected.get('k2')?.[0]).toEqual(['create', '2/1', null])
  }, 120_000)
})
