/**
 * The wire to real Kafka: connections, TLS and SASL are kafkajs's, requests and answers are our own (`requests.ts`).
 * The only file that imports kafkajs.
 *
 * A connection has one link per broker, and a link is one socket. A link is never mended: when its socket closes, or
 * a request on it times out, all that waits on it is answered, and the next request to that broker opens another.
 * So a broker that hangs costs one time-out, and what a caller has seen fail cannot be written later.
 */
import net from 'node:net'
import tls from 'node:tls'
import { type ISocketFactoryArgs, Kafka, logLevel, type SASLOptions } from 'kafkajs'
import { DruseError } from '../errors.ts'
import {
  ANY_NODE,
  type Api,
  type Clock,
  type Connection,
  type Logger,
  type Outcome,
  type Purpose,
  type Request,
  type ResponseOf,
  type Wire,
} from '../ports.ts'
import { silentLogger, systemClock } from '../system.ts'
import { type Answers, CODECS, decodeResponse, encodeRequest } from './requests.ts'

export interface KafkaWireOptions {
  /** Where to begin, each `host:port` or `[address]:port`; the others are learned from them. */
  readonly brokers: readonly string[]
  /** Shows in the brokers' logs, metrics and quotas. Default `druse`. */
  readonly clientId?: string
  /** TLS; `true` for Node's own defaults. */
  readonly ssl?: boolean | tls.ConnectionOptions
  /** As kafkajs takes it: `{ mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512' | 'aws' | 'oauthbearer', … }`. */
  readonly sasl?: SASLOptions
  /** For one broker: TCP, TLS, versions and SASL. Default 10 000. */
  readonly connectTimeoutMs?: number
  readonly clock?: Clock
  /** Told of connections that fail: once per broker, until one is reached again. */
  readonly log?: Logger
}

/** Errors: OPTION_INVALID. Those of the network show in outcomes. */
export function kafkaWire(options: KafkaWireOptions): Wire {
  const settings: Settings = {
    seeds: options.brokers.map(parseAddress),
    clientId: options.clientId ?? 'druse',
    ssl: options.ssl ?? false,
    sasl: options.sasl,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    clock: options.clock ?? systemClock,
    log: options.log ?? silentLogger,
  }
  if (settings.seeds.length === 0) {
    throw new DruseError('OPTION_INVALID', "No brokers are given: say brokers: ['host:9092']")
  }
  // Where brokers listen is learned once for all connections of the wire.
  const directory = new Directory(settings.seeds)
  return { connect: (purpose) => new KafkajsConnection(purpose, settings, directory) }
}

/** Where brokers listen, as far as is known. */
class Directory {
  readonly #seeds: readonly Address[]
  readonly #addresses = new Map<number, Address>()
  /** Nodes that could not be reached or were lost: they may listen elsewhere by now. */
  readonly #doubtful = new Set<number>()
  /** Places at which nothing has answered since a connection there failed. */
  readonly #away = new Set<string>()

  constructor(seeds: readonly Address[]) {
    this.#seeds = seeds
  }

  learn(node: number, address: Address): void {
    this.#addresses.set(node, address)
    this.#doubtful.delete(node)
  }

  reached(key: string): void {
    this.#away.delete(key)
  }

