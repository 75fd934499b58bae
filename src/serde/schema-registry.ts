/** A schema registry that speaks Confluent's REST interface: Confluent's own, Apicurio, Karapace, Redpanda. */
import type { ConnectionOptions } from 'node:tls'
import { DruseError, type ErrorCode } from '../errors.ts'
import type { Clock, Registry } from '../ports.ts'
import { systemClock } from '../system.ts'
import { type Answer, type ConfluentClient, confluentClient } from './confluent-client.ts'
import { withReferences } from './schema-references.ts'

export interface SchemaRegistryOptions {
  /** Where its paths begin: `https://registry:8081`; of Apicurio `http://registry:8080/apis/ccompat/v7`. */
  readonly url: string
  /** HTTP basic authentication. */
  readonly auth?: { readonly username: string; readonly password: string }
  /** Sent with each request, for instance a bearer token in `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>
  /** For https: `ca`, `cert`, `key`, `rejectUnauthorized`, … as Node takes them. */
  readonly ssl?: ConnectionOptions
  /** False: schemas are looked up, never registered: see SCHEMA_NOT_REGISTERED. Default true. */
  readonly autoRegister?: boolean
  /** For one request, from the connection to the last byte of the answer. Default 5 000. */
  readonly timeoutMs?: number
  /** How long a call asks again while the registry is down, before REGISTRY_UNAVAILABLE. Default 10 000. */
  readonly retryMs?: number
  readonly clock?: Clock
}

const FIRST_PAUSE_MS = 50
const LAST_PAUSE_MS = 1_000
/** A replica of the registry learns of a new id after its records can be read: it is asked again this long. */
const UNKNOWN_GRACE_MS = 1_000
/** For this long an id that nobody knew is not asked for. */
const UNKNOWN_FOR_MS = 30_000
/** Ids come out of records, so anything may be one: what is remembered of them has an end. */
const UNKNOWN_MAX = 10_000
const REFERENCES_MAX = 200
const SHOWN_CHARACTERS = 300
/** Confluent's error codes. */
const SUBJECT_NOT_FOUND = 40401
const SCHEMA_NOT_FOUND = 40403
const SCHEMA_NOT_VALID = 42201

/**
 * Schemas and ids from a registry service. Does no I/O before it is asked; each schema is asked for once.
 *
 * Asked again, with growing pauses: connections that fail, time-outs, 408, 429, 5xx and answers that cannot be
 * understood; then REGISTRY_UNAVAILABLE, which an application waits for. At once REGISTRY_REFUSED: 401, 403, redirects
 * (not followed, credentials stay here) and other answers that will not change by asking.
 *
 * About schemas: SCHEMA_REJECTED, it does not fit its subject, or the registry takes it for none; SCHEMA_NOT_REGISTERED,
 * with `autoRegister: false`; SCHEMA_UNKNOWN, the registry itself says that it has no such id (remembered for 30 s);
 * SCHEMA_INVALID, what the id stands for is not Avro.
 *
 * Error: OPTION_INVALID. Credentials never show in errors.
 */
export function schemaRegistry(options: SchemaRegistryOptions): Registry {
  return new SchemaRegistry(options)
}

/** What an answer means: a result, an error for good, or a reason to ask again. */
type Verdict<T> =
  | { readonly result: T }
  | { readonly error: DruseError }
  | {
      readonly again: string
      readonly status?: number
      /** What it comes to when the time is over. Default: REGISTRY_UNAVAILABLE. */
      readonly atLast?: DruseError
    }

class SchemaRegistry implements Registry {
  readonly #client: ConfluentClient
  readonly #url: string
  readonly #clock: Clock
  readonly #autoRegister: boolean
  readonly #retryMs: number
  readonly #hide: (text: string) => string
  readonly #schemas = new Map<number, string>()
  readonly #asking = new Map<number, Promise<string>>()
  readonly #unknown = new Map<number, { readonly error: DruseError; readonly untilMs: number }>()

