/** A Kafka cluster of one's own, kept by the keeper. */
import { KAFKA_VERSION } from './kafka-version.ts'
import type { Answer, ClusterSpec, Name, Requests } from './requests.ts'

export interface RunningCluster extends AsyncDisposable {
  /** Of node 1, node 2 and so on. They keep their addresses. */
  readonly brokers: readonly string[]
  /** At once, as kill -9. */
  kill(node: number): Promise<void>
  /** As an operator does: what the node leads goes to others first. */
  stop(node: number): Promise<void>
  /** A killed or stopped node, on what it has on its disk. Resolves when it answers. */
  start(node: number): Promise<void>
  close(): Promise<void>
}

/** Default: one node, Kafka 4.1.0. Topics get a replication factor of 3, or of as many nodes as there are. */
export type StartCluster = (spec?: Partial<ClusterSpec>) => Promise<RunningCluster>

export type Ask = <N extends Name>(name: N, body: Requests[N]['request']) => Promise<Answer<N>>

export async function openCluster(ask: Ask, spec: Partial<ClusterSpec> = {}): Promise<RunningCluster> {
  const { cluster, brokers } = await ask('openCluster', {
    nodes: 1,
    version: KAFKA_VERSION,
    configs: {},
    ...spec,
  })
  const act = (act: 'kill' | 'stop' | 'start') => async (node: number) => {
    await ask('node', { cluster, node, act })
  }
  const close = async () => {
    await ask('closeCluster', { cluster })
  }
  return {
    brokers,
    kill: act('kill'),
    stop: act('stop'),
    start: act('start'),
    close,
    [Symbol.asyncDispose]: close,
  }
}
