/** What happened to an entry of a region. Names are Apache Geode's EntryEvent and operations. */

interface AnyEntryEvent<K> {
  readonly key: K
}

/** There was no entry under the key. */
export interface EntryCreated<K, V> extends AnyEntryEvent<K> {
  readonly type: 'create'
  readonly newValue: V
  readonly oldValue: null
}

/** There was one; the new value may be equal to the old one. */
export interface EntryUpdated<K, V> extends AnyEntryEvent<K> {
  readonly type: 'update'
  readonly newValue: V
  readonly oldValue: V
}

export interface EntryDestroyed<K, V> extends AnyEntryEvent<K> {
  readonly type: 'destroy'
  readonly newValue: null
  readonly oldValue: V
}

export type EntryEvent<K = unknown, V = unknown> =
  | EntryCreated<K, V>
  | EntryUpdated<K, V>
  | EntryDestroyed<K, V>

/** Undefined: no entry. Deleting what is not there is no event. */
export function entryEvent<K, V>(
  key: K,
  newValue: V | undefined,
  oldValue: V | undefined,
): EntryEvent<K, V> | undefined {
  if (newValue === undefined) {
    return oldValue === undefined ? undefined : { type: 'destroy', key, newValue: null, oldValue }
  }
  return oldValue === undefined
    ? { type: 'create', key, newValue, oldValue: null }
    : { type: 'update', key, newValue, oldValue }
}
