import { int64, type JoinWindows, joinWindows, string } from '../../../src/index.ts'
import type { Build, Family } from '../build.ts'
import type { JoinResult, JoinSpec } from '../join-model.ts'
import { joiner, type Text, text, texts } from '../text.ts'

const SECONDS_3 = joinWindows({ timeDifferenceMs: 3_000, graceMs: 2_000 })
const ASYMMETRIC = joinWindows({ beforeMs: 500, afterMs: 4_000, graceMs: 2_000 })
const NO_GRACE = joinWindows({ timeDifferenceMs: 3_000, graceMs: 0 })
const SECONDS_2 = joinWindows({ timeDifferenceMs: 2_000, graceMs: 1_000 })

type Kind = 'join' | 'leftJoin' | 'outerJoin'

const joined = { name: 'joined' } as const

const joining =
  (kind: Kind, windows: JoinWindows): Build =>
  (t) => {
    const [left, right] = [t.stream('l', texts), t.stream('r', texts)]
    const results = {
      join: () => left.join(right, joiner, windows, joined),
      leftJoin: () => left.leftJoin(right, joiner, windows, joined),
      outerJoin: () => left.outerJoin(right, joiner, windows, joined),
    }
    results[kind]().to('out', { value: string })
  }

const beforeColon = (value: Text): Text => (value === null ? null : (value.split(':')[0] as string))

const half = (value: string, key: Text): string =>
  key === null ? 'nokey' : value.includes('null') ? 'half' : 'full'

export const joins: Family = {
  'stream-stream-inner': joining('join', SECONDS_3),
  'stream-stream-inner-asymmetric': joining('join', ASYMMETRIC),
  'stream-stream-left': joining('leftJoin', SECONDS_3),
  'stream-stream-outer': joining('outerJoin', SECONDS_3),
  'stream-stream-left-asymmetric': joining('leftJoin', ASYMMETRIC),
  'stream-stream-outer-asymmetric': joining('outerJoin', ASYMMETRIC),
  'stream-stream-left-no-grace': joining('leftJoin', NO_GRACE),

  'stream-stream-self': (t) => {
    const all = t.stream('in', texts)
    all.join(all, joiner, SECONDS_3, joined).to('out', { value: string })
  },

  'stream-stream-rekeyed': (t) =>
    t
      .stream('l', texts)
      .selectKey(beforeColon)
      .repartition('by-id-left', texts)
      .leftJoin(
        t.stream('r', texts).selectKey(beforeColon).repartition('by-id-right', texts),
        joiner,
        SECONDS_3,
        joined,
      )
      .to('out', { value: string }),

  'headers-join': (t) => {
    const s = t.stream('s', texts)
    s.leftJoin(t.table('t', texts), joiner).to('st', { value: string })
    s.leftJoin(t.stream('u', texts), joiner, SECONDS_3, joined).to('ss', { value: string })
  },

  'chain-join-then-aggregate': (t) =>
    t
      .stream('l', texts)
      .outerJoin(t.stream('r', texts), joiner, SECONDS_2, joined)
      .groupBy('by-kind', half, { key: text, value: string })
      .count('counts', { value: int64 })
      .toStream()
      .to('out'),
}

const spec = (windows: JoinWindows, isOuter: JoinSpec['isOuter']): JoinSpec => ({
  ...windows,
  left: 'l',
  right: 'r',
  isOuter,
})
const LEFT = { left: true, right: false }
const BOTH = { left: true, right: true }

/** What comes of a join's results behind it. */
export type Behind = (results: readonly JoinResult[]) => readonly JoinResult[]

export interface Modelled {
  readonly sink: string
  readonly spec: JoinSpec
  /** Default: they are the outputs. */
  readonly behind?: Behind
  /** The store that has the last of the outputs of each key. */
  readonly store?: string
}

/** As a count by kind does. */
const counted: Behind = (results) => {
  const counts = new Map<string, { count: number; ts: number }>()
  return results.map(({ key, value, ts, by }) => {
    const kind = half(value as string, key)
    const before = counts.get(kind) ?? { count: 0, ts: -1 }
    const now = { count: before.count + 1, ts: Math.max(before.ts, ts as number) }
    counts.set(kind, now)
    return { key: kind, value: String(now.count), ts: now.ts, by }
  })
}

/** Joins whose results of records without a match are not the recording's, but those of a model. */
export const modelled: Readonly<Record<string, Modelled>> = {
  'stream-stream-left': { sink: 'out', spec: spec(SECONDS_3, LEFT) },
  'stream-stream-outer': { sink: 'out', spec: spec(SECONDS_3, BOTH) },
  'stream-stream-left-asymmetric': { sink: 'out', spec: spec(ASYMMETRIC, LEFT) },
  'stream-stream-outer-asymmetric': { sink: 'out', spec: spec(ASYMMETRIC, BOTH) },
  'stream-stream-left-no-grace': { sink: 'out', spec: spec(NO_GRACE, LEFT) },
  'stream-stream-rekeyed': {
    sink: 'out',
    spec: {
      ...spec(SECONDS_3, LEFT),
      // A record without key that no result can come of is dropped before the join.
      keyOf: (value, _, isLeft) =>
        isLeft && value !== null ? beforeColon(value) : (beforeColon(value) ?? undefined),
    },
  },
  'headers-join': { sink: 'ss', spec: { ...spec(SECONDS_3, LEFT), left: 's', right: 'u' } },
  'chain-join-then-aggregate': { sink: 'out', spec: spec(SECONDS_2, BOTH), behind: counted, store: 'counts' },
}