  /** A connection to this place failed. True when that is news: an outage is told once, not at each attempt. */
  lost(key: string): boolean {
    const isNews = !this.#away.has(key)
    this.#away.add(key)
    for (const [node, address] of this.#addresses) if (keyOf(address) === key) this.#doubtful.add(node)
    return isNews
  }

  /** Undefined: ask the cluster. */
  find(node: number): Address | undefined {
    return this.#doubtful.has(node) ? undefined : this.#addresses.get(node)
  }

  /** Every place at which a broker may answer: a doubtful one may be all that is left. */
  all(): Address[] {
    const found = new Map<string, Address>()
    for (const address of [...this.#seeds, ...this.#addresses.values()]) found.set(keyOf(address), address)
    return [...found.values()]
  }
}

interface Address {
  readonly host: string
  readonly port: number
}

interface Settings {
  readonly seeds: readonly Address[]
  readonly clientId: string
  readonly ssl: boolean | tls.ConnectionOptions
  readonly sasl: SASLOptions | undefined
  readonly connectTimeoutMs: number
  readonly clock: Clock
  readonly log: Logger
}

type Failure = Extract<Outcome<unknown>, { ok: false }>

class KafkajsConnection implements Connection {
  readonly #purpose: Purpose
  readonly #settings: Settings
  readonly #directory: Directory
  /** By `host:port`: open or being opened. */
  readonly #links = new Map<string, Link>()
  #nextSeed = 0
  #destroyed = false

  constructor(purpose: Purpose, settings: Settings, directory: Directory) {
    this.#purpose = purpose
    this.#settings = settings
    this.#directory = directory
  }

  send<R extends Request>(node: number, request: R, timeoutMs: number): Promise<Outcome<ResponseOf<R>>> {
    return new Promise((resolve) => {
      const sending = new Sending(
        this.#settings.clock,
        timeoutMs,
        resolve as (outcome: Outcome<unknown>) => void,
      )
      this.#carryOut(sending, node, request)
    })
  }

  destroy(): void {
    this.#destroyed = true
    for (const link of this.#links.values()) link.close(new Error('the connection was destroyed'))
  }

  async #carryOut(sending: Sending, node: number, request: Request): Promise<void> {
    try {
      const link = node === ANY_NODE ? await this.#anyLink(sending) : await this.#linkTo(node, sending)
      if (sending.isOver) return
      const answer = await link.exchange(sending, request)
      this.#learn(request.api, answer)
      sending.end({ ok: true, response: forPort(request.api, answer) })
    } catch (error) {
      sending.end({
        ok: false,
        reason: error instanceof Undecodable ? 'undecodable' : 'disconnect',
        cause: error,
      })
    }
  }

  async #linkTo(node: number, sending: Sending): Promise<Link> {
    if (this.#directory.find(node) === undefined) {
      const link = await this.#anyLink(sending)
      this.#learn('Metadata', await link.exchange(sending, { api: 'Metadata', topics: [] }))
    }
    const address = this.#directory.find(node)
    if (address === undefined) throw new Error(`the cluster has no broker ${node}`)
    return this.#linkAt(address, sending)
  }

  /** One that is open, else the first that opens, of known brokers and of those given. */
  async #anyLink(sending: Sending): Promise<Link> {
    for (const link of this.#links.values()) if (link.isOpen) return link
    const all = this.#directory.all()
    let failure: unknown
    for (let tried = 0; tried < all.length; tried++) {
      const address = all[this.#nextSeed % all.length] as Address
      try {
        return await this.#linkAt(address, sending)
      } catch (error) {
        failure = error
        this.#nextSeed += 1
      }
    }
    throw failure
  }

  async #linkAt(address: Address, sending: Sending): Promise<Link> {
    if (this.#destroyed) throw new Error('the connection was destroyed')
    if (sending.isOver) throw new Error('the time was up before the request was sent')
    const key = keyOf(address)
    let link = this.#links.get(key)
    if (link === undefined) {
      link = new Link(address, this.#settings, (why) => {
        this.#links.delete(key)
        if (this.#destroyed) return
        if (!this.#directory.lost(key)) return
        this.#settings.log.warn(
          { broker: key, purpose: this.#purpose, error: why.message },
          'kafka: connection lost',
        )
      })
      this.#links.set(key, link)
    }
    await link.opened
    this.#directory.reached(key)
    return link
  }

  #learn(api: Api, answer: Answers[Api]): void {
    if (api === 'Metadata') {
      const { brokers } = answer as Answers['Metadata']
      for (const { nodeId, host, port } of brokers) this.#directory.learn(nodeId, { host, port })
    } else if (api === 'FindCoordinator') {
      const { errorCode, nodeId, host, port } = answer as Answers['FindCoordinator']
      if (errorCode === 0) this.#directory.learn(nodeId, { host, port })
    }
  }
}

/** One request, until its outcome is known: whatever happens first. */
class Sending {
  readonly #resolve: (outcome: Outcome<unknown>) => void
  readonly #cancelTimer: () => void
  /** The link it was written to. */
  #writtenTo: Link | undefined
  isOver = false

  constructor(clock: Clock, timeoutMs: number, resolve: (outcome: Outcome<unknown>) => void) {
    this.#resolve = resolve
    this.#cancelTimer = clock.wake(timeoutMs, () => {
      this.end({ ok: false, reason: 'timeout' })
      // Answers come in order, so nothing behind this one would be answered either.
      this.#writtenTo?.close(new Error(`no answer within ${timeoutMs} ms`))
    })
  }

  written(link: Link): void {
    this.#writtenTo = link
  }

  end(outcome: { readonly ok: true; readonly response: unknown } | Failure): void {
    if (this.isOver) return
    this.isOver = true
    this.#cancelTimer()
    this.#resolve(outcome)
  }
}

/** A socket to a broker, through a kafkajs broker object of its own. */
class Link {
  readonly opened: Promise<void>
  readonly #onClose: (why: Error) => void
  readonly #waiting = new Set<(why: Error) => void>()
  readonly #sockets = new Set<net.Socket>()
  #kafkajs: KafkajsSocket | undefined
  #closed: Error | undefined
  #isOpen = false

