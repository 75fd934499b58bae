import net from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { DruseError } from '../../src/errors.ts'
import { type KafkaWireOptions, kafkaWire } from '../../src/kafka/kafkajs.ts'
import { CODECS } from '../../src/kafka/requests.ts'
import { WireWriter } from '../../src/kafka/wire-bytes.ts'
import { ANY_NODE, type Api, type Clock, type Connection, type Outcome } from '../../src/ports.ts'
import { silentLogger, systemClock } from '../../src/system.ts'

/**
 * A broker that speaks just enough: it knows all versions, lists itself as node 1, and answers the rest as the test
 * says. It counts sockets, so that a leak shows.
 */
class ScriptedBroker {
  readonly seen: string[] = []
  readonly sockets = new Set<net.Socket>()
  /** Bytes of an answer; `silence` for none ever; `hang up` closes the socket. Absent: as a broker would. */
  answer: (api: Api) => Buffer | 'silence' | 'hang up' | { readonly raw: Buffer } | undefined = () =>
    undefined
  versions: (api: Api) => readonly [number, number] = (api) => [0, CODECS[api].version]
  /** Absent: SASL is not spoken here. */
  sasl: { password: string; sessionMs: number } | undefined
  connections = 0
  #waiting: (() => void)[] = []
  readonly #server: net.Server
  #nodes: readonly { nodeId: number; port: number }[] = []

  private constructor(server: net.Server) {
    this.#server = server
    server.on('connection', (socket) => this.#serve(socket))
  }

  static async listen(port = 0): Promise<ScriptedBroker> {
    const server = net.createServer()
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    const broker = new ScriptedBroker(server)
    broker.cluster([{ nodeId: 1, port: broker.port }])
    opened.push(() => broker.close())
    return broker
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  cluster(nodes: readonly { nodeId: number; port: number }[]): void {
    this.#nodes = nodes
  }

  /** Resolves when `condition` holds; looked at whenever something happens here. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #happened(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  #serve(socket: net.Socket): void {
    this.connections += 1
    this.sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => {
      this.sockets.delete(socket)
      this.#happened()
    })
    let buffered = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      buffered = Buffer.concat([buffered, chunk])
      while (buffered.length >= 4 && buffered.length >= 4 + buffered.readInt32BE(0)) {
        const end = 4 + buffered.readInt32BE(0)
        this.#receive(socket, buffered.subarray(4, end))
        buffered = buffered.subarray(end)
      }
      this.#happened()
    })
    this.#happened()
  }

  #receive(socket: net.Socket, frame: Buffer): void {
    const key = frame.readInt16BE(0)
    const correlationId = frame.readInt32BE(4)
    if (key === API_VERSIONS) {
      this.#reply(socket, correlationId, this.#versions(frame.readInt16BE(2)))
      return
    }
    if (key === SASL_HANDSHAKE || key === SASL_AUTHENTICATE) {
      this.seen.push(key === SASL_HANDSHAKE ? 'SaslHandshake' : 'SaslAuthenticate')
      this.#reply(socket, correlationId, this.#sasl(key, frame))
      return
    }
    const api = apis.find((each) => CODECS[each].key === key)
    if (api === undefined) throw new Error(`a request of key ${key}`)
    this.seen.push(api)
    const answer = this.answer(api) ?? (api === 'Metadata' ? this.#metadata() : PLAIN)
    if (answer === 'hang up') socket.destroy()
    else if (typeof answer === 'object' && 'raw' in answer) socket.write(answer.raw)
    else if (answer !== 'silence') this.#reply(socket, correlationId, answer)
  }

  #reply(socket: net.Socket, correlationId: number, body: Buffer): void {
    const head = Buffer.alloc(8)
    head.writeInt32BE(4 + body.length, 0)
    head.writeInt32BE(correlationId, 4)
    socket.write(Buffer.concat([head, body]))
  }

  #versions(version: number): Buffer {
    const writer = new WireWriter(false)
    writer.int16(0)
    const others = [SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE].map((key) => [key, 0, 1])
    writer.array([...apis.map((api) => [CODECS[api].key, ...this.versions(api)]), ...others], (api) => {
      for (const number of api) writer.int16(number)
    })
    if (version >= 1) writer.int32(0)
    return writer.written
  }

  /** Version 1 of both. */
  #sasl(key: number, frame: Buffer): Buffer {
    const writer = new WireWriter(false)
    const isRight = frame.includes(`\0user\0${this.sasl?.password}`)
    writer.int16(key === SASL_HANDSHAKE || isRight ? 0 : 58)
    if (key === SASL_HANDSHAKE) {
      writer.array(['PLAIN'], (mechanism) => writer.text(mechanism))
    } else {
      writer.text(isRight ? null : 'wrong password')
      writer.bytes(Buffer.alloc(0))
      writer.int64(this.sasl?.sessionMs ?? 0)
    }
    return writer.written
  }

  #metadata(): Buffer {
    const writer = new WireWriter(true)
    writer.tags()
    writer.int32(0)
    writer.array(this.#nodes, ({ nodeId, port }) => {
      writer.int32(nodeId)
      writer.text('127.0.0.1')
      writer.int32(port)
      writer.text(null)
      writer.tags()
    })
    writer.text('cluster')
    writer.int32(1)
    writer.array([], () => {})
    writer.int32(0)
    writer.tags()
    return writer.written
  }
}

