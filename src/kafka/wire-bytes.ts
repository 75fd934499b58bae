/**
 * The primitives of Kafka's protocol: https://kafka.apache.org/protocol#protocol_types
 *
 * Flexible versions of a request write lengths as varints and end each structure with tagged fields; the others
 * write lengths as int16 or int32 and have no tags. Writer and reader know which they are in, so that one
 * description of a request fits both.
 */

const FIRST_CAPACITY_BYTES = 256

export class WireWriter {
  readonly #flexible: boolean
  #bytes: Buffer
  #at = 0

  constructor(flexible: boolean) {
    this.#flexible = flexible
    this.#bytes = Buffer.allocUnsafe(FIRST_CAPACITY_BYTES)
  }

  /** What was written, as a view. */
  get written(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }

  int8(value: number): void {
    this.#at = this.#room(1).writeInt8(value, this.#at)
  }

  bool(value: boolean): void {
    this.int8(value ? 1 : 0)
  }

  int16(value: number): void {
    this.#at = this.#room(2).writeInt16BE(value, this.#at)
  }

  int32(value: number): void {
    this.#at = this.#room(4).writeInt32BE(value, this.#at)
  }

  int64(value: number | bigint): void {
    this.#at = this.#room(8).writeBigInt64BE(BigInt(value), this.#at)
  }

  text(value: string | null): void {
    const length = value === null ? -1 : Buffer.byteLength(value)
    if (this.#flexible) this.#varint(length + 1)
    else this.int16(length)
    if (value !== null) this.#at += this.#room(length).write(value, this.#at)
  }

  bytes(value: Uint8Array | null): void {
    this.#count(value === null ? -1 : value.length)
    if (value === null) return
    this.#room(value.length).set(value, this.#at)
    this.#at += value.length
  }

  /** 16 bytes of zero: no topic id. */
  noId(): void {
    this.#room(16).fill(0, this.#at, this.#at + 16)
    this.#at += 16
  }

  array<T>(items: readonly T[] | null, write: (item: T) => void): void {
    this.#count(items === null ? -1 : items.length)
    for (const item of items ?? []) write(item)
  }

  /** The end of a structure. */
  tags(): void {
    if (this.#flexible) this.int8(0)
  }

  #count(count: number): void {
    if (this.#flexible) this.#varint(count + 1)
    else this.int32(count)
  }

  #varint(value: number): void {
    const bytes = this.#room(5)
    let left = value
    while (left > 0x7f) {
      bytes[this.#at++] = (left & 0x7f) | 0x80
      left >>>= 7
    }
    bytes[this.#at++] = left
  }

  #room(more: number): Buffer {
    const needed = this.#at + more
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, this.#at)
      this.#bytes = grown
    }
    return this.#bytes
  }
}

/** Throws on bytes that do not hold what is asked for; never reads beyond them, never allocates more than they hold. */
export class WireReader {
  readonly #flexible: boolean
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer, flexible: boolean) {
    this.#bytes = bytes
    this.#flexible = flexible
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  int8(): number {
    return this.#bytes.readInt8(this.#take(1))
  }

  bool(): boolean {
    return this.int8() !== 0
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#take(2))
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#take(4))
  }

  int64(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8))
  }

  /** An offset: an int64 that has to be a safe integer. */
  offset(): number {
    const value = Number(this.int64())
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not an offset`)
    return value
  }

  text(): string {
    const value = this.textOrNull()
    if (value === null) throw new RangeError('null where a string has to be')
    return value
  }

  textOrNull(): string | null {
    const length = this.#flexible ? this.#varint() - 1 : this.int16()
    if (length < 0) return null
    const from = this.#take(length)
    return this.#bytes.toString('utf8', from, from + length)
  }

  /** A view; null is given as no bytes. */
  bytes(): Buffer {
    const length = Math.max(0, this.#count())
    const from = this.#take(length)
    return this.#bytes.subarray(from, from + length)
  }

  /** 16 bytes in base64url, as Kafka's own tools print it. */
  id(): string {
    const from = this.#take(16)
    return this.#bytes.toString('base64url', from, from + 16)
  }

  /** Null is given as an empty array. */
  array<T>(read: () => T): T[] {
    return this.arrayOrNull(read) ?? []
  }

  arrayOrNull<T>(read: () => T): T[] | null {
    const count = this.#count()
    if (count < 0) return null
    // Every item takes a byte at least.
    if (count > this.left) throw new RangeError(`${count} items in ${this.left} bytes`)
    const items: T[] = []
    for (let i = 0; i < count; i++) items.push(read())
    return items
  }

  /** The end of a structure. Tags are additions that an older reader may pass over. */
  tags(): void {
    if (!this.#flexible) return
    for (let left = this.#varint(); left > 0; left--) {
      this.#varint()
      this.#take(this.#varint())
    }
  }

  #count(): number {
    return this.#flexible ? this.#varint() - 1 : this.int32()
  }

  #varint(): number {
    let value = 0
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.#bytes[this.#take(1)] as number
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
    throw new RangeError('a length of more than five bytes')
  }

  /** Where the next `count` bytes begin, passing over them. */
  #take(count: number): number {
    const from = this.#at
    if (count < 0 || count > this.left) throw new RangeError(`${count} bytes wanted, ${this.left} left`)
    this.#at += count
    return from
  }
}
