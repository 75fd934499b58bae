/**
 * A join of tables over a foreign key: each row of the left table with the row of the right one that it names.
 *
 * The tables are partitioned by different keys, so they talk through two internal topics:
 *
 *   left change ─subscribe─► subscription topic, by foreign key ─receive─► region of subscribers
 *                                                                  │   right change ─► every subscriber of its key
 *                                                                  ▼        ▼
 *   result ◄─resolve─ response topic, back to the partition that asked ◄────┘
 *
 * A row's state has a version, kept beside the row. What is answered to an older version is out of date, and dropped:
 * answers from different partitions may overtake one another.
 *
 * Results, timestamps and spurious tombstones are those of Kafka Streams 4.1, which compares hashes of the rows instead.
 */
import type { TimedRegion } from '../region/definition.ts'
import { isSameKey } from '../serde/same-key.ts'
import type { Change } from './change.ts'
import {
  type Instruction,
  LAST_VERSION,
  type Response,
  type Subscriber,
  type Subscription,
} from './foreign-key-messages.ts'
import type { NodeHost, Step } from './graph.ts'
import { fanOut, forwardEach, guarded } from './steps.ts'
import type { TableView } from './table-view.ts'

/** Of a row that is not there. */
const NO_VERSION = ''

/** What is remembered of a subscriber. */
export interface SubscriberEntry {
  readonly partition: number
  readonly version: string
}

export interface SubscribeOptions {
  /** Whether rows without a match have a result, too. */
  readonly isLeft: boolean
  /** Null: the row names none. */
  readonly foreignKey: (value: unknown, key: unknown) => unknown
  /** The region of the rows' versions. */
  readonly versions: string
  /** That of the results. */
  readonly results: string
}

/** Behind the left table. Children: the subscription topic, and the resolving operator. */
export function bindSubscribe({ isLeft, foreignKey, versions, results }: SubscribeOptions) {
  return (host: NodeHost, children: readonly Step[], operator: string): Step => {
    const region = host.region(versions)
    const joined = host.region(results)
    const [ask, resolve] = children as [ask: Step, resolve: Step]
    const call = guarded(operator, foreignKey)
    return (record) => {
      const { key } = record
      const { newValue, oldValue } = record.value as Change
      if (newValue === null && oldValue === null) return
      const from = oldValue === null ? null : (call(record, oldValue, key) ?? null)
      const to = newValue === null ? null : (call(record, newValue, key) ?? null)
      const version = newValue === null ? NO_VERSION : nextVersion(region)
      if (newValue === null) region.delete(key)
      else region.put(key, version)
      const { asked, isDecided } = isLeft ? askedByLeft(from, to) : askedByInner(from, to, joined.has(key))
      const { partition } = host
      const asking = forwardEach(
        asked.map(([foreign, instruction]) =>
          record.with(foreign, { instruction, partition, version, key } satisfies Subscription),
        ),
        ask,
      )
      if (!isDecided) return asking
      const answer = record.with(key, { version, foreignValue: null, partition } satisfies Response)
      return asking === undefined ? resolve(answer) : asking.then(() => resolve(answer))
    }
  }
}

interface Questions {
  readonly asked: readonly (readonly [foreignKey: unknown, instruction: Instruction])[]
  /** There is no foreign value, and nobody has to be asked for that. */
  readonly isDecided: boolean
}

function askedByLeft(from: unknown, to: unknown): Questions {
  const asked: [unknown, Instruction][] = []
  if (from !== null && !isSameKey(from, to)) asked.push([from, 'unsubscribe'])
  if (to !== null) asked.push([to, 'subscribeAndAnswer'])
  return { asked, isDecided: to === null }
}

/**
 * Where Kafka Streams' rule would ask for no answer but a match, a result may still stand that an answer to an older
 * version should have deleted, and no longer can: then the row needs an answer in any case.
 */
function askedByInner(from: unknown, to: unknown, hasResult: boolean): Questions {
  if (to === null) {
    if (from === null) return { asked: [], isDecided: hasResult }
    return { asked: [[from, 'unsubscribeAndAnswer']], isDecided: false }
  }
  if (from === null || isSameKey(from, to)) {
    return { asked: [[to, hasResult ? 'subscribeAndAnswer' : 'subscribe']], isDecided: false }
  }
  const asked = [
    [from, 'unsubscribe'],
    [to, 'subscribeAndAnswer'],
  ] as const
  return { asked, isDecided: false }
}

/** Another one for each change of a partition's rows: counted in the region, so that one never comes again. */
function nextVersion(region: TimedRegion<unknown, unknown>): string {
  const version = String(Number(region.get(LAST_VERSION) ?? 0) + 1)
  region.put(LAST_VERSION, version)
  return version
}

export interface ForeignSideOptions {
  /** The region of subscribers. */
  readonly subscriptions: string
  /** The right table. */
  readonly foreign: TableView
}

/** Behind the subscription topic, where the right table is. */
export function bindReceive({ subscriptions, foreign }: ForeignSideOptions) {
  return (host: NodeHost, children: readonly Step[], operator: string): Step => {
    const region = host.region(subscriptions)
    const find = guarded(operator, foreign.open(host))
    const answer = fanOut(children)
    return (record) => {
      const { instruction, partition, version, key } = record.value as Subscription
      const subscriber: Subscriber = { foreignKey: record.key, key }
      const isGoing = instruction === 'unsubscribe' || instruction === 'unsubscribeAndAnswer'
      if (isGoing) region.delete(subscriber)
      else region.putAt(subscriber, { partition, version } satisfies SubscriberEntry, record.timestamp)
      if (instruction === 'unsubscribe') return
      const found = find(record, record.key)
      if (instruction === 'subscribe' && found === undefined) return
      const foreignValue = isGoing ? null : (found?.value ?? null)
      const timestamp = Math.max(record.timestamp, found?.timestamp ?? record.timestamp)
      return answer(record.with(key, { version, foreignValue, partition } satisfies Response, timestamp))
    }
  }
}

/** Behind the right table: its changes go to all that have asked for them, in the order of their keys. */
export function bindForeignChange(subscriptions: string) {
  return (host: NodeHost, children: readonly Step[]): Step => {
    const region = host.region(subscriptions)
    const answer = fanOut(children)
    return async (record) => {
      const foreignValue = (record.value as Change).newValue
      const all: Subscriber = { foreignKey: record.key }
      for await (const [subscriber, entry] of region.prefix(all)) {
        const { partition, version } = entry as SubscriberEntry
        const { key } = subscriber as Subscriber
        await answer(record.with(key, { version, foreignValue, partition } satisfies Response))
      }
    }
  }
}

export interface ResolveOptions {
  readonly isLeft: boolean
  readonly versions: string
  /** The left table. */
  readonly rows: TableView
  /** `foreignValue` is null where there is none. */
  readonly joiner: (value: unknown, foreignValue: unknown, key: unknown) => unknown
}

/** Behind the response topic, where the left table is. */
export function bindResolve({ isLeft, versions, rows, joiner }: ResolveOptions) {
  return (host: NodeHost, children: readonly Step[], operator: string): Step => {
    const region = host.region(versions)
    const find = guarded(operator, rows.open(host))
    const join = guarded(operator, joiner)
    const next = fanOut(children)
    return (record) => {
      const { key } = record
      const { version, foreignValue } = record.value as Response
      if ((region.get(key) ?? NO_VERSION) !== version) return
      const row = find(record, key)
      const isMatch = row !== undefined && (isLeft || foreignValue !== null)
      return next(record.with(key, isMatch ? (join(record, row.value, foreignValue, key) ?? null) : null))
    }
  }
}
