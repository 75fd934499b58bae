/**
 * Tests that need a Kafka cluster of their own: more than one node, other settings, nodes that die.
 *
 *     describeOnClusters('a dead leader', (startCluster) => {
 *       test('…', async () => {
 *         await using cluster = await startCluster({ nodes: 3 })
 *         await cluster.kill(1)
 *       })
 *     })
 *
 * Needs Docker, or a JDK (17 or later) and Maven; KAFKA_BROKERS is of no use here. A cluster that a test leaves open
 * goes with the run.
 */
import { describeOn } from './describe-on.ts'
import { ask, type ClusterSpec, KAFKA_VERSION } from './requests.ts'

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

const available = await ask('clusters', { version: KAFKA_VERSION })

export function describeOnClusters(
  title: string,
  body: (startCluster: StartCluster) => void | Promise<void>,
): void {
  describeOn(title, available, () => body(startCluster))
}

async function startCluster(spec: Partial<ClusterSpec> = {}): Promise<RunningCluster> {
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
