/** What every body of the `Registry` port does. */
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Registry } from '../../src/ports.ts'
import { avro } from '../../src/serde/index.ts'
import { opened } from './support.ts'

export interface RegistryUnderTest {
  readonly registry: Registry
  /** From here on a schema of the subject must read the one before it; there is one already. */
  strict?(subject: string): Promise<void>
}

const ORIGIN = { name: 'origin', type: 'string' }
const DELAY = { name: 'delay', type: 'int', default: 0 }

export function registryContract(body: string, open: () => Promise<RegistryUnderTest>): void {
  describe(`${body} as a registry`, () => {
    // A registry that others use, too, keeps what earlier runs have written.
    const unique = (name: string): string => `${name}_${randomUUID().replaceAll('-', '')}`
    const flight = (name: string, ...fields: object[]): string =>
      JSON.stringify({ type: 'record', name, namespace: 'com.example', fields })

    test('a schema has one id, under all its subjects, whoever asks', async () => {
      const { registry } = await open()
      const [name, subject] = [unique('Flight'), unique('flights')]
      const id = await registry.idOf(`${subject}-value`, flight(name, ORIGIN))
      expect(Number.isInteger(id)).toBe(true)
      expect(await registry.idOf(`${subject}-value`, flight(name, ORIGIN))).toBe(id)
      expect(await registry.idOf(`${subject}-key`, flight(name, ORIGIN))).toBe(id)
      const others = await Promise.all(
        ['a', 'b', 'a', 'b'].map((field) =>
          registry.idOf(`${subject}-${field}`, flight(name, { ...ORIGIN, name: field })),
        ),
      )
      expect(new Set([id, ...others]).size).toBe(3)
      expect(others.slice(0, 2)).toEqual(others.slice(2))
    })

    test('an id gives the schema back', async () => {
      const { registry } = await open()
      const name = unique('Flight')
      const schema = flight(name, ORIGIN, DELAY, {
        name: 'at',
        type: { type: 'long', logicalType: 'timestamp-millis', 'connect.name': 'Ünï' },
        doc: 'departure',
      })
      const id = await registry.idOf(`${name}-value`, schema)
      expect(JSON.parse(await registry.schemaOf(id))).toEqual(JSON.parse(schema))
      if (registry.cached) expect(JSON.parse(registry.cached(id) ?? '')).toEqual(JSON.parse(schema))
      const number = await registry.idOf(`${name}-key`, '"long"')
      expect(JSON.parse(await registry.schemaOf(number))).toBe('long')
    })

    test.each([2_147_483_647, -1])('nobody knows id %d: SCHEMA_UNKNOWN', async (id) => {
      const { registry } = await open()
      await expect(registry.schemaOf(id)).rejects.toMatchObject({
        code: 'SCHEMA_UNKNOWN',
        kind: 'user',
        details: { id },
      })
      expect(registry.cached?.(id)).toBeUndefined()
    })

    test('what cannot read its predecessor is SCHEMA_REJECTED; those registered before stay', async () => {
      const { registry, strict } = await open()
      const [name, subject] = [unique('Flight'), unique('flights')]
      const first = await registry.idOf(subject, flight(name, ORIGIN))
      await strict?.(subject)
      const refused = registry.idOf(subject, flight(name, ORIGIN, { name: 'delay', type: 'int' }))
      await expect(refused).rejects.toMatchObject({
        code: 'SCHEMA_REJECTED',
        kind: 'user',
        message: expect.stringContaining(`"${subject}"`),
        details: { subject },
      })
      const second = await registry.idOf(subject, flight(name, ORIGIN, DELAY))
      expect(second).not.toBe(first)
      expect(await registry.idOf(subject, flight(name, ORIGIN))).toBe(first)
    })

    test('what is no schema is not taken', async () => {
      const { registry } = await open()
      await expect(registry.idOf(unique('flights'), '{"type":"nonsense"}')).rejects.toMatchObject({
        code: expect.stringMatching(/^SCHEMA_(INVALID|REJECTED)$/),
        kind: 'user',
      })
    })

    test('carries values from one version of a schema to another', async () => {
      const { registry } = await open()
      const [name, topic] = [unique('Flight'), unique('flights')]
      const old = await opened(avro<object>(flight(name, ORIGIN)), { registry, topic })
      const present = await opened(avro<object>(flight(name, ORIGIN, DELAY)), { registry, topic })
      for (const [writer, reader, read] of [
        [old, present, { origin: 'JFK', delay: 0 }],
        [present, old, { origin: 'JFK' }],
      ] as const) {
        const bytes = writer.encode({ origin: 'JFK', delay: 7 })
        await reader.prepare?.(bytes)
        expect(reader.decode(bytes)).toEqual(read)
      }
    })
  })
}
