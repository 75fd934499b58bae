/**
 * LevelDB's log format, in which its manifest is kept: blocks of 32 KiB, filled with records that may go on from one block
 * to the next.
 *
 *   checksum (4), length (2), type (1: whole, 2: first, 3: middle, 4: last), bytes
 */
const BLOCK_BYTES = 32 * 1024
const HEAD_BYTES = 7
const WHOLE = 1
const FIRST = 2
const MIDDLE = 3
const LAST = 4

/** The records of a log up to where it ends, is cut off, or makes no sense. Checksums are LevelDB's to look at. */
export function* recordsOfLog(log: Buffer): Generator<Buffer> {
  let parts: Buffer[] = []
  for (let at = 0; at + HEAD_BYTES <= log.length; ) {
    const left = BLOCK_BYTES - (at % BLOCK_BYTES)
    if (left < HEAD_BYTES) {
      at += left
      continue
    }
    const length = log.readUInt16LE(at + 4)
    const type = log[at + 6] as number
    const from = at + HEAD_BYTES
    if (type < WHOLE || type > LAST || HEAD_BYTES + length > left || from + length > log.length) return
    if ((type === WHOLE || type === FIRST) !== (parts.length === 0)) return
    at = from + length
    parts.push(log.subarray(from, at))
    if (type === FIRST || type === MIDDLE) continue
    yield Buffer.concat(parts)
    parts = []
  }
}
