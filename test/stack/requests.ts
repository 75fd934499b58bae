/** What test files ask of the keeper (keeper/main.ts), and how: JSON over HTTP, on a socket that only this user has. */
import { request } from 'node:http'
import { inject } from 'vitest'

/** The Kafka version of whoever does not say which. */
export const KAFKA_VERSION = '4.1.0'

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

/** Takes as long as it takes: images and jars may have to be fetched first. */
export async function ask<N extends Name>(name: N, body: Requests[N]['request']): Promise<Answer<N>> {
  const text = await new Promise<string>((resolve, reject) => {
    const sent = request({ socketPath: inject('keeper'), path: `/${name}`, method: 'POST' }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part) => {
        text += part
      })
      response.on('end', () => resolve(text))
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(JSON.stringify(body))
  })
  const { answer, error } = JSON.parse(text) as { answer?: Answer<N>; error?: string }
  if (answer === undefined) throw new Error(error)
  return answer
}
