/** Numbers and fields of record batches. Varints are zigzag, as Protocol Buffers' sint32 and sint64. */

export function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 0x100000000 + bytes.readUInt32BE(at + 4)
}

export function writeInt64(bytes: Buffer, at: number, value: number): void {
  bytes.writeInt32BE(Math.floor(value / 0x100000000), at)
  bytes.writeUInt32BE(value >>> 0, at + 4)
}

/** Of a number in 32 bits. */
export function varintBytes(value: number): number {
  const bits = (value << 1) ^ (value >> 31)
  return ((38 - Math.clz32(bits | 1)) / 7) | 0
}

export function varlongBytes(value: number): number {
  if (value === (value | 0)) return varintBytes(value)
  let bytes = 1
  // Magnitudes, as zigzag orders them: -n stands just below n.
  for (let rest = value < 0 ? -(value + 1) : value, limit = 64; rest >= limit; limit *= 128) bytes += 1
  return bytes
}

export function writeVarint(bytes: Buffer, at: number, value: number): number {
  let next = at
  let bits = ((value << 1) ^ (value >> 31)) >>> 0
  while (bits > 0x7f) {
    bytes[next++] = (bits & 0x7f) | 0x80
    bits >>>= 7
  }
  bytes[next++] = bits
  return next
}

export function writeVarlong(bytes: Buffer, at: number, value: number): number {
  if (value === (value | 0)) return writeVarint(bytes, at, value)
  let next = at
  // Zigzag doubles, which would pass 53 bits: six bits and the sign go first, the rest is then as it is.
  const magnitude = value < 0 ? -(value + 1) : value
  bytes[next++] = ((magnitude % 64) << 1) | (value < 0 ? 1 : 0) | 0x80
  let rest = Math.floor(magnitude / 64)
  while (rest > 0x7f) {
    bytes[next++] = (rest % 128) | 0x80
    rest = Math.floor(rest / 128)
  }
  bytes[next++] = rest
  return next
}

export function fieldBytes(field: Uint8Array | null): number {
  return field === null ? 1 : varintBytes(field.length) + field.length
}

export function writeField(bytes: Buffer, at: number, field: Uint8Array | null): number {
  if (field === null) return writeVarint(bytes, at, -1)
  const next = writeVarint(bytes, at, field.length)
  bytes.set(field, next)
  return next + field.length
}

export function writeText(bytes: Buffer, at: number, text: string): number {
  const length = Buffer.byteLength(text)
  let next = writeVarint(bytes, at, length)
  if (length !== text.length) return next + bytes.write(text, next)
  for (let i = 0; i < length; i++) bytes[next++] = text.charCodeAt(i)
  return next
}
