/** The writes of a region since the last seal, in memory, newest per key. */

export interface OverlayEntry {
  /** As in the changelog. */
  readonly topicKey: Uint8Array
  /** As in the store. */
  readonly storeKey: Uint8Array
  /** Null: deleted. */
  readonly value: Uint8Array | null
  readonly timestamp: number
}

/** By the ordered key's bytes as latin1 text, whose order as text is the bytes' order. */
export type Overlay = Map<string, OverlayEntry>

export function overlayId(orderedKey: Uint8Array): string {
  return Buffer.from(orderedKey.buffer, orderedKey.byteOffset, orderedKey.byteLength).toString('latin1')
}
