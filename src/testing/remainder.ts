/** What an application still has to do: nothing, when all that its topics hold is processed, committed and visible. */
import type { Cluster } from '../kafka/cluster.ts'
import { partitionKey } from '../kafka/partition-key.ts'
import { committedOffsets, describeTopics, listOffsets } from '../kafka/topics.ts'
import { storedPosition } from '../runtime/global-regions.ts'
import { externalTopics, inputsOf, makePlan, type Plan, type TaskId, taskName } from '../runtime/plan.ts'
import type { Graph } from '../topology/graph.ts'
import { internalTopicNames } from '../topology/internal-topics.ts'
import type { TopicPartition } from '../types.ts'
import type { InstanceLife } from './instance-life.ts'

export class Remainder {
  readonly #cluster: Cluster
  readonly #graph: Graph
  #plan: Plan | undefined

  constructor(cluster: Cluster, graph: Graph) {
    this.#cluster = cluster
    this.#graph = graph
  }

  /** For people; empty when nothing is left. `produced`: where instances have written to. Tasks that have failed are passed over. */
  async look(up: readonly InstanceLife[], produced: readonly TopicPartition[]): Promise<readonly string[]> {
    const unsettled = up.flatMap(({ name, app, unanswered }) => {
      if (app.state !== 'RUNNING') return [`${name} is ${app.state}`]
      return unanswered > 0 ? [`${name} waits for Kafka or its disk`] : []
    })
    if (unsettled.length > 0) return unsettled
    this.#plan ??= await this.#makePlan()
    const tasks = this.#tasks(this.#plan, up)
    if (tasks.left.length > 0) return tasks.left
    const left = [
      ...(await this.#inputs(this.#plan, tasks.running)),
      ...(await this.#outputs(produced)),
      ...(await this.#globals(this.#plan, up)),
    ]
    return left.length === 0 ? left : [...left, ...waits(up)]
  }

  async #makePlan(): Promise<Plan> {
    const topics = [...externalTopics(this.#graph), ...internalTopicNames(this.#graph)]
    return makePlan(this.#graph, await describeTopics(this.#cluster, topics), { replicationFactor: -1 })
  }

  /** Each runs in one place, once everybody knows who has it. */
  #tasks(plan: Plan, up: readonly InstanceLife[]): { running: TaskId[]; left: string[] } {
    const running: TaskId[] = []
    const left: string[] = []
    const health = up.flatMap(({ app }) => app.health.tasks)
    for (const sub of plan.subs) {
      for (let partition = 0; partition < (plan.taskCounts[sub.id] as number); partition++) {
        const name = taskName({ sub, partition })
        const found = health.filter(({ task }) => task === name)
        const [first] = found
        if (found.length !== 1 || first === undefined) left.push(`task ${name} is in ${found.length} places`)
        else if (first.status === 'running') running.push({ sub, partition })
        else if (first.status !== 'failed') left.push(`task ${name} is ${first.status}`)
      }
    }
    return { running, left: left.length === 0 ? left : [...left, ...waits(up)] }
  }

  async #inputs(plan: Plan, running: readonly TaskId[]): Promise<string[]> {
    const inputs = running.flatMap((task) => inputsOf(plan, task))
    const ends = await listOffsets(this.#cluster, inputs, 'latest', 'read_uncommitted')
    const committed = await committedOffsets(this.#cluster, this.#graph.application, inputs)
    return committed.flatMap(({ offset, ...at }) => {
      const end = ends.get(partitionKey(at))
      return offset === end ? [] : [`${partitionKey(at)} is committed up to ${offset ?? 'nothing'} of ${end}`]
    })
  }

  /** The end of a transaction is decided before it is visible. */
  async #outputs(produced: readonly TopicPartition[]): Promise<string[]> {
    const [ends, visible] = await Promise.all([
      listOffsets(this.#cluster, produced, 'latest', 'read_uncommitted'),
      listOffsets(this.#cluster, produced, 'latest', 'read_committed'),
    ])
    return Array.from(ends).flatMap(([key, end]) => {
      const stable = visible.get(key)
      return stable === end ? [] : [`${key} is visible up to ${stable} of ${end}`]
    })
  }

  async #globals(plan: Plan, up: readonly InstanceLife[]): Promise<string[]> {
    const left: string[] = []
    for (const region of this.#graph.globals.values()) {
      const { topic } = region
      const count = plan.partitions.get(topic) as number
      const partitions = Array.from({ length: count }, (_, partition) => ({ topic, partition }))
      const ends = await listOffsets(this.#cluster, partitions, 'latest')
      for (const { name, processStore } of up) {
        for (const at of partitions) {
          const end = ends.get(partitionKey(at)) as number
          const position = (processStore && storedPosition(processStore, region, at.partition)) ?? 0
          if (position < end) left.push(`${name} has loaded ${partitionKey(at)} up to ${position} of ${end}`)
        }
      }
    }
    return left
  }
}

function waits(up: readonly InstanceLife[]): string[] {
  return up.flatMap(({ app }) =>
    app.health.tasks.flatMap(({ task, waitingFor }) =>
      waitingFor === undefined ? [] : [`task ${task} waits for: ${waitingFor.message}`],
    ),
  )
}
