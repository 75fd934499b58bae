import { int64, string, type Topology, Windowed } from '../../../src/index.ts'
import type { Family } from '../build.ts'
import { ints, type Text, text, texts } from '../text.ts'

/** The Processor API with a store of windows. */
export const stores: Family = {
  'dedup-window-store': (t: Topology) => {
    const seen = t.windowRegion('seen', {
      key: string,
      value: string,
      sizeMs: 10_000,
      retentionMs: 3_600_000,
    })
    t.stream('in', texts)
      .process('first', { regions: [seen] }, async ({ key, value, timestamp }, { seen, forward }) => {
        if (value === null) return
        const from = Math.max(0, timestamp - 10_000)
        for await (const _ of seen.fetch(value, from, timestamp + 10_000)) return
        seen.put(new Windowed(value, timestamp, timestamp + 10_000), key ?? 'null')
        forward(key, value)
      })
      .to('out', texts)
  },

  'window-store-retention': (t: Topology) => {
    const kept = t.windowRegion('w', { key: string, value: int64, sizeMs: 1_000, retentionMs: 10_000 })
    t.stream('in', ints)
      .process<[typeof kept], Text, number>(
        'count',
        { regions: [kept], key: text, value: int64 },
        async ({ key, value, timestamp }, { w, forward }) => {
          if (key === null || value === null) return
          w.put(new Windowed(key, timestamp, timestamp + 1_000), value)
          let count = 0
          for await (const _ of w.fetch(key, 0, 1_000_000_000)) count += 1
          forward(key, count)
        },
      )
      .to('out')
  },
}