const SASL_HANDSHAKE = 17
const API_VERSIONS = 18
const SASL_AUTHENTICATE = 36
const apis = Object.keys(CODECS) as Api[]
/** Throttle time and error code: all that Heartbeat answers. */
const PLAIN = Buffer.from('000000000000', 'hex')
const LONG = 30_000

const heartbeat = {
  api: 'Heartbeat',
  groupId: 'g',
  generationId: 1,
  memberId: 'm',
  groupInstanceId: null,
} as const
const metadata = { api: 'Metadata', topics: [] } as const
const endTxn = {
  api: 'EndTxn',
  transactionalId: 't',
  producerId: 1n,
  producerEpoch: 0,
  committed: true,
} as const

const opened: (() => unknown)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

function connect(
  brokers: (ScriptedBroker | string)[],
  options: Partial<KafkaWireOptions> = {},
): { wire: ReturnType<typeof kafkaWire>; connection: Connection } {
  const addresses = brokers.map((broker) => (typeof broker === 'string' ? broker : broker.address))
  const wire = kafkaWire({ brokers: addresses, ...options })
  const connection = wire.connect('admin')
  opened.push(() => connection.destroy())
  return { wire, connection }
}

const ok = { ok: true, response: { errorCode: 0 } }
const failed = (reason: Extract<Outcome<unknown>, { ok: false }>['reason']) =>
  expect.objectContaining({ ok: false, reason })

/** A clock whose timers the test fires by hand, by their length. */
class ManualClock implements Clock {
  readonly #timers = new Map<() => void, number>()
  monotonicMs = systemClock.monotonicMs
  wallMs = systemClock.wallMs

  wake(delayMs: number, callback: () => void): () => void {
    this.#timers.set(callback, delayMs)
    return () => this.#timers.delete(callback)
  }

  fire(delayMs: number): void {
    for (const [callback, delay] of [...this.#timers]) {
      if (delay !== delayMs) continue
      this.#timers.delete(callback)
      callback()
    }
  }

  get waiting(): number[] {
    return [...this.#timers.values()]
  }
}

/** A port on which nothing listens. */
async function deadAddress(): Promise<string> {
  const broker = await ScriptedBroker.listen()
  const { address } = broker
  await broker.close()
  opened.pop()
  return address
}

describe('finding brokers', () => {
  test('connect does no I/O', async () => {
    const broker = await ScriptedBroker.listen()
    connect([broker])
    expect(broker.connections).toBe(0)
  })

  test('a node is found through those given, and its socket is used again', async () => {
    const seed = await ScriptedBroker.listen()
    const other = await ScriptedBroker.listen()
    seed.cluster([
      { nodeId: 1, port: seed.port },
      { nodeId: 2, port: other.port },
    ])
    const { connection } = connect([seed])
    expect(await connection.send(2, heartbeat, LONG)).toEqual(ok)
    expect(await connection.send(2, heartbeat, LONG)).toEqual(ok)
    expect(await connection.send(1, heartbeat, LONG)).toEqual(ok)
    expect(other.seen).toEqual(['Heartbeat', 'Heartbeat'])
    expect(seed.seen).toEqual(['Metadata', 'Heartbeat'])
    expect([seed.connections, other.connections]).toEqual([1, 1])
  })

  test('requests that begin together share the one socket', async () => {
    const broker = await ScriptedBroker.listen()
    const { connection } = connect([broker])
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, i) => connection.send(i % 2 === 0 ? 1 : ANY_NODE, heartbeat, LONG)),
    )
    expect(outcomes).toEqual(outcomes.map(() => ok))
    expect(broker.connections).toBe(1)
  })

