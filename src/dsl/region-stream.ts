/** Regions as source and as sink of streams. */
import { DruseError } from '../errors.ts'
import type { Serde } from '../ports.ts'
import type { AnyRegion, Region, TimedEntries } from '../region/definition.ts'
import { orderByKeys } from '../region/time-order.ts'
import { SESSION_KEYS, sessionStoreKey, WINDOW_KEYS, windowStoreKey } from '../region/timed-keys.ts'
import { sessionWindowed, timeWindowed } from '../serde/windowed.ts'
import { AutoName, type GraphBuilder } from '../topology/builder.ts'
import { bindFromChangelog } from '../topology/from-changelog.ts'
import { changelogTopic } from '../topology/internal-topics.ts'
import { fanOut } from '../topology/steps.ts'
import { bindToRegion } from '../topology/to-region.ts'
import { checkMs } from '../topology/windows.ts'
import type { FailurePolicies } from './failure-policies.ts'
import { type Named, type Place, requireKeyed } from './place.ts'

/** Errors: TOPOLOGY_INVALID. */
export function addToRegion(place: Place<unknown, unknown>, region: AnyRegion, named?: Named): void {
  const where = `toRegion('${region.name}')`
  const { builder } = place
  requirePartitioned(region, where)
  builder.requireRegions(where, [region])
  if (!builder.isDeclared(region.name)) {
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `${where} writes to the region of an operator of that name, which alone may do so: what it keeps there would be overwritten. Declare a region of your own with region()`,
    )
  }
  requireKeyed(place, where)
  builder.add({
    kind: 'operator',
    operator: 'toRegion',
    name: named?.name ?? new AutoName(`to-region-${region.name}`),
    parents: [place.node],
    regions: [region.name],
    bind: bindToRegion(region.name),
  })
}

/** The events of a region of this topology. Errors: TOPOLOGY_INVALID. */
export function addFromRegion(
  builder: GraphBuilder,
  region: AnyRegion,
  named?: Named,
): Place<unknown, unknown> {
  const where = `fromRegion('${region.name}')`
  requirePartitioned(region, where)
  builder.requireOwn(where, region)
  const node = builder.add({
    kind: 'operator',
    operator: 'fromRegion',
    name: named?.name ?? new AutoName(`from-region-${region.name}`),
    parents: [],
    regions: [region.name],
    listensTo: region.name,
    bind: (_, children) => fanOut(children),
  })
  return { builder, node, serdes: { key: region.topicKey ?? region.key }, rekeyed: false }
}

function requirePartitioned(region: AnyRegion, where: string): asserts region is Region {
  const { kind, name } = region
  if (kind === 'partitioned') return
  throw new DruseError(
    'TOPOLOGY_INVALID',
    `${where}: '${name}' is a copy of a topic in every process, which its updates belong to; read and write the topic`,
  )
}

/** A region of another application, by what its changelog holds. */
export interface RegionElsewhere<K, V> extends FailurePolicies {
  /** Its name is that of its consumer group. */
  readonly application: string
  readonly region: string
  /** In the bytes of the changelog: the serdes that the region has there. */
  readonly key: Serde<K>
  readonly value: Serde<V>
}

/** A region of windows; `key` is the serde of what is windowed. */
export interface WindowsElsewhere<K, V> extends RegionElsewhere<K, V> {
  readonly windows: {
    /** Of sliding windows, the time difference. */
    readonly sizeMs: number
    /** As long as there, or longer: of what comes later than that after the newest window, nothing is told. */
    readonly retentionMs: number
  }
}

/** A region of sessions. */
export interface SessionsElsewhere<K, V> extends RegionElsewhere<K, V> {
  readonly sessions: {
    /** As of windows. */
    readonly retentionMs: number
  }
}

// biome-ignore lint/suspicious/noExplicitAny: stands for every region; K and V are invariant
export type AnyRegionElsewhere = RegionElsewhere<any, any> & {
  readonly windows?: WindowsElsewhere<unknown, unknown>['windows']
  readonly sessions?: SessionsElsewhere<unknown, unknown>['sessions']
}

/** The events of a region of another application. Errors: TOPOLOGY_INVALID, OPTION_INVALID. */
export function addFromChangelog(
  builder: GraphBuilder,
  elsewhere: AnyRegionElsewhere,
  named?: Named,
): Place<unknown, unknown> {
  const { application, region: name, value } = elsewhere
  const where = `fromRegion('${name}' of '${application}')`
  if (application === builder.application) {
    throw new DruseError('TOPOLOGY_INVALID', `${where} is of this application: give the region itself`)
  }
  const { key, topicKey, timed } = keysOf(elsewhere, where)
  const copy = builder.addRegion<Region<string, unknown, unknown>>({
    kind: 'partitioned',
    name: `${application}-${name}`,
    key,
    value,
    store: 'persistent',
    ...(timed !== undefined && { timed, topicKey }),
  })
  const topic = changelogTopic(application, name)
  const { onUndecodable, onFailure, onLate } = { ...builder.policies, ...given(elsewhere) }
  const source = builder.add({
    kind: 'source',
    name: new AutoName(`from-${topic}`),
    parents: [],
    topics: [topic],
    key,
    value,
    timestamp: undefined,
    reset: 'earliest',
    changelogOf: { application, isTimed: timed !== undefined },
    onUndecodable,
    onFailure,
    onLate,
  })
  const node = builder.add({
    kind: 'operator',
    operator: 'fromChangelog',
    name: named?.name ?? new AutoName(`from-region-${copy.name}`),
    parents: [source],
    regions: [copy.name],
    bind: bindFromChangelog({ region: copy.name, retentionMs: timed?.retentionMs }),
  })
  return { builder, node, serdes: { key: topicKey }, rekeyed: false }
}

function keysOf(
  { key, windows, sessions }: AnyRegionElsewhere,
  where: string,
): { readonly key: Serde<unknown>; readonly topicKey: Serde<unknown>; readonly timed?: TimedEntries } {
  if (windows !== undefined && sessions !== undefined) {
    throw new DruseError('TOPOLOGY_INVALID', `${where} is of windows and of sessions: give one of them`)
  }
  if (windows !== undefined) {
    const { sizeMs, retentionMs } = windows
    checkMs(where, { sizeMs }, 0)
    checkMs(where, { retentionMs }, 1)
    return {
      key: windowStoreKey(key, sizeMs) as Serde<unknown>,
      topicKey: timeWindowed(key, { sizeMs }) as Serde<unknown>,
      timed: { order: orderByKeys(WINDOW_KEYS), retentionMs },
    }
  }
  if (sessions === undefined) return { key, topicKey: key }
  const { retentionMs } = sessions
  checkMs(where, { retentionMs }, 1)
  return {
    key: sessionStoreKey(key) as Serde<unknown>,
    topicKey: sessionWindowed(key) as Serde<unknown>,
    timed: { order: orderByKeys(SESSION_KEYS), retentionMs },
  }
}

function given({ onUndecodable, onFailure, onLate }: FailurePolicies): FailurePolicies {
  return {
    ...(onUndecodable && { onUndecodable }),
    ...(onFailure && { onFailure }),
    ...(onLate && { onLate }),
  }
}
