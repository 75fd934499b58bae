import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, describe, expect, test } from 'vitest'
import type { DruseError } from '../../src/errors.ts'
import type { Disk } from '../../src/ports.ts'
import { levelDisk } from '../../src/store/level-disk.ts'
import { BATCH_ENTRIES } from './child.ts'
import { code, diskContract, entriesOf, failure, text } from './contract.ts'

const roots: string[] = []
const children: ChildProcess[] = []

async function newRoot(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'druse-store-'))
  roots.push(root)
  return root
}

/** Starts child.ts; `fileBlocksMax` bounds the size of a file it may write, as a full disk would. */
function startChild(root: string, command: string, fileBlocksMax?: number) {
  const script = join(import.meta.dirname, 'child.ts')
  const limit = fileBlocksMax === undefined ? '' : `ulimit -f ${fileBlocksMax}; `
  const child = spawn('sh', ['-c', `${limit}exec "$0" "$@"`, process.execPath, script, root, command], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  const lines: AsyncIterator<string> = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const exited = once(child, 'exit')
  return {
    async line(): Promise<string | undefined> {
      const next = await lines.next()
      return next.done === true ? undefined : next.value
    },
    async kill(): Promise<void> {
      child.kill('SIGKILL')
      await exited
    },
  }
}

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const root of roots.splice(0)) await rm(root, { recursive: true, force: true })
})

/** The store's own files, by what they end with. */
async function filesOf(directory: string, ending: RegExp): Promise<string[]> {
  const names = (await readdir(directory)).filter((name) => ending.test(name))
  return names.map((name) => join(directory, name))
}

