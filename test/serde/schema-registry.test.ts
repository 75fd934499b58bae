/** What a registry service does to those who ask it: it is down, slow, broken, elsewhere, or says no. */
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DruseError } from '../../src/errors.ts'
import type { Clock, Registry } from '../../src/ports.ts'
import { avro, schemaRegistry } from '../../src/serde/index.ts'
import { systemClock } from '../../src/system.ts'
import { type Fault, RegistryServer } from './registry-server.ts'
import { failing, opened } from './support.ts'

const FLIGHT = JSON.stringify({
  type: 'record',
  name: 'Flight',
  fields: [{ name: 'origin', type: 'string' }],
})

let server: RegistryServer
beforeEach(async () => {
  server = await RegistryServer.open()
})
afterEach(() => server.stop())

/** Its time is that of its pauses and time-outs alone, however busy the machine is. */
function clockOfPauses(): Clock {
  let nowMs = 0
  return {
    ...systemClock,
    monotonicMs: () => nowMs,
    wake: (delayMs, callback) =>
      systemClock.wake(delayMs, () => {
        nowMs += delayMs
        callback()
      }),
  }
}

const impatient = (): Registry =>
  schemaRegistry({ url: server.url, timeoutMs: 200, retryMs: 400, clock: clockOfPauses() })
const json = (status: number, body: unknown): Fault => ({
  status,
  body: JSON.stringify(body),
  headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
})
const UNKNOWN = json(404, { error_code: 40403, message: 'Schema not found' })

describe('requests', () => {
  test('are those of Confluent’s interface', async () => {
    const registry = schemaRegistry({
      url: `${server.url}/`,
      auth: { username: 'ann', password: 's3cret:ü' },
      headers: { 'x-tenant': 'blue' },
    })
    const id = await registry.idOf('a b/c-value', FLIGHT)
    await registry.schemaOf(id)
    expect(server.paths()).toEqual(['POST /subjects/a%20b%2Fc-value/versions', `GET /schemas/ids/${id}`])
    expect(JSON.parse(server.asked[0]?.body ?? '')).toEqual({ schema: FLIGHT })
    for (const { headers } of server.asked) {
      expect(headers['content-type']).toBe('application/vnd.schemaregistry.v1+json')
      expect(headers['x-tenant']).toBe('blue')
      expect(Buffer.from(headers.authorization?.split(' ')[1] ?? '', 'base64').toString()).toBe(
        'ann:s3cret:ü',
      )
    }
  })

  test('credentials may stand in the url, a path may precede', async () => {
    const registry = schemaRegistry({ url: `${server.url.replace('//', '//ann:s%40fe@')}/apis/ccompat/v7` })
    server.fault = () => json(200, { id: 5 })
    expect(await registry.idOf('a', FLIGHT)).toBe(5)
    const [asked] = server.asked
    expect(asked?.path).toBe('/apis/ccompat/v7/subjects/a/versions')
    expect(asked?.headers.authorization).toBe(`Basic ${Buffer.from('ann:s@fe').toString('base64')}`)
  })

  test('an id is asked for once, by all who wait and all who come later', async () => {
    const registry = schemaRegistry({ url: server.url })
    const id = await registry.idOf('a', FLIGHT)
    const schemas = await Promise.all([registry.schemaOf(id), registry.schemaOf(id)])
    expect([...schemas, await registry.schemaOf(id)]).toEqual([FLIGHT, FLIGHT, FLIGHT])
    expect(server.paths().filter((path) => path.startsWith('GET'))).toHaveLength(1)
  })

  test('autoRegister: false looks up and says how to register', async () => {
    const registry = schemaRegistry({ url: server.url, autoRegister: false, retryMs: 100 })
    server.fault = () => json(200, { subject: 'a', version: 1, id: 7, schema: FLIGHT })
    expect(await registry.idOf('a', FLIGHT)).toBe(7)
    for (const code of [40401, 40403]) {
      server.fault = () => json(404, { error_code: code, message: 'not found' })
      const error = await registry.idOf('flights-value', FLIGHT).catch((cause) => cause)
      expect(error).toMatchObject({
        code: 'SCHEMA_NOT_REGISTERED',
        kind: 'user',
        details: { subject: 'flights-value', schema: FLIGHT },
      })
      expect(error.message).toMatch(/not registered under subject "flights-value".*POST.*\/versions/)
    }
    expect(server.paths()).toEqual([
      'POST /subjects/a',
      'POST /subjects/flights-value',
      'POST /subjects/flights-value',
    ])
  })

  test.each([
    ['url', { url: 'registry:8081' }],
    ['url', { url: '' }],
    ['url', { url: 'kafka://ann:s3cret@registry' }],
    ['timeoutMs', { url: 'http://registry', timeoutMs: 0 }],
    ['retryMs', { url: 'http://registry', retryMs: Number.NaN }],
  ])('a wrong %s is refused at once: %j', (name, options) => {
    const error = failing('OPTION_INVALID', () => schemaRegistry(options))
    expect(error.message).toContain(name)
    expect(inspect(error)).not.toContain('s3cret')
  })
})