  test('what one connection learns, the others know; sockets they have their own', async () => {
    const broker = await ScriptedBroker.listen()
    const { wire, connection } = connect([broker])
    await connection.send(1, heartbeat, LONG)
    const another = wire.connect('group')
    opened.push(() => another.destroy())
    expect(await another.send(1, heartbeat, LONG)).toEqual(ok)
    expect(broker.seen).toEqual(['Metadata', 'Heartbeat', 'Heartbeat'])
    expect(broker.connections).toBe(2)
  })

  test('a broker that is down is passed over for any node', async () => {
    const broker = await ScriptedBroker.listen()
    const { connection } = connect([await deadAddress(), broker])
    expect(await connection.send(ANY_NODE, heartbeat, LONG)).toEqual(ok)
  })

  test('no broker can be reached: disconnect, with the reason', async () => {
    const { connection } = connect([await deadAddress()])
    const outcome = await connection.send(ANY_NODE, heartbeat, LONG)
    expect(outcome).toEqual(failed('disconnect'))
    expect(!outcome.ok && String(outcome.cause)).toContain('ECONNREFUSED')
  })

  test('a node that nobody knows: disconnect', async () => {
    const { connection } = connect([await ScriptedBroker.listen()])
    expect(await connection.send(99, heartbeat, LONG)).toEqual(failed('disconnect'))
  })

  test('a node that moved is looked up again', async () => {
    const seed = await ScriptedBroker.listen()
    const before = await ScriptedBroker.listen()
    const after = await ScriptedBroker.listen()
    seed.cluster([{ nodeId: 2, port: before.port }])
    const { connection } = connect([seed])
    expect(await connection.send(2, heartbeat, LONG)).toEqual(ok)
    await before.close()
    seed.cluster([{ nodeId: 2, port: after.port }])
    // The first attempt finds out that the old place is dead.
    expect(await connection.send(2, heartbeat, LONG)).toEqual(failed('disconnect'))
    expect(await connection.send(2, heartbeat, LONG)).toEqual(ok)
    expect(after.seen).toEqual(['Heartbeat'])
  })

  test('a broker that is too old says so', async () => {
    const broker = await ScriptedBroker.listen()
    broker.versions = (api) => [0, api === 'Metadata' ? 9 : 99]
    const { connection } = connect([broker])
    const outcome = await connection.send(ANY_NODE, heartbeat, LONG)
    expect(outcome).toEqual(failed('disconnect'))
    expect(!outcome.ok && String(outcome.cause)).toContain('speaks versions 0 to 9 of Metadata')
    await broker.until(() => broker.sockets.size === 0)
  })

  test.each([[[]], [['localhost']], [['host:0']], [['a:1:2']]])('brokers %j are refused', (brokers) => {
    let found: unknown
    try {
      kafkaWire({ brokers })
    } catch (error) {
      found = error
    }
    expect(DruseError.is(found, 'OPTION_INVALID')).toBe(true)
  })
})

