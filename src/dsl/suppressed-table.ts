import { DruseError } from '../errors.ts'
import type { Region } from '../region/definition.ts'
import { ORDER_BY_VALUES } from '../region/time-order.ts'
import type { Windowed } from '../serde/windowed.ts'
import { type Buffered, bufferedKey, bufferedValue } from '../topology/buffered.ts'
import {
  bindSuppress,
  type SuppressUntilTimeLimit,
  type SuppressUntilWindowCloses,
} from '../topology/suppress.ts'
import type { RegionOptions } from './materialized.ts'
import { serdeOf } from './place.ts'
import type { TableOrigin, TableView } from './table.ts'

/** Until windows close: only of a table with windowed keys. */
export type Suppression<K> = K extends Windowed
  ? SuppressUntilWindowCloses | SuppressUntilTimeLimit
  : SuppressUntilTimeLimit

/** Of the region of what is held back. */
export type SuppressedOptions<K, V> = RegionOptions<K, V>

/** What stands behind a table whose updates are held back. */
export function suppressed<K, V>(
  name: string,
  origin: TableOrigin<K, V>,
  suppression: SuppressUntilWindowCloses | SuppressUntilTimeLimit,
  options: SuppressedOptions<K, V>,
): TableOrigin<K, V> {
  const { place } = origin
  // What was passed on before is what stands under a key that is held back.
  origin.sendOldValues(true)
  const key = serdeOf(place, 'key', options.key, `'${name}'`)
  const value = serdeOf(place, 'value', options.value, `'${name}'`)
  const waits = waiting(name, suppression, place.windowCloseMs)
  const region: Region<string, K, Buffered<V>> = {
    kind: 'partitioned',
    name,
    key: bufferedKey(key),
    value: bufferedValue(value),
    store: options.store ?? 'persistent',
    timed: { order: ORDER_BY_VALUES, retentionMs: undefined },
  }
  place.builder.addRegion(region)
  const node = place.builder.add({
    kind: 'operator',
    operator: 'suppress',
    name,
    parents: [place.node],
    regions: [name],
    emits: 'changes',
    takes: 'changes',
    bind: bindSuppress({ region: name, limits: suppression.limits, ...waits }),
  })
  return {
    place: { ...place, node, serdes: { key, value } },
    sendOldValues: (force) => origin.sendOldValues(force),
    view: () => heldBackView(name, origin.view()),
  }
}

function waiting(
  name: string,
  suppression: SuppressUntilWindowCloses | SuppressUntilTimeLimit,
  windowCloseMs: number | undefined,
) {
  if (suppression.kind === 'untilTimeLimit') {
    return { waitMs: suppression.limitMs, timeOf: undefined, onFull: suppression.onFull }
  }
  if (windowCloseMs === undefined) {
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `'${name}' waits until windows close, but its table does not come from an aggregation in windows`,
    )
  }
  return { waitMs: windowCloseMs, timeOf: (key: Windowed) => key.windowEnd, onFull: 'fail' as const }
}

/** Under a key that is held back stands what was passed on before. */
function heldBackView(region: string, of: TableView): TableView {
  return {
    regions: [region, ...of.regions],
    open: (host) => {
      const buffer = host.region(region)
      const find = of.open(host)
      return (key) => {
        const held = buffer.entry(key)?.value as Buffered | undefined
        if (held === undefined) return find(key)
        return held.oldValue === null ? undefined : { value: held.oldValue, timestamp: -1 }
      }
    },
  }
}
