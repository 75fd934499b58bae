/** A schema registry over HTTP, with Confluent's paths and codes, that can be stopped, started again and spoilt. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { DruseError } from '../../src/errors.ts'
import type { Registry } from '../../src/ports.ts'
import { memoryRegistry } from './support.ts'

export interface Asked {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** What comes instead of an answer. `hang`: nothing. `drip`: a byte now and then. `reset`: the connection ends. */
export type Fault =
  | 'hang'
  | 'drip'
  | 'reset'
  | 'cut'
  | {
      readonly status: number
      readonly body?: string | Buffer
      readonly headers?: Readonly<Record<string, string>>
    }

export class RegistryServer {
  readonly registry: Registry
  readonly asked: Asked[] = []
  fault: (asked: Asked) => Fault | undefined = () => undefined
  #server: Server | undefined
  #port = 0

  private constructor(registry: Registry) {
    this.registry = registry
  }

  static async open(registry: Registry = memoryRegistry()): Promise<RegistryServer> {
    const server = new RegistryServer(registry)
    await server.start()
    return server
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  paths(): string[] {
    return this.asked.map(({ method, path }) => `${method} ${path}`)
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => void this.#serve(request, response))
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve))
    this.#server = server
    this.#port = (server.address() as AddressInfo).port
  }

  /** Nobody listens at the port until `start`. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { method = '', url: path = '', headers } = request
    const asked = { method, path, headers, body: Buffer.concat(chunks).toString() }
    this.asked.push(asked)
    const fault = this.fault(asked)
    if (fault === 'hang') return
    if (fault === 'reset') {
      response.socket?.destroy()
    } else if (fault === 'cut') {
      response.writeHead(200, { 'content-length': 100 }).write('{"id":')
      setImmediate(() => response.socket?.destroy())
    } else if (fault === 'drip') {
      response.writeHead(200)
      const dripping = setInterval(() => response.write(' '), 5)
      response.on('close', () => clearInterval(dripping))
    } else if (fault !== undefined) {
      response.writeHead(fault.status, fault.headers).end(fault.body ?? '')
    } else {
      const { status, body } = await this.#answer(asked)
      response
        .writeHead(status, { 'content-type': 'application/vnd.schemaregistry.v1+json' })
        .end(JSON.stringify(body))
    }
  }

  async #answer({ method, path, body }: Asked): Promise<{ status: number; body: object }> {
    try {
      const id = /^\/schemas\/ids\/(.+)$/.exec(path)?.[1]
      if (method === 'GET' && id !== undefined) {
        return { status: 200, body: { schema: await this.registry.schemaOf(Number(id)) } }
      }
      const subject = /^\/subjects\/([^/]+)\/versions$/.exec(path)?.[1]
      if (method === 'POST' && subject !== undefined) {
        const { schema } = JSON.parse(body)
        return { status: 200, body: { id: await this.registry.idOf(decodeURIComponent(subject), schema) } }
      }
      return { status: 404, body: { error_code: 404, message: 'HTTP 404 Not Found' } }
    } catch (error) {
      const [status, code] = (error instanceof DruseError && REFUSALS[error.code]) || [500, 50001]
      return { status, body: { error_code: code, message: (error as Error).message } }
    }
  }
}

const REFUSALS: Readonly<Record<string, readonly [status: number, code: number]>> = {
  SCHEMA_UNKNOWN: [404, 40403],
  SCHEMA_REJECTED: [409, 409],
  SCHEMA_INVALID: [422, 42201],
}
