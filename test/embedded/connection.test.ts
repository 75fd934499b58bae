import { describe, expect, test } from 'vitest'
import type { Connection, Outcome, Request } from '../../src/ports.ts'
import { batch } from '../contract/fixture.ts'
import { Assembly } from './assembly.ts'

const DISCONNECT = { ok: false, reason: 'disconnect' }
const METADATA: Request = { api: 'Metadata', topics: [] }

async function open() {
  const assembly = await Assembly.open()
  const s = assembly.session
  const place = { topic: await s.topic(), partition: 0 }
  const order: string[] = []
  const send = (connection: Connection, name: string, request: Request, timeoutMs = 100_000) => {
    const sent: Promise<Outcome<unknown>> = connection.send(0, request, timeoutMs)
    sent.then(({ ok }) => order.push(ok ? name : `${name} failed`))
    return sent
  }
  const poll: Request = {
    api: 'Fetch',
    maxWaitMs: 5_000,
    minBytes: 1,
    maxBytes: 1000,
    isolation: 'read_uncommitted',
    partitions: [{ ...place, offset: 0, maxBytes: 1000 }],
  }
  return { assembly, s, place, order, send, poll }
}

describe('A connection', () => {
  test('answers in order: a long poll holds back what is behind it', async () => {
    const { assembly, s, order, send, poll } = await open()
    const connection = s.connect('fetch')
    send(connection, 'poll', poll)
    const second = send(connection, 'metadata', METADATA)
    await assembly.clock.advance(4_999)
    expect(order).toEqual([])
    await assembly.clock.advance(1)
    await second
    expect(order).toEqual(['poll', 'metadata'])
  })

  test('does not hold back another one', async () => {
    const { assembly, s, order, send, poll } = await open()
    send(s.connect('fetch'), 'poll', poll)
    await send(s.connect('fetch'), 'metadata', METADATA)
    expect(order).toEqual(['metadata'])
    await assembly.clock.advance(5_000)
    expect(order).toEqual(['metadata', 'poll'])
  })

  test('a JoinGroup that waits for others holds back the heartbeat behind it', async () => {
    const { assembly, s, order, send } = await open()
    const join: Request = {
      api: 'JoinGroup',
      groupId: 'group',
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 60_000,
      memberId: '',
      groupInstanceId: 'one',
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: Buffer.alloc(0) }],
    }
    await send(s.connect('group'), 'first', join)
    const connection = s.connect('group')
    send(connection, 'second', { ...join, groupInstanceId: 'two' })
    const membership = { groupId: 'group', generationId: 1, memberId: 'x', groupInstanceId: null }
    send(connection, 'heartbeat', { api: 'Heartbeat', ...membership })
    await assembly.clock.advance(5_000)
    expect(order).toEqual(['first'])
    // The first one's session ends, and the group goes on without it.
    await assembly.clock.advance(5_000)
    expect(order).toEqual(['first', 'second', 'heartbeat'])
  })

  test('a request that runs out of time is carried out all the same', async () => {
    const { assembly, s, place, order, send, poll } = await open()
    const connection = s.connect('produce')
    send(connection, 'poll', poll)
    const records = batch([['a', '1']])
    const produce: Request = {
      api: 'Produce',
      transactionalId: null,
      acks: -1,
      timeoutMs: 1000,
      partitions: [{ ...place, records }],
    }
    const outcome = send(connection, 'produce', produce, 1_000)
    await assembly.clock.advance(1_000)
    expect(await outcome).toEqual({ ok: false, reason: 'timeout' })
    expect(order).toEqual(['produce failed'])
    await assembly.clock.advance(4_000)
    expect(await s.offset(place, 'latest', 'read_uncommitted')).toBe(1)
  })

  test('the sender may write over a batch once it is sent', async () => {
    const { assembly, s, place } = await open()
    const records = batch([['a', '1']])
    const sent = s.produce(place, records)
    records.fill(0)
    await assembly.clock.advance(0)
    expect((await sent).errorCode).toBe(0)
  })

  test('destroyed: everything under way and all that follows is a disconnect', async () => {
    const { s, send, poll } = await open()
    const connection = s.connect('fetch')
    const under = [send(connection, 'poll', poll), send(connection, 'metadata', METADATA)]
    connection.destroy()
    expect(await Promise.all(under)).toEqual([DISCONNECT, DISCONNECT])
    expect(await connection.send(0, METADATA, 1000)).toEqual(DISCONNECT)
  })

  test('destroyed: what waits behind another request is not carried out', async () => {
    const { assembly, s, place, send, poll } = await open()
    await s.produce(place, batch([['a', '1']]))
    const connection = s.connect('fetch')
    send(connection, 'poll', { ...poll, minBytes: 100_000 } as Request)
    const partitions = [{ ...place, offset: -1 }]
    send(connection, 'delete', { api: 'DeleteRecords', partitions, timeoutMs: 1000 })
    await assembly.clock.advance(100)
    connection.destroy()
    await assembly.clock.advance(10_000)
    expect(await s.offset(place, 'earliest', 'read_uncommitted')).toBe(0)
  })

  test('to a node that is not there: a disconnect', async () => {
    const { s } = await open()
    expect(await s.connect('admin').send(1, METADATA, 1000)).toEqual(DISCONNECT)
  })

  test('of a closed broker: a disconnect, also for what waits', async () => {
    const { assembly, s, send, poll } = await open()
    const connection = s.connect('fetch')
    const waiting = send(connection, 'poll', poll)
    await assembly.broker.close()
    expect(await waiting).toEqual(DISCONNECT)
    expect(await connection.send(0, METADATA, 1000)).toEqual(DISCONNECT)
    expect(await assembly.broker.wire().connect('admin').send(0, METADATA, 1000)).toEqual(DISCONNECT)
    expect(assembly.clock.wakeCount).toBe(0)
  })
})
