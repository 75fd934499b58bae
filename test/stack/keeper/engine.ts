/** What runs brokers and registries: Docker (docker.ts), or Java alone (jars.ts). */
import type { ClusterSpec } from '../requests.ts'

export interface Engine {
  readonly name: string
  /** Fetches what it takes. Throws what stands against it. */
  prepareKafka(version: string): Promise<void>
  /** The nodes of a cluster, none of them started, at addresses that are free now. */
  nodes(spec: ClusterSpec): Promise<Nodes>
  prepareRegistry(): Promise<void>
  /** Resolves when it answers. */
  openRegistry(): Promise<Registry>
}

export interface Nodes {
  readonly nodes: readonly Node[]
  /** Kills what runs and removes all data. */
  remove(): Promise<void>
}

export interface Node {
  /** Host and port, for clients. */
  readonly address: string
  /** Resolves when it answers and sees so many brokers, itself among them. */
  start(brokers: number): Promise<void>
  stop(): Promise<void>
  kill(): Promise<void>
}

export interface Registry {
  readonly url: string
  remove(): Promise<void>
}