describe('a registry that fails', () => {
  const faults: [string, Fault][] = [
    ['does not answer', 'hang'],
    ['answers byte by byte without an end', 'drip'],
    ['closes the connection', 'reset'],
    ['closes it within its answer', 'cut'],
    ['answers 500', json(500, { error_code: 50001, message: 'store down' })],
    ['answers 500 with null', json(500, null)],
    ['answers 502 with a page', { status: 502, body: '<html>Bad gateway</html>' }],
    ['answers 503', { status: 503 }],
    ['answers 429', json(429, { message: 'slow down' })],
    ['answers 408', { status: 408 }],
    ['answers 200 with a page', { status: 200, body: '<html>Welcome</html>' }],
    ['answers 200 with nothing', { status: 204 }],
    ['answers 200 with null', json(200, null)],
    ['answers with something else', json(200, { id: 'x', schema: 5 })],
    ['answers too much', json(200, { id: 1, schema: FLIGHT, more: ' '.repeat(17 * 1024 * 1024) })],
  ]
  test.each(faults)('%s: asked again until the time is over', async (_, fault) => {
    server.fault = () => fault
    const registry = impatient()
    for (const call of [() => registry.idOf('a', FLIGHT), () => registry.schemaOf(1)]) {
      const before = server.asked.length
      const error = await call().catch((cause) => cause)
      expect(error).toMatchObject({ code: 'REGISTRY_UNAVAILABLE', kind: 'transient' })
      expect(error.message).toContain(server.url)
      expect(server.asked.length - before).toBeGreaterThan(1)
    }
  })

  test.each(faults)('%s, twice: it goes on', async (_, fault) => {
    const registry = schemaRegistry({ url: server.url, timeoutMs: 500, clock: clockOfPauses() })
    const twice = (): ((asked: unknown) => Fault | undefined) => {
      let left = 2
      return () => (left-- > 0 ? fault : undefined)
    }
    server.fault = twice()
    const id = await registry.idOf('a', FLIGHT)
    server.fault = twice()
    expect(await registry.schemaOf(id)).toBe(FLIGHT)
    expect(server.asked.length).toBeGreaterThanOrEqual(6)
  })

  test('nobody listens: the same; and it is found when it is back', async () => {
    const registry = impatient()
    const id = await registry.idOf('a', FLIGHT)
    await server.stop()
    const error = await registry.schemaOf(id).catch((cause) => cause)
    expect(error).toMatchObject({ code: 'REGISTRY_UNAVAILABLE' })
    expect(error.message).toContain('ECONNREFUSED')
    await server.start()
    expect(await registry.schemaOf(id)).toBe(FLIGHT)
  })

  test('there is no such host', async () => {
    const registry = schemaRegistry({ url: 'http://registry.invalid', retryMs: 0 })
    await expect(registry.schemaOf(1)).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' })
  })
})

