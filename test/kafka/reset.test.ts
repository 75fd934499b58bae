/** Resets on real Kafka: what its coordinators and its controller do in their own time must not get between the steps. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  ensureTopics,
  int64,
  kafkaWire,
  memoryDisk,
  type ResetOptions,
  resetApplication,
  silentLogger,
  string,
  systemClock,
  Topology,
  TransactionalProducer,
  type Wire,
} from '../../src/index.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { committedOffsets, listOffsets } from '../../src/kafka/topics.ts'
import { readTopic } from '../../src/runtime/topic-reader.ts'
import { DyingWire } from '../runtime/dying-wire.ts'
import { Instance } from '../runtime/instance.ts'
import { describeOnEachKafka } from '../stack/kafka.ts'

const RECORDS = 20
const PARTITIONS = 2
const strings = { key: string, value: string }
/** What a broker with Kafka's defaults takes. */
const SESSION = { sessionTimeoutMs: 6_000, heartbeatIntervalMs: 500, requestTimeoutMs: 10_000 }

describeOnEachKafka('a reset', ({ brokers }) => {
  let wire: Wire
  let cluster: Cluster
  let count = 0
  const instances: Instance[] = []

  beforeAll(() => {
    wire = kafkaWire({ brokers })
    cluster = new Cluster({ wire, clock: systemClock, log: silentLogger })
  })
  afterAll(async () => {
    for (const instance of instances) await instance.close()
    cluster.close()
  })

  /** An application of its own, whose input holds `RECORDS` records of ten keys, ten seconds apart. */
  const open = async () => {
    const name = `reset-${process.hrtime.bigint().toString(36)}-${count++}`
    const input = `${name}-in`
    const output = `${name}-out`
    const topology = (): Topology => {
      const t = new Topology(name)
      const counts = t.stream(input, strings).groupBy('by-value', (value) => value, { value: string })
      counts.count('n').toStream().to(output)
      return t
    }
    await ensureTopics(wire, [
      { topic: input, partitions: PARTITIONS },
      { topic: output, partitions: PARTITIONS },
    ])
    // A topic made a moment ago may have no leader yet.
    const inputs = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic: input, partition }))
    await listOffsets(cluster, inputs, 'latest')
    const startMs = Date.now() - 3_600_000
    const producer = await TransactionalProducer.open({ wire, transactionalId: `${name}-feeder` })
    const to = await producer.topic(input, strings)
    await producer.transact({ topic: input, partition: 0 }, 0, (transaction) => {
      for (let i = 0; i < RECORDS; i++) {
        transaction.send(to, { key: `${i}`, value: `v${i % 10}`, timestamp: startMs + i * 10_000 })
      }
    })
    producer.close()
    const places = [
      ...inputs,
      ...inputs.map(({ partition }) => ({ topic: `${name}-by-value-repartition`, partition })),
    ]
    const offsets = async () =>
      new Map(
        (await committedOffsets(cluster, name, places)).map(({ topic, partition, offset }) => [
          `${topic}/${partition}`,
          offset,
        ]),
      )
    const start = async (disk = memoryDisk()): Promise<Instance> => {
      const one = new Instance({ wire, topology, disk, ...SESSION })
      instances.push(one)
      await one.start()
      await one.app.untilRunning()
      return one
    }
    const drained = () =>
      expect
        .poll(
          async () => {
            // Of what one sub-topology sent to the next, the markers may come after those of its offsets.
            const ends = await listOffsets(cluster, places, 'latest', 'read_uncommitted')
            const committed = await offsets()
            return [...ends].every(([key, end]) => committed.get(key) === end)
          },
          { timeout: 40_000, interval: 50 },
        )
        .toBe(true)
    const run = async (disk = memoryDisk()): Promise<Instance> => {
      const one = await start(disk)
      await drained()
      await one.close()
      return one
    }
    const reset = (options: Partial<ResetOptions> = {}) =>
      resetApplication(topology(), { wire, ...SESSION, ...options })
    /** The counts of each value, in order. */
    const counted = async () => {
      const found = new Map<string, number[]>()
      for (const { key, value } of await readTopic(wire, output, { key: string, value: int64 })) {
        found.set(key, [...(found.get(key) ?? []), value])
      }
      return [...found.values()]
    }
    /** Markers may come to the output later than the offsets are seen to be committed. */
    const expectCounts = (list: readonly number[]) =>
      expect.poll(counted, { timeout: 10_000 }).toEqual(Array.from({ length: 10 }, () => list))
    return { name, startMs, start, drained, run, reset, expectCounts, offsets }
  }

  test('in full: all begins anew; a directory elsewhere is told apart', { timeout: 120_000 }, async () => {
    const { run, reset, expectCounts, name } = await open()
    const one = await run()
    const before = await cluster.refresh([`${name}-n-changelog`, `${name}-by-value-repartition`])
    const dry = await reset({ dryRun: true })
    expect(await cluster.refresh(before.map(({ topic }) => topic))).toEqual(before)
    const plan = await reset()
    expect(plan).toEqual(dry)
    for (const { topic, topicId } of await cluster.refresh(before.map(({ topic }) => topic))) {
      expect(topicId).not.toBe(before.find((old) => old.topic === topic)?.topicId)
    }
    const two = await run(one.disk)
    expect(two.logged('moved aside')).toBe(true)
    await expectCounts([1, 2, 1, 2])
  })

  test.each([
    ['after the marks', 'DeleteTopics', 'dieBefore'],
    ['after the deletion', 'DeleteTopics', 'dieAfter'],
    ['after the creation', 'CreateTopics', 'dieAfter'],
    ['in the last transaction', 'EndTxn', 'dieBefore'],
  ] as const)(
    'cut off %s: nothing runs until it is run again',
    { timeout: 180_000 },
    async (_, api, mishap) => {
      const { start, run, reset, expectCounts, offsets } = await open()
      const one = await run()
      const changes = [
        'JoinGroup',
        'JoinGroup',
        'SyncGroup',
        'InitProducerId',
        'InitProducerId',
        'AddOffsetsToTxn',
      ]
      const all = [...changes, 'TxnOffsetCommit', 'EndTxn', 'DeleteTopics', 'CreateTopics', 'AddOffsetsToTxn']
      const at = [...all, 'TxnOffsetCommit', 'EndTxn'].lastIndexOf(api)
      const dying = new DyingWire(wire, at, mishap)
      void reset({ wire: dying, stateDirs: [one.disk] }).catch(() => {})
      await dying.happened
      expect(dying.changes.at(-1)).toBe(api)
      one.disk.crash()
      await reset({ dryRun: true, force: true })
      const stopped = await start(one.disk)
      const errors = stopped.app.health.tasks
        .filter(({ task }) => task.startsWith('0_'))
        .map(({ error }) => error?.code)
      expect(errors).toEqual(['RESET_UNFINISHED', 'RESET_UNFINISHED'])
      await stopped.close()
      const plan = await reset({ stateDirs: [one.disk], force: true })
      expect(plan.resumes).toBe(true)
      expect([...(await offsets()).values()]).toEqual([0, 0, 0, 0])
      await run(one.disk)
      await expectCounts([1, 2, 1, 2])
    },
  )

  test('keeping state, from a time on: counts go on from there', { timeout: 120_000 }, async () => {
    const { run, reset, expectCounts, startMs } = await open()
    const one = await run()
    const timestampMs = startMs + (RECORDS / 2) * 10_000
    await reset({ keepState: true, to: { timestampMs } })
    await run(one.disk)
    // The later half comes again.
    await expectCounts([1, 2, 3])
  })

  test('instances that run are told; one that was killed is put out by force', {
    timeout: 180_000,
  }, async () => {
    const { name, start, drained, reset, run, expectCounts } = await open()
    const one = await start()
    await drained()
    await expect(reset()).rejects.toMatchObject({ code: 'GROUP_ACTIVE' })
    await expect(reset()).rejects.toThrow(new RegExp(`Application '${name}' has running instances: .* at /`))
    one.crash()
    const plan = await reset({ force: true, stateDirs: [one.disk] })
    expect(plan.members).toHaveLength(1)
    await run(one.disk)
    await expectCounts([1, 2, 1, 2])
  })
})
