/**
 * Checks of entries: 32 bits over all that an entry is. LevelDB has checksums of its own and does not look at those of its
 * tables, so what was read from it is compared with its check before anybody believes it.
 *
 * MurmurHash3's rounds: a few nanoseconds for the entries that there are most of, less than a call of a native function.
 */

const SEED = 0x9747b28c

/** Of the bytes that an entry lies under, to go on with; of several in a row, each begins with the one before. */
export function hashOf(bytes: Uint8Array, seed: number = SEED): number {
  const length = bytes.length
  const whole = length & ~3
  let hash = seed
  for (let i = 0; i < whole; i += 4) {
    hash = stirred(
      hash,
      (bytes[i] as number) |
        ((bytes[i + 1] as number) << 8) |
        ((bytes[i + 2] as number) << 16) |
        ((bytes[i + 3] as number) << 24),
    )
  }
  let rest = 0
  for (let i = length - 1; i >= whole; i--) rest = (rest << 8) | (bytes[i] as number)
  return stirred(hash, rest) ^ length
}

/** An unsigned number of 32 bits. */
export function checkOf(keyHash: number, timestamp: number, value: Uint8Array): number {
  let hash = hashOf(value, stirred(stirred(keyHash, timestamp | 0), Math.floor(timestamp / 2 ** 32)))
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function stirred(hash: number, word: number): number {
  const mixed = Math.imul(word, 0xcc9e2d51)
  const turned = hash ^ Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593)
  return (Math.imul((turned << 13) | (turned >>> 19), 5) + 0xe6546b64) | 0
}
