import type { Region } from '../region/definition.ts'
import type { Stream } from './stream.ts'

/** The newest value per key, kept in a region. */
export class Table<Name extends string, K, V> {
  /** To look into: in operators, and from outside through the running application. */
  readonly region: Region<Name, K, V>
  readonly #updates: Stream<K, V>

  /** @internal Tables come from aggregations. */
  constructor(region: Region<Name, K, V>, updates: Stream<K, V>) {
    this.region = region
    this.#updates = updates
  }

  /** Each update, as the new value under its key; null where the key was removed. */
  toStream(): Stream<K, V> {
    return this.#updates
  }
}