describe('level disk', () => {
  diskContract(async () => levelDisk(await newRoot()))

  describe('another process', () => {
    test('killed while it writes leaves whole batches, and all that were answered', async () => {
      const root = await newRoot()
      let answered = 0
      for (let round = 0; round < 3; round++) {
        const child = startChild(root, 'write')
        expect(await child.line()).toBe('open')
        for (let n = 0; n < 200 * (round + 1); n++) answered = Number(await child.line())
        await child.kill()
        // What it said before it died, beyond what was read so far.
        for (let line = await child.line(); line !== undefined; line = await child.line())
          answered = Number(line)

        const store = await levelDisk(root).open('s')
        const found = new Set<number>()
        let entries = 0
        for await (const [, value] of store.range({})) {
          found.add(Number(Buffer.from(value.subarray(0, 8)).toString()))
          entries++
        }
        await store.close()
        expect(entries).toBe(BATCH_ENTRIES)
        expect(found.size).toBe(1)
        const [last = 0] = found
        expect(last === answered || last === answered + 1).toBe(true)
      }
    })

    test('that holds a store keeps others out until it is gone', async () => {
      const root = await newRoot()
      const child = startChild(root, 'hold')
      expect(await child.line()).toBe('open')
      const disk = levelDisk(root)
      const error = await failure(() => disk.open('s'))
      expect(error.code).toBe('DISK_LOCKED')
      expect(error.message).toContain(join(root, 's'))
      expect(error.message).toContain('another process: stop that process')
      expect(await code(() => disk.moveAside('s'))).toBe('DISK_LOCKED')
      expect(await disk.list('')).toEqual(['s'])
      await child.kill()
      await (await disk.open('s')).close()
      expect(await disk.moveAside('s')).toBe('s.aside-1')
    })

    test('stays out although this process was refused a second handle', async () => {
      // LevelDB's own refusal drops the process's lock.
      const root = await newRoot()
      const store = await levelDisk(root).open('s')
      expect(await code(() => levelDisk(root).open('s'))).toBe('DISK_LOCKED')
      expect(await code(() => levelDisk(root).moveAside('s'))).toBe('DISK_LOCKED')
      const other = startChild(root, 'hold')
      expect(await other.line()).toBe('DISK_LOCKED')
      await store.write([[text('a'), text('1')]])
      await store.close()
    })

    test('a disk that takes no more fails the write with its cause; the handle takes none after it', async () => {
      const root = await newRoot()
      const child = startChild(root, 'fill', 256)
      expect(await child.line()).toBe('open')
      expect(await child.line()).toBe('DISK_FAILED')
      expect(await child.line()).toContain('after an earlier write failed')
      expect(await child.line()).toBe('done')
      expect(await child.line()).toBe('done')
    })
  })

  test('one store reached over two paths has one handle', async () => {
    const root = await newRoot()
    await mkdir(join(root, 'real'))
    await symlink(join(root, 'real'), join(root, 'link'))
    const store = await levelDisk(join(root, 'real')).open('s')
    expect(await code(() => levelDisk(join(root, 'link')).open('s'))).toBe('DISK_LOCKED')
    expect(await code(() => levelDisk(join(root, 'link')).moveAside('s'))).toBe('DISK_LOCKED')
    await store.close()
  })

  test('a root that cannot be a directory is DISK_FAILED with the cause', async () => {
    const root = join(await newRoot(), 'file')
    await writeFile(root, '')
    const error = await failure(() => levelDisk(root).open('s'))
    expect(error.code).toBe('DISK_FAILED')
    expect(error.cause).toMatchObject({ code: 'ENOTDIR' })
    expect(error.message).toContain(root)
    expect(await code(() => levelDisk(root).writeText('t', ''))).toBe('DISK_FAILED')
  })

  test('directories are the owner’s, texts too', async () => {
    const root = join(await newRoot(), 'state')
    const disk = levelDisk(root)
    await (await disk.open('app/s')).close()
    await disk.writeText('app/texts/id', 'x')
    for (const path of ['', 'app', 'app/s', 'app/texts']) {
      expect(((await stat(join(root, path))).mode & 0o777).toString(8)).toBe('700')
    }
    expect(((await stat(join(root, 'app/texts/id'))).mode & 0o777).toString(8)).toBe('600')
  })

  test('the rest of an interrupted text write is neither seen nor in the way', async () => {
    const root = await newRoot()
    const disk = levelDisk(root)
    await writeFile(join(root, `~${process.pid}-1`), 'half')
    await chmod(join(root, `~${process.pid}-1`), 0o600)
    expect(await disk.list('')).toEqual([])
    await disk.writeText('id', 'x')
    expect(await disk.readText('id')).toBe('x')
    expect(await disk.list('')).toEqual(['id'])
    expect(await readdir(root)).toEqual(['id'])
  })

  describe('what has happened to the files of a store since it was closed', () => {
    /** With tables, a log, and what compresses as well as what does not. */
    async function lived(): Promise<{ disk: Disk; directory: string }> {
      const root = await newRoot()
      const disk = levelDisk(root)
      for (let life = 0; life < 3; life++) {
        const store = await disk.open('s')
        for (let n = 0; n < 300; n++)
          await store.write([[text(`key-${n}`), n % 2 ? randomBytes(60) : Buffer.alloc(60, life)]])
        await store.close()
      }
      return { disk, directory: join(root, 's') }
    }

    async function flip(path: string, bit: number): Promise<void> {
      const bytes = await readFile(path)
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
      await writeFile(path, bytes)
    }

    test('nothing: it is as it was closed, also as a copy', async () => {
      const { directory } = await lived()
      const root = await newRoot()
      await cp(directory, join(root, 'copy'), { recursive: true })
      const store = await levelDisk(root).open('copy')
      expect(store.asClosed).toBe(true)
      await store.close()
    })

    test('any bit of any file: it is not, whatever LevelDB says', async () => {
      const { directory } = await lived()
      const root = await newRoot()
      const names = (await readdir(directory)).filter((name) => !/^(LOG|LOCK)/.test(name))
      expect(names).toContain('CLOSED')
      for (const name of names) {
        const { size } = await stat(join(directory, name))
        for (let n = 0; n < 6; n++) {
          const copy = `${name}-${n}`
          await cp(directory, join(root, copy), { recursive: true })
          await flip(join(root, copy, name), Math.floor(((n + 0.5) / 6) * size * 8))
          const answer = await levelDisk(root)
            .open(copy)
            .then(
              async (store) => {
                await store.close()
                return store.asClosed
              },
              (error: DruseError) => error.code,
            )
          expect([false, 'STORE_CORRUPT'], copy).toContain(answer)
          if (name.endsWith('.ldb') && n < 5) expect(answer, copy).toBe('STORE_CORRUPT')
        }
      }
    })

    test('a file more or less: it is not', async () => {
      for (const change of [
        (directory: string) => writeFile(join(directory, 'note.txt'), 'x'),
        async (directory: string) => rm((await filesOf(directory, /\.log$/))[0] ?? ''),
        (directory: string) => rm(join(directory, 'CLOSED')),
      ]) {
        const { disk, directory } = await lived()
        await change(directory)
        const store = await disk.open('s')
        expect(store.asClosed).toBe(false)
        await store.close()
        const again = await disk.open('s')
        expect(again.asClosed).toBe(true)
        await again.close()
      }
    })

    test('a table that is damaged while the store is open is not sealed', async () => {
      const { disk, directory } = await lived()
      const store = await disk.open('s')
      const [made] = (await filesOf(directory, /\.ldb$/)).sort().reverse()
      await flip(made as string, 80)
      await store.close()
      expect(await code(() => disk.open('s'))).toBe('STORE_CORRUPT')
    })

    test('also with a table left over, whose number LevelDB takes again', async () => {
      const { disk, directory } = await lived()
      const first = await disk.open('s')
      const numbers = (await readdir(directory)).map((name) => Number(/\d+/.exec(name)?.[0] ?? 0))
      for (let n = 1; n <= 20; n++) {
        const name = String(Math.max(...numbers) + n).padStart(6, '0')
        await writeFile(join(directory, `${name}.ldb`), 'half a tab')
      }
      await first.close()
      const second = await disk.open('s')
      expect(second.asClosed).toBe(true)
      for (let n = 0; n < 12; n++) {
        await second.write([[text(`large-${n}`), randomBytes(1 << 20)]])
      }
      await second.close()
      const third = await disk.open('s')
      expect(third.asClosed).toBe(true)
      await third.close()
    })

    test.runIf(existsSync('/proc/self/io'))(
      'what it has read of tables a process does not read again, unless they have changed',
      async () => {
        const { disk, directory } = await lived()
        const large = await disk.open('s')
        for (let n = 0; n < 12; n++) {
          await large.write([[text(`large-${n}`), randomBytes(1 << 20)]])
        }
        await large.close()
        const readBytes = async (): Promise<number> =>
          Number(/^rchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8'))?.[1])
        const readToOpen = async (): Promise<number> => {
          const before = await readBytes()
          const store = await disk.open('s')
          expect(store.asClosed).toBe(true)
          await store.close()
          return (await readBytes()) - before
        }
        expect(await readToOpen()).toBeGreaterThan(10 << 20)
        // Once they are older than any file system's step of time.
        await expect.poll(readToOpen, { interval: 300 }).toBeLessThan(6 << 20)
        const [table] = (await filesOf(directory, /\.ldb$/)).sort()
        await flip(table as string, 800)
        expect(await code(() => disk.open('s'))).toBe('STORE_CORRUPT')
      },
    )

    test('damage to a table that LevelDB no longer needs is none', async () => {
      const { disk, directory } = await lived()
      await writeFile(join(directory, '999999.ldb'), 'half a tab')
      const store = await disk.open('s')
      expect(store.getSync(text('key-1'))).toBeDefined()
      // Nor when it is closed, as with a table that LevelDB has not finished by then.
      await writeFile(join(directory, '888888.ldb'), 'half a tab')
      await store.close()
      const again = await disk.open('s')
      expect(again.asClosed).toBe(true)
      await again.close()
    })
  })

  describe('a damaged store is STORE_CORRUPT, and can be moved aside whole', () => {
    const damages: [string, (directory: string) => Promise<unknown>][] = [
      ['CURRENT without sense', (d) => writeFile(join(d, 'CURRENT'), 'no newline')],
      ['CURRENT gone', (d) => rename(join(d, 'CURRENT'), join(d, '..', 'CURRENT.lost'))],
      ['manifest gone', async (d) => rm((await filesOf(d, /^MANIFEST/))[0] ?? '')],
      ['manifest cut', async (d) => truncate((await filesOf(d, /^MANIFEST/))[0] ?? '', 10)],
      ['table gone', async (d) => rm((await filesOf(d, /\.ldb$/))[0] ?? '')],
    ]
    test.each(damages)('%s', async (_, damage) => {
      const root = await newRoot()
      const disk = levelDisk(root)
      for (const value of ['1', '2']) {
        // The second open turns the first one's log into a table.
        const store = await disk.open('s')
        await store.write([[text(value), text(value)]])
        await store.close()
      }
      await damage(join(root, 's'))
      const files = await filesOf(join(root, 's'), /ldb|log|MANIFEST|CURRENT/)
      const error = await failure(() => disk.open('s'))
      expect(error.code).toBe('STORE_CORRUPT')
      expect(error.message).toContain(join(root, 's'))
      expect(await code(() => disk.open('s'))).toBe('STORE_CORRUPT')
      expect(await disk.moveAside('s')).toBe('s.aside-1')
      const kept = await filesOf(join(root, 's.aside-1'), /ldb|log|MANIFEST|CURRENT/)
      expect(kept.length).toBe(files.length)
      const fresh = await disk.open('s')
      expect(await entriesOf(fresh.range({}))).toEqual([])
      await fresh.close()
    })
  })
})