describe('a registry that refuses', () => {
  test.each([
    [401, json(401, { error_code: 40101, message: 'Unauthorized' }), /auth/],
    [403, json(403, { error_code: 40301, message: 'User is denied' }), /User is denied.*auth/],
    [400, { status: 400 }, /url/],
    [404, { status: 404, body: 'default backend - 404' }, /url/],
    [404, json(404, { error_code: 404, message: 'HTTP 404 Not Found' }), /url/],
    [409, { status: 409, body: 'conflict' }, /url/],
    [422, { status: 422 }, /url/],
  ] as [number, Fault, RegExp][])(
    '%d is no verdict about a schema, and told at once',
    async (status, fault, hint) => {
      server.fault = () => fault
      const registry = impatient()
      for (const call of [() => registry.idOf('a', FLIGHT), () => registry.schemaOf(1)]) {
        const before = server.asked.length
        const error = await call().catch((cause) => cause)
        expect(error).toMatchObject({ code: 'REGISTRY_REFUSED', kind: 'fatal', details: { status } })
        expect(error.message).toMatch(hint)
        expect(server.asked.length - before).toBe(1)
      }
    },
  )

  test('a redirect is not followed: credentials stay here', async () => {
    await using other = await RegistryServer.open()
    for (const status of [301, 302, 307, 308]) {
      server.fault = () => ({ status, headers: { location: `${other.url}/schemas/ids/1` } })
      const registry = schemaRegistry({ url: server.url, auth: { username: 'ann', password: 's3cret' } })
      await expect(registry.schemaOf(1)).rejects.toMatchObject({
        code: 'REGISTRY_REFUSED',
        message: expect.stringContaining('Redirects are not followed'),
      })
    }
    expect(other.asked).toEqual([])
  })
})

describe('an id that the registry does not know', () => {
  test('is asked for again: a replica learns of it later than we of its records', async () => {
    const registry = schemaRegistry({ url: server.url })
    const id = await registry.idOf('a', FLIGHT)
    let left = 2
    server.fault = () => (left-- > 0 ? UNKNOWN : undefined)
    expect(await registry.schemaOf(id)).toBe(FLIGHT)
  })

  test('is then not asked for, for half a minute', async () => {
    let laterMs = 0
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + laterMs }
    const registry = schemaRegistry({ url: server.url, retryMs: 100, clock })
    await expect(registry.schemaOf(9)).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN' })
    const asked = server.asked.length
    for (let i = 0; i < 20; i++) {
      await expect(registry.schemaOf(9)).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN', details: { id: 9 } })
    }
    expect(server.asked).toHaveLength(asked)
    server.fault = () => json(200, { schema: FLIGHT })
    laterMs = 31_000
    expect(await registry.schemaOf(9)).toBe(FLIGHT)
  })

  test('is not asked for when no registry ever gives it', async () => {
    await expect(impatient().schemaOf(-5)).rejects.toMatchObject({
      code: 'SCHEMA_UNKNOWN',
      details: { id: -5 },
    })
    expect(server.asked).toEqual([])
  })

  test('is named in the error of the record', async () => {
    const registry = schemaRegistry({ url: server.url, retryMs: 0 })
    const codec = await opened(avro(FLIGHT), { registry })
    const bytes = Buffer.from('0000000063', 'hex')
    await expect(codec.prepare?.(bytes)).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN' })
    const error = failing('DECODE_FAILED', () => codec.decode(bytes))
    expect(error.message).toContain(`${server.url} has no schema with id 99`)
  })
})

