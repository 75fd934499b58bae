/**
 * The REST interface of Confluent's schema registry: paths, headers and bodies are @kafkajs/confluent-schema-registry's,
 * the exchange is our own. The only file that imports the package.
 *
 * It is the package's request builder that is used, not its `register` and `getSchema`: these change a subject's
 * compatibility setting, refuse subjects with any other setting, and keep no schema's text. Its transport shows a lost
 * connection as status 400, knows no deadline and no largest answer, and ends the process on an error whose body is
 * `null`.
 */
import http from 'node:http'
import https from 'node:https'
import type { ConnectionOptions } from 'node:tls'
import type { Clock } from '../ports.ts'

export interface ConfluentClientOptions {
  /** Without credentials. */
  readonly url: string
  readonly auth: { readonly username: string; readonly password: string } | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly ssl: ConnectionOptions
  readonly timeoutMs: number
  readonly clock: Clock
}

/** `body`: parsed, or undefined when it is no JSON. */
export type Answer =
  | { readonly ok: true; readonly status: number; readonly body: unknown }
  | { readonly ok: false; readonly reason: string }

/** Never rejects; what the network does is in the answer. */
export interface ConfluentClient {
  schema(id: number): Promise<Answer>
  /** Of a subject: what another schema refers to. */
  version(subject: string, version: number): Promise<Answer>
  register(subject: string, schema: string): Promise<Answer>
  lookUp(subject: string, schema: string): Promise<Answer>
}

const ANSWER_BYTES_MAX = 16 * 1024 * 1024

/** As the package's middleware sees a request: what is used of it. */
interface Built {
  url(): string
  method(): string
  headers(): Record<string, string>
  body(): unknown
  auth(): { readonly username?: string; readonly password?: string } | undefined
}

/** What the transport gives is what the builder's methods resolve to. */
type Builder = Record<string, Record<string, (parameters: object) => Promise<Answer>>>

export function confluentClient(options: ConfluentClientOptions): ConfluentClient {
  let building: Promise<Builder> | undefined
  const send = async (resource: string, method: string, parameters: object): Promise<Answer> => {
    building ??= builder(options)
    return (await building)[resource]?.[method]?.(parameters) as Promise<Answer>
  }
  return {
    schema: (id) => send('Schema', 'find', { id }),
    version: (subject, version) => send('Subject', 'version', { subject, version }),
    register: (subject, schema) => send('Subject', 'register', { subject, body: { schema } }),
    lookUp: (subject, schema) => send('Subject', 'registered', { subject, body: { schema } }),
  }
}

/** Loaded when it is needed: it brings Protobuf and JSON Schema along. */
async function builder(options: ConfluentClientOptions): Promise<Builder> {
  const { SchemaRegistry } = await import('@kafkajs/confluent-schema-registry')
  type Middleware = NonNullable<ConstructorParameters<typeof SchemaRegistry>[0]['middlewares']>[number]
  // The outermost of all: the package's own transport behind it is never reached.
  const transport = () => ({
    response: (_next: unknown, _renew: unknown, request: unknown) => exchange(request as Built, options),
  })
  const registry = new SchemaRegistry({
    host: options.url,
    ...(options.auth && { auth: { ...options.auth } }),
    middlewares: [transport as unknown as Middleware],
  })
  return (registry as unknown as { readonly api: Builder }).api
}

function exchange(built: Built, { headers, ssl, timeoutMs, clock }: ConfluentClientOptions): Promise<Answer> {
  return new Promise((resolve) => {
    const url = new URL(built.url())
    const auth = built.auth()
    const body = built.body()
    const request = (url.protocol === 'https:' ? https : http).request(url, {
      ...ssl,
      method: built.method().toUpperCase(),
      headers: {
        Accept: 'application/vnd.schemaregistry.v1+json, application/json',
        ...built.headers(),
        ...headers,
      },
      ...(auth && { auth: `${auth.username}:${auth.password}` }),
    })
    const end = (answer: Answer): void => {
      cancel()
      resolve(answer)
    }
    const fail = (reason: string): void => {
      end({ ok: false, reason })
      request.destroy()
    }
    // Of the whole exchange: an answer that drips is no answer.
    const cancel = clock.wake(timeoutMs, () => fail(`no answer within ${timeoutMs} ms`))
    request.on('error', (error) => fail(reasonOf(error)))
    request.on('response', (response) => {
      const chunks: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        chunks.push(chunk)
        if (size > ANSWER_BYTES_MAX) fail(`its answer is larger than ${ANSWER_BYTES_MAX} bytes`)
      })
      response.on('error', (error) => fail(reasonOf(error)))
      response.on('end', () =>
        end({ ok: true, status: response.statusCode as number, body: parsed(Buffer.concat(chunks)) }),
      )
    })
    request.end(body)
  })
}

/** Of several addresses that refuse, Node's error has no message of its own. */
const reasonOf = (error: NodeJS.ErrnoException): string => error.message || error.code || error.name

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}
