/**
 * The checksums of LevelDB's tables. LevelDB writes them and, as its binding opens it, never looks at them: a flipped bit
 * would come out as another value, hide an entry, or go into the next table with a checksum that fits.
 *
 *   blocks, each with type (1) and checksum (4) behind it: entries, filter, index of the filter, index of the blocks
 *   footer  48 bytes: where the two indexes are, magic number
 */
import { crc32c } from '@node-rs/crc32'
import { uncompressSync } from 'snappy'
import { LevelBytes } from './level-bytes.ts'

const FOOTER_BYTES = 48
const MAGIC = Buffer.from('57fb808b247547db', 'hex')
const TRAILER_BYTES = 5
const SNAPPY = 1

interface BlockHandle {
  readonly offset: number
  readonly size: number
}

/** What is wrong with a table; undefined: each of its bytes is as it was written. */
export function damageOf(table: Buffer): string | undefined {
  const footerAt = table.length - FOOTER_BYTES
  if (footerAt < 0 || !table.subarray(-MAGIC.length).equals(MAGIC)) return 'it has no end'
  const footer = new LevelBytes(table, footerAt)
  const filters = handle(footer)
  const index = handle(footer)
  try {
    const blocks = [...handlesIn(block(table, index)), ...handlesIn(block(table, filters)), filters, index]
    let end = 0
    for (const one of blocks.sort((a, b) => a.offset - b.offset)) {
      // A flipped bit in the footer alone could point past a block.
      if (one.offset !== end) return `nothing is known of its bytes from ${end} on`
      block(table, one)
      end += one.size + TRAILER_BYTES
    }
    return end === footerAt ? undefined : `nothing is known of its bytes from ${end} on`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function handle(bytes: LevelBytes): BlockHandle {
  return { offset: bytes.varint(), size: bytes.varint() }
}

/** Its contents as they are in the file, once they fit their checksum. */
function block(table: Buffer, { offset, size }: BlockHandle): Buffer {
  const end = offset + size
  if (end + TRAILER_BYTES > table.length - FOOTER_BYTES) throw new Error(`a block is said to be at ${offset}`)
  const crc = crc32c(table.subarray(offset, end + 1))
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
  if (table.readUInt32LE(end + 1) !== masked) throw new Error(`its block at ${offset} fails its checksum`)
  return table.subarray(offset, end + 1)
}

/** The values of an index: each says where a block is. */
function handlesIn(stored: Buffer): BlockHandle[] {
  const contents = stored.subarray(0, -1)
  const plain = stored.at(-1) === SNAPPY ? Buffer.from(uncompressSync(contents)) : contents
  const restarts = plain.readUInt32LE(plain.length - 4)
  const entries = new LevelBytes(plain.subarray(0, plain.length - 4 * (restarts + 1)))
  const found: BlockHandle[] = []
  while (!entries.isAtEnd) {
    entries.varint()
    const keyLength = entries.varint()
    const valueLength = entries.varint()
    entries.take(keyLength)
    found.push(handle(new LevelBytes(entries.take(valueLength))))
  }
  return found
}
