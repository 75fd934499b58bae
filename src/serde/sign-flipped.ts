/** Two's complement, big-endian, with its sign bit flipped: then byte order is the numbers' order. Its own inverse. */
export function signFlipped(bytes: Uint8Array): Uint8Array {
  const flipped = Buffer.from(bytes)
  flipped[0] = (flipped[0] ?? 0) ^ 0x80
  return flipped
}

export const signFlippedOrder = { toOrdered: signFlipped, fromOrdered: signFlipped }
