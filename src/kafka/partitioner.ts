/** Where a key goes: as the Java client's default partitioner, so that topics written by others are co-partitioned. */

const SEED = 0x9747b28c
const MULTIPLIER = 0x5bd1e995

/** The partition of a key among `partitions`, which is at least 1. */
export function partitionFor(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions
}

/** Kafka's variant of MurmurHash2, as a signed 32-bit integer. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length
  let hash = SEED ^ length
  const tail = length & ~3
  for (let at = 0; at < tail; at += 4) {
    let word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    word = Math.imul(word, MULTIPLIER)
    word ^= word >>> 24
    hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(word, MULTIPLIER)
  }
  const left = length - tail
  if (left > 0) {
    if (left > 2) hash ^= (bytes[tail + 2] as number) << 16
    if (left > 1) hash ^= (bytes[tail + 1] as number) << 8
    hash = Math.imul(hash ^ (bytes[tail] as number), MULTIPLIER)
  }
  hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER)
  return hash ^ (hash >>> 15)
}
