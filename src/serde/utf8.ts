/** UTF-8 both ways, strictly: neither direction ever puts U+FFFD for what it cannot express. */

/** For bytes that are suspect already; its errors are what makes it strict. BOMs are text like any other. */
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Undefined when the bytes are no UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  const text = asBuffer(bytes).toString('utf8')
  // Buffer is several times faster than TextDecoder, and marks what it could not read.
  if (!text.includes('\ufffd')) return text
  try {
    return strict.decode(bytes)
  } catch {
    return undefined
  }
}

/** Up to here ASCII is written faster in place than by a call out of JavaScript. */
const SHORT = 32

/** Undefined when the text has a surrogate without its partner, which UTF-8 has no bytes for. */
export function encodeUtf8(text: string): Buffer | undefined {
  if (text.length <= SHORT) {
    const bytes = Buffer.allocUnsafe(text.length)
    let at = 0
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (code >= 0x80) break
      bytes[at] = code
    }
    if (at === text.length) return bytes
  }
  return text.isWellFormed() ? Buffer.from(text, 'utf8') : undefined
}

/** The same bytes, not copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
