/** How operators look into tables. */
import type { NodeHost } from './graph.ts'

/** A value of a table, with the time of the record that it came from. */
export interface Timed<V = unknown> {
  readonly value: V
  readonly timestamp: number
}

/** A table's value from that of another table. Not called for null; a null result is no entry. */
export type Derive = (value: unknown, key: unknown) => unknown

/** What stands under a key of a table now. */
export type Lookup = (key: unknown) => Timed | undefined

/** How the present value under a key is found: in a region, or computed from where it comes from. */
export interface TableView {
  /** Whoever looks names these as its own. */
  readonly regions: readonly string[]
  open(host: NodeHost): Lookup
}

/** Of a table that is kept in a region. */
export function regionView(name: string): TableView {
  return {
    regions: [name],
    open: (host) => {
      const region = host.region(name)
      return (key) => region.entry(key)
    },
  }
}

/** Of a table whose values follow from those of another. */
export function derivedView(of: TableView, derive: Derive): TableView {
  return {
    regions: of.regions,
    open: (host) => {
      const find = of.open(host)
      return (key) => {
        const found = find(key)
        if (found === undefined) return undefined
        const value = derive(found.value, key) ?? null
        return value === null ? undefined : { value, timestamp: found.timestamp }
      }
    },
  }
}