  constructor(options: SchemaRegistryOptions) {
    const { headers = {}, ssl = {}, autoRegister = true, clock = systemClock } = options
    const { timeoutMs = 5_000, retryMs = 10_000 } = options
    const { url, auth } = parseUrl(options)
    this.#client = confluentClient({
      url,
      auth,
      headers,
      ssl,
      timeoutMs: positive('timeoutMs', timeoutMs),
      clock,
    })
    this.#url = url
    this.#clock = clock
    this.#autoRegister = autoRegister
    this.#retryMs = retryMs === 0 ? 0 : positive('retryMs', retryMs)
    this.#hide = hiding(auth, headers)
  }

  async idOf(subject: string, schema: string): Promise<number> {
    const what = `${this.#autoRegister ? 'register' : 'look up'} the schema of subject "${subject}"`
    return this.#ask<number>(
      what,
      () =>
        this.#autoRegister ? this.#client.register(subject, schema) : this.#client.lookUp(subject, schema),
      ({ status, body }) => {
        if (isSuccess(status)) {
          const id = member(body, 'id')
          return typeof id === 'number' && Number.isInteger(id) ? { result: id } : undefined
        }
        return this.#refusalOf(subject, schema, status, body)
      },
    )
  }

  schemaOf(id: number): Promise<string> {
    // Ids come out of records; what no registry ever gives is not asked for.
    if (id < 0) return Promise.reject(this.#unknownId(id))
    const known = this.#schemas.get(id)
    if (known !== undefined) return Promise.resolve(known)
    const asking = this.#asking.get(id) ?? this.#find(id).finally(() => this.#asking.delete(id))
    this.#asking.set(id, asking)
    return asking
  }

  async #find(id: number): Promise<string> {
    const unknown = this.#unknown.get(id)
    if (unknown !== undefined && unknown.untilMs > this.#clock.monotonicMs()) throw unknown.error
    const what = `ask for the schema with id ${id}`
    const startedMs = this.#clock.monotonicMs()
    try {
      const found = await this.#ask(
        what,
        () => this.#client.schema(id),
        ({ status, body }) => {
          if (isSuccess(status)) return this.#foundOf(`The schema with id ${id}`, body)
          if (status !== 404 || errorCodeOf(body) !== SCHEMA_NOT_FOUND) return undefined
          const error = this.#unknownId(id)
          const isNew = this.#clock.monotonicMs() - startedMs < UNKNOWN_GRACE_MS
          return isNew ? { again: 'it does not know the id', atLast: error } : { error }
        },
      )
      const text = await this.#whole(found, what)
      this.#unknown.delete(id)
      this.#schemas.set(id, text)
      return text
    } catch (error) {
      if (DruseError.is(error, 'SCHEMA_UNKNOWN')) this.#remember(id, error)
      throw error
    }
  }

  #unknownId(id: number): DruseError {
    return this.#error(
      'SCHEMA_UNKNOWN',
      `The schema registry ${this.#url} has no schema with id ${id}: were the records written with another registry?`,
      { id },
    )
  }

  #remember(id: number, error: DruseError): void {
    const oldest = this.#unknown.keys().next()
    if (this.#unknown.size >= UNKNOWN_MAX && !oldest.done) this.#unknown.delete(oldest.value)
    this.#unknown.delete(id)
    this.#unknown.set(id, { error, untilMs: this.#clock.monotonicMs() + UNKNOWN_FOR_MS })
  }

  /** Types that the schema refers to stand under other subjects. */
  async #whole({ schema, references }: Found, what: string): Promise<string> {
    if (references.length === 0) return schema
    const known = new Map<string, unknown>()
    const open = [...references]
    for (const { name, subject, version } of open) {
      if (known.has(name)) continue
      if (known.size === REFERENCES_MAX) {
        throw this.#error('SCHEMA_INVALID', `A schema refers to more than ${REFERENCES_MAX} others`, {})
      }
      const found = await this.#ask(
        `${what}: its reference to version ${version} of subject "${subject}"`,
        () => this.#client.version(subject, version),
        ({ status, body }) => {
          const which = `Version ${version} of subject "${subject}"`
          if (isSuccess(status)) return this.#foundOf(which, body)
          if (status !== 404 || errorCodeOf(body) === undefined) return undefined
          const message = `${which}, which another schema refers to, is not in the schema registry ${this.#url}`
          return { error: this.#error('SCHEMA_INVALID', message, { subject, version }) }
        },
      )
      known.set(name, jsonOf(found.schema))
      open.push(...found.references)
    }
    return JSON.stringify(withReferences(jsonOf(schema), known))
  }

  #foundOf(what: string, body: unknown): Verdict<Found> | undefined {
    const schema = member(body, 'schema')
    if (typeof schema !== 'string') return undefined
    const type = member(body, 'schemaType') ?? 'AVRO'
    if (type !== 'AVRO') {
      const message = `${what} in the schema registry ${this.#url} is of type ${String(type)}, not AVRO`
      return { error: this.#error('SCHEMA_INVALID', message, { type }) }
    }
    const references = member(body, 'references') ?? []
    return Array.isArray(references) && references.every(isReference)
      ? { result: { schema, references } }
      : undefined
  }

  /** What the registry itself says about a schema; a proxy's page with the same status is none of that. */
  #refusalOf(subject: string, schema: string, status: number, body: unknown): Verdict<never> | undefined {
    const code = errorCodeOf(body)
    if (code === undefined) return undefined
    const said = this.#said(body)
    if (status === 409) {
      const message = `The schema does not fit subject "${subject}" in the schema registry ${this.#url}: ${said}. Change it so that it is compatible, or the subject's compatibility setting`
      return { error: this.#error('SCHEMA_REJECTED', message, { subject, status }) }
    }
    if (code === SCHEMA_NOT_VALID) {
      const message = `The schema for subject "${subject}" is not valid to the schema registry ${this.#url}: ${said}. Correct it`
      return { error: this.#error('SCHEMA_REJECTED', message, { subject, status, schema }) }
    }
    if (status === 404 && (code === SUBJECT_NOT_FOUND || code === SCHEMA_NOT_FOUND)) {
      const message = `The schema is not registered under subject "${subject}" in the schema registry ${this.#url}, and autoRegister is false. Register it: POST it to /subjects/${encodeURIComponent(subject)}/versions, or with your registry's own tool`
      return { error: this.#error('SCHEMA_NOT_REGISTERED', message, { subject, status, schema }) }
    }
    return undefined
  }

  /** `verdictOf`: undefined for an answer that it makes nothing of. */
  async #ask<T>(
    what: string,
    send: () => Promise<Answer>,
    verdictOf: (answer: { readonly status: number; readonly body: unknown }) => Verdict<T> | undefined,
  ): Promise<T> {
    const startedMs = this.#clock.monotonicMs()
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS)) {
      const answer = await send()
      const verdict: Verdict<T> = answer.ok
        ? (verdictOf(answer) ?? this.#otherwise(what, answer.status, answer.body))
        : { again: answer.reason }
      if ('result' in verdict) return verdict.result
      if ('error' in verdict) throw verdict.error
      const takenMs = this.#clock.monotonicMs() - startedMs
      if (takenMs + pauseMs > this.#retryMs) {
        const { again, status, atLast } = verdict
        if (atLast !== undefined) throw atLast
        throw this.#error(
          'REGISTRY_UNAVAILABLE',
          `Could not ${what} in ${Math.round(takenMs)} ms: the schema registry ${this.#url} cannot be used: ${again}. Check that it runs and can be reached`,
          { status },
        )
      }
      await new Promise<void>((resolve) => this.#clock.wake(pauseMs, resolve))
    }
  }

  #otherwise(what: string, status: number, body: unknown): Verdict<never> {
    const said = this.#said(body)
    if (isSuccess(status)) return { again: `its answer to status ${status} is not understood`, status }
    if (status >= 500 || status === 408 || status === 429)
      return { again: `status ${status}${said && `, ${said}`}`, status }
    const hint =
      status === 401 || status === 403
        ? 'Check auth or headers, and what the user may do'
        : status < 400
          ? 'Redirects are not followed: give the url that it points to'
          : 'Check that url is where the paths of its Confluent interface begin'
    return {
      error: this.#error(
        'REGISTRY_REFUSED',
        `Could not ${what}: the schema registry ${this.#url} answers status ${status}${said && `, ${said}`}. ${hint}`,
        { status },
      ),
    }
  }

  #said(body: unknown): string {
    const message = member(body, 'message')
    return typeof message === 'string' ? message.slice(0, SHOWN_CHARACTERS) : ''
  }

  #error(code: ErrorCode, message: string, details: Readonly<Record<string, unknown>>): DruseError {
    return new DruseError(code, this.#hide(message), { url: this.#url, ...details })
  }
}

