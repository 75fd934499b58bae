/** A node's server.properties, apart from its listeners. */
import { randomBytes } from 'node:crypto'
import type { ClusterSpec } from '../requests.ts'

/** Those of Kafka where they change no behaviour that a test could see, or it sees it sooner. */
export function settingsOf(spec: ClusterSpec, node: number): Record<string, string> {
  const replicas = String(Math.min(3, spec.nodes))
  const inSync = spec.nodes > 1 ? '2' : '1'
  return {
    'process.roles': 'broker,controller',
    'node.id': String(node),
    'controller.listener.names': 'CONTROLLER',
    'default.replication.factor': replicas,
    'min.insync.replicas': inSync,
    'offsets.topic.replication.factor': replicas,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.num.partitions': '4',
    // Waits that are there for large installations.
    'group.initial.rebalance.delay.ms': '0',
    'log.cleaner.backoff.ms': '100',
    // The cleaner's buffer is the one thing for which a broker needs a large heap.
    'log.cleaner.dedupe.buffer.size': String(4 * 1024 * 1024),
    ...spec.configs,
  }
}

export const HEAP = '-Xmx384m'

/** As Kafka writes ids; none begins with a dash, which would pass for an option. */
export function newClusterId(): string {
  return `d${randomBytes(16).toString('base64url').slice(1)}`
}