describe('outcomes', () => {
  test('no answer in time: timeout, its socket is closed and the next request opens another', async () => {
    const broker = await ScriptedBroker.listen()
    const clock = new ManualClock()
    const { connection } = connect([broker], { clock })
    await connection.send(1, metadata, LONG)
    broker.answer = (api) => (api === 'EndTxn' ? 'silence' : undefined)
    const lost = connection.send(1, endTxn, 500)
    const behind = connection.send(1, heartbeat, LONG)
    await broker.until(() => broker.seen.includes('EndTxn'))
    clock.fire(500)
    expect(await lost).toEqual(failed('timeout'))
    // Kafka answers in order: behind a lost answer there is none to wait for.
    expect(await behind).toEqual(failed('disconnect'))
    await broker.until(() => broker.sockets.size === 0)
    expect(await connection.send(1, heartbeat, LONG)).toEqual(ok)
    expect(broker.connections).toBe(2)
    expect(clock.waiting).toEqual([])
  })

  test('a request whose time is up before it could be written is never written', async () => {
    const broker = await ScriptedBroker.listen()
    const clock = new ManualClock()
    const { connection } = connect([broker], { clock })
    const tooLate = connection.send(ANY_NODE, endTxn, 500)
    clock.fire(500)
    expect(await tooLate).toEqual(failed('timeout'))
    // The socket that was being opened for it serves the next.
    expect(await connection.send(ANY_NODE, heartbeat, LONG)).toEqual(ok)
    expect(broker.seen).toEqual(['Heartbeat'])
    expect(broker.connections).toBe(1)
  })

  test('a broker that accepts and says nothing: disconnect after the connect time-out', async () => {
    const silent = net.createServer()
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const accepted = new Promise<net.Socket>((resolve) => {
      silent.once('connection', (socket) => socket.once('data', () => resolve(socket)))
    })
    const clock = new ManualClock()
    const { port } = silent.address() as net.AddressInfo
    const { connection } = connect([`127.0.0.1:${port}`], { clock, connectTimeoutMs: 777 })
    const outcome = connection.send(ANY_NODE, heartbeat, LONG)
    const socket = await accepted
    const closed = new Promise((resolve) => socket.once('close', resolve))
    clock.fire(777)
    expect(await outcome).toEqual(failed('disconnect'))
    await closed
    await new Promise((resolve) => silent.close(resolve))
  })

  test('the broker closes the socket: disconnect at once, for all that wait', async () => {
    const broker = await ScriptedBroker.listen()
    const { connection } = connect([broker])
    await connection.send(1, metadata, LONG)
    broker.answer = (api) => (api === 'EndTxn' ? 'hang up' : api === 'Heartbeat' ? 'silence' : undefined)
    const both = [connection.send(1, heartbeat, LONG), connection.send(1, endTxn, LONG)]
    expect(await Promise.all(both)).toEqual([failed('disconnect'), failed('disconnect')])
    broker.answer = () => undefined
    expect(await connection.send(1, heartbeat, LONG)).toEqual(ok)
  })

  test.each([
    ['a size too small for an answer', '0000000200000000'],
    ['a negative size', 'ffffffff00000000'],
  ])(
    'what is no answer at all: %s, disconnect, and the next request opens another socket',
    async (_, hex) => {
      const broker = await ScriptedBroker.listen()
      const { connection } = connect([broker])
      broker.answer = () => ({ raw: Buffer.from(hex, 'hex') })
      expect(await connection.send(ANY_NODE, metadata, LONG)).toMatchObject({
        ok: false,
        reason: 'disconnect',
        cause: { message: expect.stringContaining("no answer of Kafka's") },
      })
      broker.answer = () => undefined
      expect(await connection.send(ANY_NODE, metadata, LONG)).toMatchObject({ ok: true })
      expect(broker.connections).toBe(2)
    },
  )

  test('an answer that cannot be read: undecodable', async () => {
    const broker = await ScriptedBroker.listen()
    const { connection } = connect([broker])
    broker.answer = (api) => (api === 'Heartbeat' ? Buffer.from('0000', 'hex') : undefined)
    expect(await connection.send(1, heartbeat, LONG)).toEqual(failed('undecodable'))
    broker.answer = () => undefined
    expect(await connection.send(1, heartbeat, LONG)).toEqual(ok)
  })

  test('produce without acknowledgement has no answer to wait for', async () => {
    const broker = await ScriptedBroker.listen()
    broker.answer = (api) => (api === 'Produce' ? 'silence' : undefined)
    const { connection } = connect([broker])
    const outcome = await connection.send(
      1,
      {
        api: 'Produce',
        transactionalId: null,
        acks: 0,
        timeoutMs: 1000,
        partitions: [{ topic: 't', partition: 3, records: Buffer.from('x') }],
      },
      LONG,
    )
    const partitions = [{ topic: 't', partition: 3, errorCode: 0, baseOffset: -1 }]
    expect(outcome).toEqual({ ok: true, response: { partitions } })
    await broker.until(() => broker.seen.includes('Produce'))
  })
})

test('an outage is told once, and the next one again', async () => {
  const broker = await ScriptedBroker.listen()
  const { address, port } = broker
  const told: object[] = []
  const log = { ...silentLogger, warn: (details: object) => told.push(details) }
  const { connection } = connect([broker], { log })
  expect(await connection.send(1, heartbeat, LONG)).toEqual(ok)
  await broker.close()
  for (let i = 0; i < 3; i++) expect(await connection.send(1, heartbeat, LONG)).toEqual(failed('disconnect'))
  expect(told).toEqual([expect.objectContaining({ broker: address })])

  const again = await ScriptedBroker.listen(port)
  expect(await connection.send(1, heartbeat, LONG)).toEqual(ok)
  await again.close()
  for (let i = 0; i < 3; i++) expect(await connection.send(1, heartbeat, LONG)).toEqual(failed('disconnect'))
  expect(told).toHaveLength(2)
})

