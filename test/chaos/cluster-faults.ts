/** Brokers that die and come back, leaders and coordinators that move, a registry that is away. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { wait } from './process-faults.ts'
import type { Fault, Stage } from './stage.ts'

const MOVE_LIMIT_MS = 15_000
/** So many partitions are moved at once. */
const MOVES = 6
const INTERNAL = ['__consumer_offsets', '__transaction_state']

export const broker: Fault = async (stage, random) => {
  const { cluster } = stage
  const node = random.between(1, cluster.brokers.length)
  const how = random.chance(0.7) ? 'kill' : 'stop'
  await cluster[how](node)
  stage.happened('broker', how === 'kill' ? 'SIGKILL' : 'SIGTERM')
  await wait(stage, random.between(0, 4_000))
  await cluster.start(node)
}

/** Coordinators first: those of groups and of transactions lead the partitions of two internal topics. */
export const moves: Fault = async (stage, random) => {
  const what = random.pick(['of topics', 'of coordinators'])
  await onAdmin(stage, async (admin) => {
    const { topics } = await admin.fetchTopicMetadata()
    const all = topics
      .filter(({ name }) => INTERNAL.includes(name) === (what === 'of coordinators'))
      .flatMap(({ name, partitions }) =>
        partitions.map(({ partitionId, leader, replicas }) => ({
          topic: name,
          partition: partitionId,
          leader,
          replicas,
        })),
      )
      .filter(({ replicas }) => replicas.length > 1)
    // At the very beginning nobody has asked for a coordinator yet, and their topics are not there.
    if (all.length === 0) {
      stage.missed('moves', what)
      return wait(stage, 1_000)
    }
    const chosen = Array.from({ length: MOVES }, () => random.pick(all))
    const wanted = new Map(
      chosen.map((at) => {
        const others = at.replicas.filter((replica) => replica !== at.leader)
        const first = random.pick(others)
        const replicas = [first, ...at.replicas.filter((replica) => replica !== first)]
        return [`${at.topic}/${at.partition}`, { ...at, first, replicas }]
      }),
    )
    const byTopic = Map.groupBy(wanted.values(), ({ topic }) => topic)
    await admin.alterPartitionReassignments({
      topics: Array.from(byTopic, ([topic, list]) => ({
        topic,
        partitionAssignment: list.map(({ partition, replicas }) => ({ partition, replicas })),
      })),
    })
    let moved = 0
    const deadline = performance.now() + MOVE_LIMIT_MS
    while (wanted.size > 0 && performance.now() < deadline && !stage.signal.aborted) {
      const names = [...new Set(Array.from(wanted.values(), ({ topic }) => topic))]
      const now = await admin.fetchTopicMetadata({ topics: names })
      for (const { name, partitions } of now.topics) {
        for (const { partitionId, leader } of partitions) {
          const key = `${name}/${partitionId}`
          if (wanted.get(key)?.first !== leader) continue
          wanted.delete(key)
          moved += 1
        }
      }
      await sleep(200)
    }
    for (let i = 0; i < moved; i++) stage.happened('moves', what)
  })
}

async function onAdmin(stage: Stage, act: (admin: Admin) => Promise<void>): Promise<void> {
  const admin = new Kafka({
    brokers: [...stage.cluster.brokers],
    logLevel: logLevel.NOTHING,
    retry: { retries: 8 },
  }).admin()
  try {
    await admin.connect()
    await act(admin)
  } finally {
    await admin.disconnect()
  }
}

export const registry: Fault = async (stage, random) => {
  const server = stage.registry
  const kind = random.pick(['away', 'hang', 'reset', '500'] as const)
  if (kind === 'away') await server.stop()
  else server.fault = () => (kind === '500' ? { status: 500 } : kind)
  stage.happened('registry', kind)
  // Whoever starts now has nobody to ask but its own directory.
  if (random.chance(0.5)) await random.pick(stage.places).kill()
  await wait(stage, random.between(1_000, 6_000))
  server.fault = () => undefined
  if (kind === 'away') await server.start()
}
