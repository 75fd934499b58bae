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
import { KAFKA_VERSION } from './kafka-version.ts'
import { ask } from './requests.ts'
import { openCluster, type RunningCluster, type StartCluster } from './running-cluster.ts'

export type { RunningCluster, StartCluster }

const available = await ask('clusters', { version: KAFKA_VERSION })

export function describeOnClusters(
  title: string,
  body: (startCluster: StartCluster) => void | Promise<void>,
): void {
  describeOn(title, available, () => body(startCluster))
}

const startCluster: StartCluster = (spec) => openCluster(ask, spec)
