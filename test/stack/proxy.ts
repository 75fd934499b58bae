/**
 * Between one client and the brokers of a real Kafka: knows requests and answers apart, and does to them what networks
 * and frozen processes do. Addresses in answers are its own, so all of the client's traffic goes through it. What a
 * client has sent reaches the broker, whatever becomes of the client's connection: that is the hard case.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Answers, CODECS, decodeResponse } from '../../src/kafka/requests.ts'
import { WireReader, WireWriter } from '../../src/kafka/wire-bytes.ts'
import { ANY_NODE, type Api, type Wire } from '../../src/ports.ts'

/** A request on its way, and its answer once there is one. */
export interface Exchange<A extends Api = Api> {
  readonly api: A
  /** Resolves when the broker has answered, whether or not the client learns of it. */
  readonly answered: Promise<Answers[A]>
}

/**
 * What becomes of a request.
 *   pass         carried out and answered
 *   cut          carried out, but the client's connection breaks instead of the answer
 *   torn         carried out, and the connection is reset in the middle of the answer
 *   silent       carried out, and never answered
 *   lose         not carried out, and the client's connection breaks
 *   halfOpen     not carried out, nor is anything else on its connection, which stays open
 *   after        carried out when the promise resolves, like all that follows on its connection
 *   answerAfter  carried out, and answered when the promise resolves, like all that follows on its connection
 */
export type Fate =
  | 'pass'
  | 'cut'
  | 'torn'
  | 'silent'
  | 'lose'
  | 'halfOpen'
  | { readonly after: Promise<unknown> }
  | { readonly answerAfter: Promise<unknown> }

export class KafkaProxy {
  /** Asked for each request, in order of arrival. */
  fate: (exchange: Exchange) => Fate = () => 'pass'
  /** All requests, in order of arrival, unless `forgets` is set: for what runs long. */
  readonly exchanges: Exchange[] = []
  forgets = false
  /** In each direction of each connection; undefined: as fast as it goes. */
  bytesPerSecond: number | undefined
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()
  /** Where the proxy listens, by where a broker does. */
  readonly #own = new Map<string, number>()

  private constructor() {}

  /** `wire` is a way to the cluster, to learn who its brokers are. */
  static async open(wire: Wire): Promise<KafkaProxy> {
    const proxy = new KafkaProxy()
    const connection = wire.connect('admin')
    const outcome = await connection.send(ANY_NODE, { api: 'Metadata', topics: [] }, 10_000)
    connection.destroy()
    if (!outcome.ok) throw new Error(`The brokers are not to be learned: ${outcome.reason}`)
    for (const broker of outcome.response.brokers) await proxy.#listen(broker)
    return proxy
  }

  /** For the client. */
  get brokers(): string[] {
    return Array.from(this.#own.values(), (port) => `${HOST}:${port}`)
  }

  /** Those of one kind. */
  of<A extends Api>(api: A): Exchange<A>[] {
    return this.exchanges.filter((exchange): exchange is Exchange<A> => exchange.api === api)
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #listen({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
    const server = createServer((client) => this.#serve(client, connect(port, host)))
    this.#servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
    this.#own.set(`${host}:${port}`, (server.address() as { port: number }).port)
  }

  #serve(client: Socket, broker: Socket): void {
    const waiting = new Map<number, Waiting>()
    let toBroker: Promise<unknown> = Promise.resolve()
    let toClient: Promise<unknown> = Promise.resolve()
    let isHalfOpen = false
    const endWhenDone = () => {
      if (client.destroyed && waiting.size === 0) broker.destroy()
    }
    for (const socket of [client, broker]) {
      this.#sockets.add(socket)
      socket.setNoDelay()
      socket.on('error', () => {})
      socket.once('close', () => this.#sockets.delete(socket))
    }
    client.once('close', endWhenDone)
    broker.once('close', () => client.destroy())

    onFrames(client, (frame) => {
      const key = frame.readInt16BE(4)
      const version = frame.readInt16BE(6)
      const api = API_OF.get(key)
      const spoken = api !== undefined && CODECS[api].version === version
      const { exchange, answer } = newExchange(api ?? 'Metadata')
      let fate: Fate = 'pass'
      // What is not ours is the handshake of the connection.
      if (spoken) {
        if (!this.forgets) this.exchanges.push(exchange)
        fate = this.fate(exchange)
      }
      if (fate === 'lose') {
        client.destroy()
        return
      }
      if (fate === 'halfOpen') isHalfOpen = true
      if (isHalfOpen) return
      waiting.set(frame.readInt32BE(8), { api: spoken ? api : undefined, fate, answer })
      if (typeof fate === 'object' && 'after' in fate) toBroker = Promise.all([toBroker, fate.after])
      toBroker = toBroker.then(() => this.#write(broker, frame))
    })

    onFrames(broker, (frame) => {
      const id = frame.readInt32BE(4)
      const found = waiting.get(id)
      waiting.delete(id)
      if (found === undefined) throw new Error(`An answer to nothing: ${id}`)
      const { api, fate, answer } = found
      const body = frame.subarray(8)
      if (api !== undefined && !(this.forgets && fate === 'pass')) answer(decodeResponse(api, body))
      if (isHalfOpen) return
      if (typeof fate === 'object' && 'answerAfter' in fate) {
        toClient = Promise.all([toClient, fate.answerAfter])
      }
      toClient = toClient.then(() => {
        if (api === undefined) return this.#write(client, frame)
        if (fate === 'cut') client.destroy()
        if (fate === 'cut' || fate === 'silent') return
        const own = this.#withOwnAddresses(api, body)
        const head = Buffer.from(frame.subarray(0, 8))
        head.writeInt32BE(4 + own.length)
        const whole = Buffer.concat([head, own])
        if (fate !== 'torn') return this.#write(client, whole)
        // Nothing may come behind the first half.
        return new Promise((resolve) => {
          client.write(whole.subarray(0, whole.length >> 1), () => {
            client.resetAndDestroy()
            resolve(undefined)
          })
        })
      })
      endWhenDone()
    })
  }

  async #write(socket: Socket, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const { bytesPerSecond } = this
      if (bytesPerSecond === undefined) {
        socket.write(at === 0 ? bytes : bytes.subarray(at))
        return
      }
      const end = Math.min(bytes.length, at + SLOW_BYTES)
      await sleep(((end - at) * 1_000) / bytesPerSecond)
      socket.write(bytes.subarray(at, end))
      at = end
    }
  }

  #withOwnAddresses(api: Api, body: Buffer): Buffer {
    if (api === 'FindCoordinator') return this.#ofFindCoordinator(body)
    return api === 'Metadata' ? this.#ofMetadata(body) : body
  }