  constructor(address: Address, settings: Settings, onClose: (why: Error) => void) {
    this.#onClose = onClose
    const cancelTimer = settings.clock.wake(settings.connectTimeoutMs, () => {
      this.close(
        new Error(`${keyOf(address)} did not accept a connection in ${settings.connectTimeoutMs} ms`),
      )
    })
    this.opened = this.#untilClosed(this.#open(address, settings)).finally(cancelTimer)
    // Closing rejects it even when nobody waits any more.
    this.opened.catch((error) => this.close(error))
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  async #open(address: Address, settings: Settings): Promise<void> {
    const { clientId, ssl, sasl, connectTimeoutMs } = settings
    const kafka = new Kafka({
      brokers: [keyOf(address)],
      clientId,
      ...(ssl === false ? {} : { ssl }),
      ...(sasl === undefined ? {} : { sasl: { ...sasl } }), // kafkajs writes into it
      connectionTimeout: connectTimeoutMs,
      authenticationTimeout: connectTimeoutMs,
      enforceRequestTimeout: false, // its clock is the wall clock
      logLevel: logLevel.NOTHING,
      socketFactory: (args) => this.#socket(args),
    })
    const { brokerPool } = createCluster(kafka)
    const connectionPool = await brokerPool.connectionPoolBuilder.build(address)
    // Of the two connections in a pool, the second is for Fetch; ours have a purpose each, so one is enough.
    const [socket] = connectionPool.pool
    // Nothing is ever held back here, and on Node 24 its timer warns of a negative time.
    socket.requestQueue.scheduleCheckPendingRequests = () => {}
    // What stands where a size has to stand may be anything: kafkajs throws then, out of the socket's event.
    const processData = socket.processData.bind(socket)
    socket.processData = (data) => {
      try {
        processData(data)
      } catch (error) {
        this.close(new Error(`${keyOf(address)} sends what is no answer of Kafka's`, { cause: error }))
      }
    }
    const broker = brokerPool.createBroker({ connectionPool, logger: brokerPool.rootLogger })
    await broker.connect()
    checkVersions(address, broker.versions)
    // kafkajs logs in again 10 s before a session ends; to a session of less than that, before every request.
    const sessionMs = Number(socket.sessionLifetime.toString())
    socket.reauthenticationThreshold = Math.min(REAUTHENTICATE_MS, Math.floor(sessionMs / 5))
    this.#kafkajs = socket
    this.#isOpen = this.#closed === undefined
  }

  /** Sends, and waits for the answer or for the end of the link. Errors: Undecodable; any other says disconnected. */
  async exchange<R extends Request>(sending: Sending, request: R): Promise<Answers[R['api']]> {
    const { api } = request
    const { key, version } = CODECS[api]
    const withoutAnswer = request.api === 'Produce' && request.acks === 0
    const body = encodeRequest<Api>(api, request)
    const sent = (this.#kafkajs as KafkajsSocket).send({
      request: {
        apiKey: key,
        apiVersion: version,
        apiName: api,
        // Called just before it is written, which may be later than now: SASL sessions are renewed first.
        encode: async () => {
          if (sending.isOver) throw new Error('the time was up before the request was sent')
          sending.written(this)
          return { buf: body, buffer: body }
        },
        expectResponse: () => !withoutAnswer,
      },
      response: { decode: async (bytes) => ({ bytes }), parse: async ({ bytes }) => bytes },
      logResponseError: false,
    })
    // A failed login, for one: what kafkajs cannot send now it could not send later either.
    sent.catch((error) => {
      if (!sending.isOver) this.close(error)
    })
    const payload = await this.#untilClosed(sent)
    try {
      if (payload === undefined) return unanswered(request) as Answers[R['api']]
      return decodeResponse<R['api']>(api, payload)
    } catch (error) {
      throw new Undecodable(api, error)
    }
  }