describe('schemas', () => {
  test.each(['PROTOBUF', 'JSON'])('of type %s are none of ours', async (schemaType) => {
    server.fault = () => json(200, { schema: 'syntax = "proto3";', schemaType })
    await expect(impatient().schemaOf(1)).rejects.toMatchObject({
      code: 'SCHEMA_INVALID',
      kind: 'user',
      message: expect.stringContaining(schemaType),
    })
  })

  const AIRPORT = {
    type: 'record',
    name: 'Airport',
    namespace: 'com.ports',
    fields: [{ name: 'place', type: 'com.example.Place' }],
  }
  const PLACE = {
    type: 'record',
    name: 'Place',
    namespace: 'com.example',
    fields: [
      { name: 'name', type: 'string' },
      { name: 'kind', type: ['null', 'Kind'], default: null },
    ],
  }
  const KIND = { type: 'enum', name: 'Kind', namespace: 'com.example', symbols: ['BIG', 'SMALL'] }
  const ROUTE = {
    type: 'record',
    name: 'Route',
    namespace: 'com.example',
    fields: [
      { name: 'from', type: 'com.ports.Airport' },
      { name: 'via', type: { type: 'array', items: 'com.ports.Airport' }, default: [] },
      { name: 'kinds', type: { type: 'map', values: 'Kind' }, default: {} },
    ],
  }
  const reference = (name: string, subject: string) => ({ name, subject, version: 2 })
  const referring = new Map<string, Fault>([
    [
      '/schemas/ids/1',
      json(200, { schema: JSON.stringify(ROUTE), references: [reference('com.ports.Airport', 'airport')] }),
    ],
    [
      '/subjects/airport/versions/2',
      json(200, { schema: JSON.stringify(AIRPORT), references: [reference('com.example.Place', 'place')] }),
    ],
    [
      '/subjects/place/versions/2',
      json(200, { schema: JSON.stringify(PLACE), references: [reference('com.example.Kind', 'kind')] }),
    ],
    ['/subjects/kind/versions/2', json(200, { schema: JSON.stringify(KIND), references: [] })],
  ])

  test('that refer to others are made whole', async () => {
    server.fault = ({ path }) => referring.get(path)
    const text = await impatient().schemaOf(1)
    const whole = avro<object>(text)
    server.fault = () => json(200, { id: 1 })
    const codec = await opened(whole, { registry: impatient() })
    const route = {
      from: { place: { name: 'JFK', kind: 'BIG' } },
      via: [{ place: { name: 'ORD', kind: null } }],
      kinds: { x: 'SMALL' },
    }
    expect(codec.decode(codec.encode(route))).toEqual(route)
    // Each type is written once, under its own name.
    expect(text.match(/"symbols"/g)).toHaveLength(1)
    expect(text.match(/"name":"Airport"/g)).toHaveLength(1)
  })

  test('that refer to what is gone are SCHEMA_INVALID; a registry that fails meanwhile is not', async () => {
    const gone = json(404, { error_code: 40401, message: 'Subject not found' })
    server.fault = ({ path }) => (path.includes('kind') ? gone : referring.get(path))
    await expect(impatient().schemaOf(1)).rejects.toMatchObject({ code: 'SCHEMA_INVALID', kind: 'user' })
    server.fault = ({ path }) => (path.includes('kind') ? { status: 500 } : referring.get(path))
    await expect(impatient().schemaOf(1)).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' })
  })

  test('that refer to each other come to an end', async () => {
    server.fault = ({ path }) =>
      path.startsWith('/schemas')
        ? referring.get(path)
        : json(200, {
            schema: JSON.stringify(AIRPORT),
            references: [reference('com.ports.Airport', 'airport')],
          })
    expect(await impatient().schemaOf(1)).toContain('Airport')
  })
})

test('credentials show nowhere, also when the registry repeats them', async () => {
  const password = 'p4ss-wörd'
  const token = Buffer.from(`ann:${password}`).toString('base64')
  const headers = { 'x-api-key': 'k3y-of-ours' }
  const registries = [
    schemaRegistry({
      url: server.url,
      auth: { username: 'ann', password },
      headers,
      retryMs: 0,
      timeoutMs: 100,
    }),
    schemaRegistry({
      url: server.url.replace('//', `//ann:${encodeURIComponent(password)}@`),
      headers,
      retryMs: 0,
      timeoutMs: 100,
    }),
  ]
  const faults: Fault[] = ['hang', 'reset']
  for (const status of [401, 409, 422, 429, 500, 404]) {
    for (const error_code of [status, 42201, 40401, 40403]) {
      const message = `you said Basic ${token}: ${password}, k3y-of-ours`
      faults.push(json(status, { error_code, message }))
    }
  }
  for (const fault of faults) {
    server.fault = () => fault
    for (const registry of registries) {
      for (const call of [() => registry.idOf('a', FLIGHT), () => registry.schemaOf(1)]) {
        const error = await call().catch((cause) => cause)
        expect(error).toBeInstanceOf(DruseError)
        const shown = inspect([error, registry], { depth: 10, showHidden: true }) + error.stack
        expect(shown).not.toContain(token)
        expect(shown).not.toContain(password)
        expect(shown).not.toContain(encodeURIComponent(password))
        expect(shown).not.toContain('k3y-of-ours')
      }
    }
  }
})