interface Reference {
  readonly name: string
  readonly subject: string
  readonly version: number
}

interface Found {
  readonly schema: string
  readonly references: readonly Reference[]
}

const isSuccess = (status: number): boolean => status >= 200 && status < 300

function member(body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[name] : undefined
}

function errorCodeOf(body: unknown): number | undefined {
  const code = member(body, 'error_code')
  return typeof code === 'number' ? code : undefined
}

function isReference(value: unknown): value is Reference {
  return (
    typeof member(value, 'name') === 'string' &&
    typeof member(value, 'subject') === 'string' &&
    typeof member(value, 'version') === 'number'
  )
}

/** What is no JSON is told by whoever parses the schema. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function parseUrl({ url, auth }: SchemaRegistryOptions): {
  readonly url: string
  readonly auth: SchemaRegistryOptions['auth'] | undefined
} {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
    throw new DruseError('OPTION_INVALID', 'url is no http or https address of a schema registry')
  }
  const inUrl = parsed.username !== '' || parsed.password !== ''
  const found = inUrl
    ? { username: decodeURIComponent(parsed.username), password: decodeURIComponent(parsed.password) }
    : undefined
  parsed.username = ''
  parsed.password = ''
  return { url: parsed.href.replace(/\/+$/, ''), auth: auth ?? found }
}

function positive(name: string, value: number): number {
  if (Number.isFinite(value) && value > 0) return value
  throw new DruseError('OPTION_INVALID', `${name} is ${value}: give a positive number of milliseconds`)
}

/** A registry, or a proxy before it, may repeat what it was sent. */
function hiding(
  auth: SchemaRegistryOptions['auth'],
  headers: Readonly<Record<string, string>>,
): (text: string) => string {
  const secrets = Object.values(headers)
  if (auth !== undefined) {
    secrets.push(Buffer.from(`${auth.username}:${auth.password}`).toString('base64'), auth.password)
  }
  const hidden = secrets.filter((secret) => secret !== '')
  return (text) => hidden.reduce((shown, secret) => shown.replaceAll(secret, '***'), text)
}
