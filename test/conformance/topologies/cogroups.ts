import { sessionWindows, string, type Topology, tumblingWindows } from '../../../src/index.ts'
import type { Family } from '../build.ts'
import { type Text, texts } from '../text.ts'
import { last30 } from './windows.ts'

const added = (mark: string) => (list: string, value: Text) => last30(`${list},${mark}${value}`)

const onlyThere = (t: Topology, topic: string) =>
  t
    .stream(topic, texts)
    .filter((value) => value !== null)
    .groupByKey()

export const cogroups: Family = {
  cogroup: (t) =>
    t
      .stream('a', texts)
      .groupByKey()
      .cogroup(added('a'))
      .cogroup(t.stream('b', texts).groupByKey(), added('b'))
      .aggregate('agg', () => '', { value: string })
      .toStream()
      .to('out'),

  'cogroup-tumbling': (t) =>
    onlyThere(t, 'a')
      .cogroup(added('a'))
      .cogroup(onlyThere(t, 'b'), added('b'))
      .windowedBy(tumblingWindows({ sizeMs: 5_000, graceMs: 2_000 }))
      .aggregate('agg', () => '', { value: string, retentionMs: 86_400_000 })
      .toStream()
      .to('out'),

  'cogroup-session': (t) =>
    onlyThere(t, 'a')
      .cogroup(added('a'))
      .cogroup(onlyThere(t, 'b'), added('b'))
      .windowedBy(sessionWindows({ inactivityGapMs: 3_000, graceMs: 2_000 }))
      .aggregate(
        'agg',
        () => '',
        (list, other) => last30(`${list}+${other}`),
        { value: string },
      )
      .toStream()
      .to('out'),
}