  #ofFindCoordinator(body: Buffer): Buffer {
    const { errorCode, nodeId, host, port } = decodeResponse('FindCoordinator', body)
    if (errorCode !== 0) return body
    const writer = new WireWriter(false)
    writer.int32(0) // throttle time
    writer.int16(errorCode)
    writer.text(null) // error message
    writer.int32(nodeId)
    this.#writeAddress(writer, host, port)
    return writer.written
  }

  #ofMetadata(body: Buffer): Buffer {
    const reader = new WireReader(body, true)
    reader.tags() // of the header
    reader.int32() // throttle time
    const brokers = reader.array(() => {
      const broker = { node: reader.int32(), host: reader.text(), port: reader.int32() }
      reader.textOrNull() // rack
      reader.tags()
      return broker
    })
    const rest = body.subarray(body.length - reader.left)
    const writer = new WireWriter(true)
    writer.tags()
    writer.int32(0)
    writer.array(brokers, ({ node, host, port }) => {
      writer.int32(node)
      this.#writeAddress(writer, host, port)
      writer.text(null)
      writer.tags()
    })
    return Buffer.concat([writer.written, rest])
  }

  #writeAddress(writer: WireWriter, host: string, port: number): void {
    const own = this.#own.get(`${host}:${port}`)
    if (own === undefined) throw new Error(`${host}:${port} is no broker that the proxy knows`)
    writer.text(HOST)
    writer.int32(own)
  }
}

/** A fate for the first request of this kind in the nth transaction with records; the others pass. */
export function inTransaction(api: Api, nth: number, fate: Fate): (exchange: Exchange) => Fate {
  let transactions = 0
  let isOver = true
  return (exchange) => {
    // It is sent again while the transaction before is being completed.
    if (exchange.api === 'AddPartitionsToTxn' && isOver) {
      transactions += 1
      isOver = false
    }
    const hit = exchange.api === api && transactions === nth && !isOver
    if (exchange.api === 'EndTxn' || hit) isOver = true
    return hit ? fate : 'pass'
  }
}

interface Waiting {
  /** Undefined: not one of our requests. */
  readonly api: Api | undefined
  readonly fate: Fate
  readonly answer: (answer: Answers[Api]) => void
}

const HOST = '127.0.0.1'
/** So many at once on a slow connection. */
const SLOW_BYTES = 1_024
const API_OF = new Map(Object.entries(CODECS).map(([api, { key }]) => [key, api as Api]))

function newExchange(api: Api): { exchange: Exchange; answer: (answer: Answers[Api]) => void } {
  const { promise, resolve } = Promise.withResolvers<Answers[Api]>()
  return { exchange: { api, answered: promise }, answer: resolve }
}

/** Frames of requests and of answers alike: their size, then so many bytes. */
function onFrames(socket: Socket, take: (frame: Buffer) => void): void {
  let bytes: Buffer = Buffer.alloc(0)
  socket.on('data', (more: Buffer) => {
    bytes = bytes.length === 0 ? more : Buffer.concat([bytes, more])
    while (bytes.length >= 4) {
      const size = 4 + bytes.readInt32BE(0)
      if (bytes.length < size) return
      take(bytes.subarray(0, size))
      bytes = bytes.subarray(size)
    }
  })
}
