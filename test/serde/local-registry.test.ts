import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { localRegistry } from '../../src/serde/local-registry.ts'
import { levelDisk } from '../../src/store/level-disk.ts'
import { memoryDisk } from '../../src/store/memory-disk.ts'

const flight = (...fields: object[]): string => JSON.stringify({ type: 'record', name: 'Flight', fields })
const ORIGIN = { name: 'origin', type: 'string' }
const DELAY = { name: 'delay', type: 'int', default: 0 }

test('ids begin at 1 and are the same for the same schema, whatever its spelling and subject', async () => {
  const registry = localRegistry(memoryDisk())
  expect(await registry.idOf('a-value', flight(ORIGIN))).toBe(1)
  expect(await registry.idOf('a-value', flight(ORIGIN))).toBe(1)
  expect(await registry.idOf('b-value', '"long"')).toBe(2)
  expect(await registry.idOf('b-key', '{"type": "long"}')).toBe(2)
  const spelled = '{ "name": "Flight",\n "fields": [{"type":"string", "name":"origin"}], "type":"record" }'
  expect(await registry.idOf('c-value', spelled)).toBe(1)
  expect(await registry.idOf('a-value', flight(ORIGIN, DELAY))).toBe(3)
  expect(await registry.schemaOf(3)).toBe(flight(ORIGIN, DELAY))
  expect(await registry.schemaOf(2)).toBe('"long"')
})

test('schemas that differ in a default are not the same', async () => {
  const registry = localRegistry(memoryDisk())
  expect(await registry.idOf('a-value', flight(DELAY))).toBe(1)
  expect(await registry.idOf('a-value', flight({ ...DELAY, default: 1 }))).toBe(2)
})

test('a schema keeps what avsc does not know', async () => {
  const registry = localRegistry(memoryDisk())
  const schema = JSON.stringify({ type: 'long', logicalType: 'timestamp-millis', 'connect.name': 'x' })
  const id = await registry.idOf('a-value', schema)
  expect(await registry.schemaOf(id)).toBe(schema)
})

test('an unknown id is SCHEMA_UNKNOWN', async () => {
  const registry = localRegistry(memoryDisk())
  await expect(registry.schemaOf(1)).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN', kind: 'user' })
})

test('what is no schema is SCHEMA_INVALID, and in nobody’s way', async () => {
  const registry = localRegistry(memoryDisk())
  const bad = registry.idOf('a-value', '{"type":"nonsense"}')
  const good = registry.idOf('a-value', '"string"')
  await expect(bad).rejects.toMatchObject({ code: 'SCHEMA_INVALID' })
  expect(await good).toBe(1)
})

test('a schema must read the latest of its subject', async () => {
  const registry = localRegistry(memoryDisk())
  expect(await registry.idOf('a-value', flight(ORIGIN))).toBe(1)
  const refused = registry.idOf('a-value', flight(ORIGIN, { name: 'delay', type: 'int' }))
  await expect(refused).rejects.toMatchObject({
    code: 'SCHEMA_REJECTED',
    details: { subject: 'a-value', latestId: 1 },
  })
  await expect(refused).rejects.toThrow(/"a-value".*delay/)
  expect(await registry.idOf('a-value', flight(ORIGIN, DELAY))).toBe(2)
  expect(await registry.idOf('a-value', flight(DELAY))).toBe(3)
  // Reads id 2, as it reads what both have; but the latest is id 3, which has no origin.
  await expect(
    registry.idOf('a-value', flight(ORIGIN, { name: 'x', type: 'int', default: 0 })),
  ).rejects.toMatchObject({
    code: 'SCHEMA_REJECTED',
  })
  // Registered before: a version that is still in use may start again.
  expect(await registry.idOf('a-value', flight(ORIGIN))).toBe(1)
  // Known under another subject only: compared all the same.
  expect(await registry.idOf('b-value', '"long"')).toBe(4)
  await expect(registry.idOf('b-value', flight(ORIGIN))).rejects.toMatchObject({ code: 'SCHEMA_REJECTED' })
  // A refusal writes nothing.
  await expect(registry.schemaOf(5)).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN' })
})

test('calls at once are answered one after another', async () => {
  const disk = memoryDisk()
  const registry = localRegistry(disk)
  const names = ['A', 'B', 'C', 'A', 'B', 'C'].map((name) =>
    JSON.stringify({ type: 'record', name, fields: [] }),
  )
  const ids = await Promise.all(names.map((schema, n) => registry.idOf(`s${n}`, schema)))
  expect(ids).toEqual([1, 2, 3, 1, 2, 3])
})

test('ids outlive the process and are shared by all who read the file', async () => {
  const root = await mkdtemp(join(tmpdir(), 'druse-registry-'))
  try {
    const [first, second] = [
      localRegistry(levelDisk(root), 'app/ids.json'),
      localRegistry(levelDisk(root), 'app/ids.json'),
    ]
    expect(await first.idOf('a-value', flight(ORIGIN))).toBe(1)
    expect(await second.idOf('b-value', '"long"')).toBe(2)
    expect(await first.idOf('c-value', '"string"')).toBe(3)
    expect(await second.schemaOf(3)).toBe('"string"')
    expect(JSON.parse((await levelDisk(root).readText('app/ids.json')) ?? '')).toEqual({
      version: 1,
      schemas: [
        { id: 1, schema: JSON.parse(flight(ORIGIN)) },
        { id: 2, schema: 'long' },
        { id: 3, schema: 'string' },
      ],
      subjects: { 'a-value': [1], 'b-value': [2], 'c-value': [3] },
    })
  } finally {
    await rm(root, { recursive: true, force: true })
  }
})

test.each(['', '{', '[]', 'null', '{"version":2,"schemas":[],"subjects":{}}', '{"version":1}'])(
  'a file that holds %j is not overwritten',
  async (content) => {
    const disk = memoryDisk()
    await disk.writeText('schemas.json', content)
    const registry = localRegistry(disk)
    await expect(registry.idOf('a-value', '"long"')).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    await expect(registry.schemaOf(1)).rejects.toThrow(/memory:\/schemas.json/)
    expect(await disk.readText('schemas.json')).toBe(content)
  },
)

test('subjects may have any name', async () => {
  const disk = memoryDisk()
  expect(await localRegistry(disk).idOf('__proto__', '"long"')).toBe(1)
  await expect(localRegistry(disk).idOf('__proto__', '"string"')).rejects.toMatchObject({
    code: 'SCHEMA_REJECTED',
  })
  expect(await localRegistry(disk).idOf('constructor', '"string"')).toBe(2)
})
