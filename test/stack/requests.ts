/** What test files ask of the keeper (keeper/main.ts), and how: JSON over HTTP, on a socket that only this user has. */
import { inject } from 'vitest'
import { askKeeper } from './keeper-process.ts'

export interface ClusterSpec {
  readonly nodes: number
  readonly version: string
  /** Of every node, over those of the fixture (keeper/settings.ts). */
  readonly configs: Readonly<Record<string, string>>
}

/** What there is, or why there is none. */
export type Found<T> = { readonly found: T } | { readonly missing: string }

export interface Requests {
  /** The broker that all test files of this run share. */
  kafka: { readonly request: { readonly version: string }; readonly answer: Found<{ brokers: string[] }> }
  /** The schema registry that all test files of this run share. */
  registry: { readonly request: object; readonly answer: Found<{ url: string }> }
  /** Whether clusters of this version can be started. */
  clusters: { readonly request: { readonly version: string }; readonly answer: Found<object> }
  openCluster: { readonly request: ClusterSpec; readonly answer: { cluster: number; brokers: string[] } }
  closeCluster: { readonly request: { readonly cluster: number }; readonly answer: object }
  node: {
    readonly request: {
      readonly cluster: number
      readonly node: number
      readonly act: 'kill' | 'stop' | 'start'
    }
    readonly answer: object
  }
}

export type Name = keyof Requests
export type Answer<N extends Name> = Requests[N]['answer']

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the keeper listens. */
    keeper: string
  }
}

export function ask<N extends Name>(name: N, body: Requests[N]['request']): Promise<Answer<N>> {
  return askKeeper(inject('keeper'), name, body)
}