describe('SASL', () => {
  const sasl = { mechanism: 'plain', username: 'user', password: 'right' } as const
  const LOGIN = ['SaslHandshake', 'SaslAuthenticate']

  test('one login per socket, while the session lasts', async () => {
    const broker = await ScriptedBroker.listen()
    broker.sasl = { password: 'right', sessionMs: 3_600_000 }
    const { connection } = connect([broker], { sasl })
    const outcomes = await Promise.all([1, 1, 1].map((node) => connection.send(node, heartbeat, LONG)))
    expect(outcomes).toEqual([ok, ok, ok])
    expect(broker.seen.slice(0, 2)).toEqual(LOGIN)
    expect(broker.seen.filter((api) => api === 'SaslAuthenticate').length).toBe(1)
  })

  test('a session shorter than the 10 s that kafkajs keeps in hand is not renewed before each request', async () => {
    const broker = await ScriptedBroker.listen()
    broker.sasl = { password: 'right', sessionMs: 9_000 }
    const { connection } = connect([broker], { sasl })
    await connection.send(1, heartbeat, LONG)
    await connection.send(1, heartbeat, LONG)
    expect(broker.seen).toEqual([...LOGIN, 'Metadata', 'Heartbeat', 'Heartbeat'])
  })

  test('a wrong password: disconnect with the reason, in the log too, and no socket stays', async () => {
    const broker = await ScriptedBroker.listen()
    broker.sasl = { password: 'another', sessionMs: 0 }
    const told: object[] = []
    const log = { ...silentLogger, warn: (details: object) => told.push(details) }
    const { connection } = connect([broker], { sasl, log })
    const outcome = await connection.send(1, heartbeat, LONG)
    expect(outcome).toEqual(failed('disconnect'))
    expect(!outcome.ok && String(outcome.cause)).toContain('wrong password')
    expect(told).toEqual([expect.objectContaining({ error: expect.stringContaining('wrong password') })])
    await broker.until(() => broker.sockets.size === 0)
  })

  test('a login that fails when it is renewed ends the socket, and the request was not sent', async () => {
    const broker = await ScriptedBroker.listen()
    // A session that is over at once: every request renews it.
    broker.sasl = { password: 'right', sessionMs: 1 }
    const { connection } = connect([broker], { sasl })
    expect(await connection.send(1, metadata, LONG)).toMatchObject({ ok: true })
    const until = performance.now() + 2
    while (performance.now() < until); // for the session to be over by kafkajs's own clock
    broker.sasl = { password: 'changed', sessionMs: 1 }
    expect(await connection.send(1, endTxn, LONG)).toEqual(failed('disconnect'))
    expect(broker.seen).not.toContain('EndTxn')
    await broker.until(() => broker.sockets.size === 0)
    broker.sasl = { password: 'right', sessionMs: 0 }
    expect(await connection.send(1, endTxn, LONG)).toEqual(ok)
  })
})

describe('destroy', () => {
  test('answers what waits, closes every socket, and nothing is sent any more', async () => {
    const broker = await ScriptedBroker.listen()
    const clock = new ManualClock()
    const { connection } = connect([broker], { clock })
    await connection.send(1, metadata, LONG)
    broker.answer = () => 'silence'
    const pending = [connection.send(1, endTxn, LONG), connection.send(1, heartbeat, LONG)]
    await broker.until(() => broker.seen.includes('Heartbeat'))
    connection.destroy()
    expect(await Promise.all(pending)).toEqual([failed('disconnect'), failed('disconnect')])
    await broker.until(() => broker.sockets.size === 0)
    expect(await connection.send(1, heartbeat, LONG)).toEqual(failed('disconnect'))
    expect(await connection.send(ANY_NODE, heartbeat, LONG)).toEqual(failed('disconnect'))
    expect(broker.connections).toBe(1)
    expect(clock.waiting).toEqual([])
    connection.destroy()
  })

  test('while a socket is being opened', async () => {
    const broker = await ScriptedBroker.listen()
    const { connection } = connect([broker])
    const pending = connection.send(1, heartbeat, LONG)
    await broker.until(() => broker.connections === 1)
    connection.destroy()
    expect(await pending).toEqual(failed('disconnect'))
    await broker.until(() => broker.sockets.size === 0)
    expect(broker.seen).toEqual([])
  })

  test('at once after send: nothing is opened', async () => {
    const broker = await ScriptedBroker.listen()
    const { connection } = connect([broker])
    const pending = connection.send(1, heartbeat, LONG)
    connection.destroy()
    expect(await pending).toEqual(failed('disconnect'))
    const other = connect([broker]).connection
    expect(await other.send(1, heartbeat, LONG)).toEqual(ok)
    await broker.until(() => broker.sockets.size === 1)
  })

  test('other connections of the wire live on', async () => {
    const broker = await ScriptedBroker.listen()
    const { wire, connection } = connect([broker])
    const other = wire.connect('fetch')
    opened.push(() => other.destroy())
    await Promise.all([connection.send(1, heartbeat, LONG), other.send(1, heartbeat, LONG)])
    connection.destroy()
    expect(await other.send(1, heartbeat, LONG)).toEqual(ok)
    await broker.until(() => broker.sockets.size === 1)
  })
})
