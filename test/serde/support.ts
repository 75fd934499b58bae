import { expect } from 'vitest'
import { DruseError, type ErrorCode } from '../../src/errors.ts'
import type { Codec, CodecContext, Registry, Serde } from '../../src/ports.ts'
import { localRegistry } from '../../src/serde/local-registry.ts'
import { memoryDisk } from '../../src/store/memory-disk.ts'

export const memoryRegistry = (): Registry => localRegistry(memoryDisk())

export async function opened<T>(serde: Serde<T>, context: Partial<CodecContext> = {}): Promise<Codec<T>> {
  return serde.open({ topic: 'flights', part: 'value', registry: undefined, writes: true, ...context })
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
export const fromHex = (text: string): Uint8Array =>
  Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))

/** Puts a value where TypeScript would not let it. */
export const wrong = (value: unknown): never => value as never

/** The error of a call that has to fail, with its code checked. */
export function failing(code: ErrorCode, call: () => unknown): DruseError {
  try {
    call()
  } catch (error) {
    if (!(error instanceof DruseError)) throw error
    expect(error.code).toBe(code)
    return error
  }
  throw new Error(`it did not fail with ${code}`)
}
