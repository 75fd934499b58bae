import { describe, expect, test } from 'vitest'
import { DruseError } from '../../src/errors.ts'
import type { Registry } from '../../src/ports.ts'
import { avro, cachedRegistry, localRegistry } from '../../src/serde/index.ts'
import { memoryDisk } from '../../src/store/index.ts'
import { silentLogger } from '../../src/system.ts'

const V1 = { type: 'record', name: 'Flight', fields: [{ name: 'origin', type: 'string' }] }
const V2 = {
  ...V1,
  fields: [...V1.fields, { name: 'delay', type: 'int', default: 0 }],
}
const at = { topic: 'state', part: 'value', writes: true } as const
const down: Registry = {
  idOf: () => Promise.reject(new Error('down')),
  schemaOf: () => Promise.reject(new Error('down')),
}

describe('cached registry', () => {
  test('state of an earlier run and an earlier schema is read without asking', async () => {
    const service = localRegistry(memoryDisk())
    const disk = memoryDisk()
    const before = await avro(V1).open({ ...at, registry: await cachedRegistry(service, disk) })
    const stored = before.encode({ origin: 'JFK' })

    const registry = await cachedRegistry(service, disk)
    const after = await avro(V2).open({ ...at, registry })
    expect(after.decode(stored)).toEqual({ origin: 'JFK', delay: 0 })
  })

  test('what it knows it tells while the registry is down; what it does not know is not made up', async () => {
    const service = localRegistry(memoryDisk())
    const disk = memoryDisk()
    const id = await (await cachedRegistry(service, disk)).idOf('a-value', JSON.stringify(V1))
    const registry = await cachedRegistry(down, disk)
    expect(registry.cached?.(id)).toBe(JSON.stringify(V1))
    expect(await registry.schemaOf(id)).toBe(JSON.stringify(V1))
    expect(registry.cached?.(id + 1)).toBeUndefined()
    await expect(registry.schemaOf(id + 1)).rejects.toThrow('down')
  })

  describe('while the registry is down', () => {
    const text = (version: object): string => JSON.stringify(version)
    const unavailable: Registry = {
      idOf: async () => {
        throw new DruseError('REGISTRY_UNAVAILABLE', 'down')
      },
      schemaOf: async () => {
        throw new DruseError('REGISTRY_UNAVAILABLE', 'down')
      },
    }
    const diskAfter = async (...schemas: [subject: string, schema: string][]) => {
      const disk = memoryDisk()
      const registry = await cachedRegistry(localRegistry(memoryDisk()), disk)
      for (const [subject, schema] of schemas) await registry.idOf(subject, schema)
      return disk
    }

    test('a subject’s schema keeps its id, in later runs too; it is told once', async () => {
      const disk = await diskAfter(['other', '"long"'], ['a-value', text(V1)], ['b-value', text(V1)])
      const told: string[] = []
      const logger = { ...silentLogger, warn: (_: object, message: string) => told.push(message) }
      const registry = await cachedRegistry(unavailable, disk, { logger })
      expect(await registry.idOf('a-value', text(V1))).toBe(2)
      expect(await registry.idOf('b-value', text(V1))).toBe(2)
      expect(told).toEqual(['schema registry: down, going on with the ids of an earlier run'])
    })

    test('a schema or a subject that is new is not made up', async () => {
      const disk = await diskAfter(['a-value', text(V1)], ['a-value', text(V2)])
      const registry = await cachedRegistry(unavailable, disk)
      expect(await registry.idOf('a-value', text(V2))).toBe(2)
      for (const [subject, schema] of [
        ['a-value', text(V1)],
        ['b-value', text(V2)],
        ['a-value', '"long"'],
      ] as const) {
        await expect(registry.idOf(subject, schema)).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' })
      }
    })

    test.each(['REGISTRY_REFUSED', 'SCHEMA_REJECTED', 'SCHEMA_NOT_REGISTERED'] as const)(
      'but its %s counts',
      async (code) => {
        const disk = await diskAfter(['a-value', text(V1)])
        const refusing: Registry = {
          ...unavailable,
          idOf: async () => {
            throw new DruseError(code, 'no')
          },
        }
        const registry = await cachedRegistry(refusing, disk)
        await expect(registry.idOf('a-value', text(V1))).rejects.toMatchObject({ code })
      },
    )

    test('it is asked again when it has answered once', async () => {
      const disk = await diskAfter(['a-value', text(V1)])
      const answers: (number | undefined)[] = [undefined, 1, 1]
      const registry = await cachedRegistry(
        { ...unavailable, idOf: async (...asked) => answers.shift() ?? unavailable.idOf(...asked) },
        disk,
      )
      expect(await registry.idOf('a-value', text(V1))).toBe(1)
      expect(answers).toHaveLength(2)
      expect(await registry.idOf('c-value', text(V1))).toBe(1)
      expect(await registry.idOf('a-value', text(V1))).toBe(1)
      expect(answers).toHaveLength(0)
    })
  })

  test('a registry whose ids mean something else is REGISTRY_CHANGED', async () => {
    const disk = memoryDisk()
    await (await cachedRegistry(localRegistry(memoryDisk()), disk)).idOf('a-value', JSON.stringify(V1))
    const kept = await disk.readText('schema-cache.json')
    const registry = await cachedRegistry(localRegistry(memoryDisk()), disk)
    await expect(registry.idOf('b-value', '"long"')).rejects.toMatchObject({
      code: 'REGISTRY_CHANGED',
      details: { id: 1, subject: 'b-value' },
    })
    expect(await disk.readText('schema-cache.json')).toBe(kept)
    // Another spelling is the same schema.
    const spelled = await cachedRegistry(localRegistry(memoryDisk()), disk)
    expect(await spelled.idOf('a-value', JSON.stringify({ ...V1, fields: V1.fields }, null, 2))).toBe(1)
  })

  test('a file of an earlier version is read', async () => {
    const disk = memoryDisk()
    await disk.writeText('schema-cache.json', JSON.stringify({ version: 1, schemas: { 7: '"long"' } }))
    const registry = await cachedRegistry(down, disk)
    expect(registry.cached?.(7)).toBe('"long"')
  })

  test('a schema that cannot be kept is not used', async () => {
    const service = localRegistry(memoryDisk())
    const disk = memoryDisk()
    const registry = await cachedRegistry(service, {
      ...disk,
      root: disk.root,
      readText: (path) => disk.readText(path),
      writeText: () => Promise.reject(new Error('disk full')),
    } as typeof disk)
    await expect(registry.idOf('a-value', JSON.stringify(V1))).rejects.toThrow('disk full')
    expect(registry.cached?.(1)).toBeUndefined()
  })

  test('a damaged file is told, and not overwritten', async () => {
    const disk = memoryDisk()
    await disk.writeText('schema-cache.json', '{"version":')
    await expect(cachedRegistry(down, disk)).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    expect(await disk.readText('schema-cache.json')).toBe('{"version":')
  })
})