  /** At once: what waits is answered, the sockets are gone. */
  close(why: Error): void {
    if (this.#closed !== undefined) return
    this.#closed = why
    this.#isOpen = false
    for (const fail of this.#waiting) fail(why)
    // With an error, so that kafkajs forgets its own side too.
    for (const socket of this.#sockets) socket.destroy(why)
    this.#onClose(why)
  }

  #untilClosed<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) {
        work.catch(() => {})
        reject(this.#closed)
        return
      }
      this.#waiting.add(reject)
      work.then(resolve, reject).finally(() => this.#waiting.delete(reject))
    })
  }

  #socket({ host, port, ssl, onConnect }: ISocketFactoryArgs): net.Socket {
    if (this.#closed !== undefined) throw this.#closed
    const socket = ssl
      ? tls.connect({ host, port, ...(net.isIP(host) === 0 ? { servername: host } : {}), ...ssl }, onConnect)
      : net.connect({ host, port }, onConnect)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.setNoDelay(true)
    this.#sockets.add(socket)
    const ended = () => this.close(new Error(`${host}:${port} closed the connection`))
    socket.once('error', (error) => this.close(error))
    socket.once('end', ended)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      ended()
    })
    return socket
  }
}

const KEEP_ALIVE_MS = 60_000
const REAUTHENTICATE_MS = 10_000

class Undecodable extends Error {
  constructor(api: Api, cause: unknown) {
    super(`the answer to ${api} cannot be read: ${String(cause)}`, { cause })
  }
}

/** A broker closes the connection on a version that it does not know; better to say why. */
function checkVersions(address: Address, versions: BrokerVersions): void {
  for (const [api, { key, version }] of Object.entries(CODECS)) {
    const spoken = versions[key]
    if (spoken !== undefined && spoken.minVersion <= version && version <= spoken.maxVersion) continue
    const range =
      spoken === undefined ? 'no version' : `versions ${spoken.minVersion} to ${spoken.maxVersion}`
    throw new Error(
      `${keyOf(address)} speaks ${range} of ${api}, Druse needs ${version}: use Kafka 2.8 or later`,
    )
  }
}

/** With acks 0 there is no answer; Kafka's own client reports it like this. */
function unanswered(request: Request): Answers[Api] {
  if (request.api !== 'Produce') throw new Error('no answer')
  const partitions = request.partitions.map(({ topic, partition }) => ({
    topic,
    partition,
    errorCode: 0,
    baseOffset: -1,
  }))
  return { partitions }
}

function forPort(api: Api, answer: Answers[Api]): unknown {
  if (api !== 'FindCoordinator') return answer
  const { errorCode, nodeId } = answer as Answers['FindCoordinator']
  return { errorCode, nodeId }
}

function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port < 1 || port > 65_535) {
    throw new DruseError('OPTION_INVALID', `'${text}' is no broker: say host:port`, { broker: text })
  }
  return { host, port }
}

function keyOf({ host, port }: Address): string {
  return `${host}:${port}`
}

// --- What is used of kafkajs's inside, version 2.2.4 exactly ---------------------------------------------------

interface KafkajsCluster {
  readonly brokerPool: {
    readonly rootLogger: unknown
    readonly connectionPoolBuilder: { build(address: Address): Promise<KafkajsPool> }
    createBroker(options: { connectionPool: KafkajsPool; logger: unknown }): {
      readonly versions: BrokerVersions
      /** Opens the first connection of the pool, asks for versions, authenticates. */
      connect(): Promise<void>
    }
  }
}

/** By api key. */
type BrokerVersions = Readonly<Record<number, { minVersion: number; maxVersion: number }>>

interface KafkajsPool {
  readonly pool: readonly [KafkajsSocket, KafkajsSocket]
}

interface KafkajsSocket {
  /** Of all that the socket receives. */
  processData: (data: Buffer) => void
  readonly requestQueue: { scheduleCheckPendingRequests: () => void }
  /** A Long of milliseconds; 0 without SASL, or for ever. */
  readonly sessionLifetime: { toString(): string }
  reauthenticationThreshold: number
  send(exchange: {
    request: {
      apiKey: number
      apiVersion: number
      apiName: string
      encode: () => Promise<{ buf: Buffer; buffer: Buffer }>
      expectResponse: () => boolean
    }
    response: {
      decode: (bytes: Buffer) => Promise<{ bytes: Buffer }>
      parse: (decoded: { bytes: Buffer }) => Promise<Buffer>
    }
    logResponseError: boolean
  }): Promise<Buffer | undefined>
}

function createCluster(kafka: Kafka): KafkajsCluster {
  const symbol = Object.getOwnPropertySymbols(kafka).find(
    ({ description }) => description === 'private:Kafka:createCluster',
  )
  const inside = kafka as unknown as Record<symbol, (options: object) => KafkajsCluster>
  const create = symbol === undefined ? undefined : inside[symbol]
  if (create === undefined) {
    throw new DruseError('INTERNAL', 'kafkajs is not the version 2.2.4 that Druse is made for')
  }
  return create({})
}
