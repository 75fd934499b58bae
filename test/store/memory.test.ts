import { describe, expect, test } from 'vitest'
import { memoryDisk } from '../../src/store/memory-disk.ts'
import { code, diskContract, entriesOf, text } from './contract.ts'

describe('memory disk', () => {
  diskContract(async () => memoryDisk())

  test('a crash stops every handle, frees its lock and keeps what was answered', async () => {
    const disk = memoryDisk()
    const store = await disk.open('s')
    await store.write([[text('a'), text('1')]])
    const range = store.range({})[Symbol.asyncIterator]()
    const unanswered = store.write([[text('b'), text('1')]])
    disk.crash()
    expect(await code(() => unanswered)).toBe('STORE_CLOSED')
    expect(await code(() => store.write([[text('a'), text('2')]]))).toBe('STORE_CLOSED')
    expect(await code(() => store.getSync(text('a')))).toBe('STORE_CLOSED')
    expect(await code(() => range.next())).toBe('STORE_CLOSED')
    const again = await disk.open('s')
    expect(await entriesOf(again.range({}))).toEqual(['61=31'])
    // The dead handle's close must not free the new handle's lock.
    await store.close()
    expect(await code(() => disk.open('s'))).toBe('DISK_LOCKED')
    await again.close()
  })

  test('a write called before close but not answered dies with a crash', async () => {
    const disk = memoryDisk()
    const store = await disk.open('s')
    const write = store.write([[text('a'), text('1')]])
    const closed = store.close()
    disk.crash()
    expect(await code(() => write)).toBe('STORE_CLOSED')
    await closed
    expect(await entriesOf((await disk.open('s')).range({}))).toEqual([])
  })

  test('power loss takes unsynced writes, whole and newest first', async () => {
    const disk = memoryDisk()
    const store = await disk.open('s')
    await store.write([[text('a'), text('1')]])
    await store.write([
      [text('a'), text('2')],
      [text('b'), text('2')],
    ])
    await store.write([
      [text('a'), null],
      [text('a'), text('3')],
      [text('a'), null],
    ])
    const told: [number, string][] = []
    disk.crash({
      loseUnsynced: (unsynced, path) => {
        told.push([unsynced, path])
        return 1
      },
    })
    expect(told).toEqual([[3, 's']])
    const again = await disk.open('s')
    expect(await entriesOf(again.range({}))).toEqual(['61=32', '62=32'])
  })

  test('opening syncs what was there; closing does not', async () => {
    const disk = memoryDisk()
    const first = await disk.open('s')
    await first.write([[text('a'), text('1')]])
    await first.close()
    const second = await disk.open('s')
    await second.write([[text('b'), text('1')]])
    await second.close()
    disk.crash({ loseUnsynced: true })
    const third = await disk.open('s')
    expect(await entriesOf(third.range({}))).toEqual(['61=31'])
  })

  test('after a crash a store is not as it was closed; after a loss of power only if it has lost something', async () => {
    const disk = memoryDisk()
    await disk.open('s')
    disk.crash()
    const second = await disk.open('s')
    expect(second.asClosed).toBe(false)
    await second.write([[text('a'), text('1')]])
    await second.close()
    disk.crash()
    const third = await disk.open('s')
    expect(third.asClosed).toBe(true)
    await third.write([[text('a'), text('2')]])
    await third.close()
    disk.crash({ loseUnsynced: true })
    const fourth = await disk.open('s')
    expect(fourth.asClosed).toBe(false)
    expect(await entriesOf(fourth.range({}))).toEqual(['61=31'])
  })

  test('damage: a write that is gone from among others, a bit that has flipped', async () => {
    const disk = memoryDisk()
    const store = await disk.open('s')
    const write = (...entries: [string, string][]) =>
      store.write(entries.map(([key, value]) => [text(key), text(value)] as const))
    await write(['a', '1'], ['b', '1'])
    await write(['a', '2'], ['c', '2'])
    await write(['a', '3'])
    expect(
      disk.damage('s', 'lostWrite', () => 1),
      'it is open',
    ).toBe(false)
    await store.close()
    expect(disk.damage('s', 'lostWrite', () => 1)).toBe(true)
    const again = await disk.open('s')
    expect(again.asClosed).toBe(false)
    expect(await entriesOf(again.range({}))).toEqual(['61=33', '62=31'])
    await again.close()
    expect(disk.damage('s', 'flippedBit', (choices) => choices - 1)).toBe(true)
    const last = await disk.open('s')
    expect(last.asClosed).toBe(false)
    expect(await entriesOf(last.range({}))).toEqual(['61=33', '62=b1'])
    expect(disk.damage('nothing', 'flippedBit', () => 0)).toBe(false)
  })

  test('texts outlive power loss', async () => {
    const disk = memoryDisk()
    await disk.writeText('id', 'x')
    disk.crash({ loseUnsynced: true })
    expect(await disk.readText('id')).toBe('x')
  })

  test('a full disk fails writes, and a handle that met it stays broken', async () => {
    const disk = memoryDisk()
    const store = await disk.open('s')
    await store.write([[text('a'), text('1')]])
    disk.full = true
    expect(await code(() => store.write([[text('a'), text('2')]]))).toBe('DISK_FAILED')
    expect(await code(() => disk.writeText('id', 'x'))).toBe('DISK_FAILED')
    disk.full = false
    expect(await code(() => store.write([[text('a'), text('3')]]))).toBe('DISK_FAILED')
    expect(await entriesOf(store.range({}))).toEqual(['61=31'])
    await store.close()
    const again = await disk.open('s')
    await again.write([[text('a'), text('3')]])
    expect(await entriesOf(again.range({}))).toEqual(['61=33'])
  })

  test('ranges over a changing table stay cheap', async () => {
    // Not a measure: a quadratic body would run into the time-out.
    const disk = memoryDisk()
    const store = await disk.open('s')
    await store.write(Array.from({ length: 100_000 }, (_, n) => [text(String(n)), text('x')] as const))
    for (let n = 0; n < 100; n++) {
      await store.write([[text(String(n)), text('y')]])
      for (let m = 0; m < 100; m++) {
        await store
          .range({ gte: text(String(m)), limit: 1 })
          [Symbol.asyncIterator]()
          .next()
      }
    }
  })
})
