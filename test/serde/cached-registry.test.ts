import { describe, expect, test } from 'vitest'
import type { Registry } from '../../src/ports.ts'
import { avro, cachedRegistry, localRegistry } from '../../src/serde/index.ts'
import { memoryDisk } from '../../src/store/index.ts'

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
