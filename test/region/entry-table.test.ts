/** Tables of entries against a plain map, with keys whose hashes are the same. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type EntryKey, EntryTable, idOf, type Place } from '../../src/region/entry-table.ts'
import { readStoreValue } from '../../src/region/layout.ts'

const NAMES = ['', 'a', 'b', 'ab', 'key-1', 'key-2', 'kéy', '\0', '\0\0', 'k'.repeat(300)]

const step = fc.record({
  kind: fc.constantFrom('set', 'delete', 'copy', 'reset', 'forget'),
  name: fc.nat(60),
  value: fc.string({ maxLength: 40 }),
})

/** Few hashes: many keys share one, or stand in each other's slots. */
function keyOf(n: number, hashes: number): EntryKey {
  const orderedKey = Buffer.from(NAMES[n] ?? `other ${n}`, 'utf8')
  return { orderedKey, hash: ((n % hashes) * 0x40000001) | 0 }
}

const textOf = (stored: Buffer | null | undefined): string | null | undefined =>
  stored ? readStoreValue(stored).value.toString() : stored

test('holds the newest entry of each key, whatever their hashes, through undo', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.constantFrom(1, 3, 61), (steps, hashes) => {
      const table = new EntryTable()
      const model = new Map<string, string | null>()
      const earlier: (readonly [EntryKey, Place | undefined, string | null | undefined])[] = []
      for (const { kind, name, value } of steps) {
        const key = keyOf(name, hashes)
        const id = idOf(key.orderedKey)
        if (kind === 'reset') {
          const [back, place, was] = earlier.pop() ?? []
          if (back === undefined) continue
          table.reset(back, place)
          if (was === undefined) model.delete(idOf(back.orderedKey))
          else model.set(idOf(back.orderedKey), was)
        } else if (kind === 'forget') {
          table.reset(key, undefined)
          model.delete(id)
          earlier.length = 0
        } else {
          earlier.push([key, table.place(key), model.get(id)])
          if (kind === 'copy') table.copy(key, stored(value))
          else table.set(key, 7, 5, kind === 'delete' ? null : Buffer.from(value))
          model.set(id, kind === 'delete' ? null : value)
        }
      }
      for (let n = 0; n <= 60; n++) {
        const key = keyOf(n, hashes)
        expect(textOf(table.get(key))).toBe(model.get(idOf(key.orderedKey)))
      }
      expect(table.size).toBe(model.size)
      const found = new Map<string, string | null>()
      table.forEach((place) => {
        const id = table.id(place)
        expect(found.has(id)).toBe(false)
        expect(idOf(table.key(place))).toBe(id)
        expect(table.keyBehind(Buffer.from('p'), place).toString('latin1')).toBe(`p${id}`)
        found.set(id, table.value(place)?.toString() ?? null)
      })
      expect([...found].sort()).toEqual([...model].sort())
      expect(table.byKey().from('', () => true)).toEqual([...model.keys()].sort())
    }),
  )
})

function stored(value: string): Buffer {
  const table = new EntryTable()
  const key = { orderedKey: Buffer.alloc(0), hash: 0 }
  table.set(key, 7, 5, Buffer.from(value))
  return table.get(key) as Buffer
}

test('keeps up the order of keys that somebody has asked for', () => {
  const table = new EntryTable()
  const keys = [3, 1, 2].map((n) => keyOf(n, 3)) as [EntryKey, EntryKey, EntryKey]
  table.set(keys[0], 0, 0, Buffer.from('x'))
  const ids = table.byKey()
  table.set(keys[1], 0, 0, Buffer.from('x'))
  table.copy(keys[2], null)
  table.reset(keys[0], undefined)
  expect(ids.from('', () => true)).toEqual(['a', 'b'])
})
