import { int64, string, type Topology, tumblingWindows } from '../../../src/index.ts'
import type { Family } from '../build.ts'
import { ints, type Text, text, texts } from '../text.ts'

/** Sums by key, told and forgotten by a punctuator. */
const summing = (t: Topology, type: 'streamTime' | 'wallClock', intervalMs: number): void => {
  const sums = t.region('sums', { key: string, value: int64 })
  t.stream('in', ints)
    .process(
      'sum',
      { regions: [sums], value: int64 },
      {
        get({ schedule, sums, forward }) {
          schedule(intervalMs, type, async (timestamp) => {
            for await (const [key, sum] of sums.range()) {
              forward(key, sum, { timestamp })
              sums.delete(key)
            }
          })
          return ({ key, value }) => {
            if (key !== null && value !== null) sums.put(key, (sums.get(key) ?? 0) + value)
          }
        },
      },
    )
    .to('out')
}

export const time: Family = {
  'processor-stream-time': (t) => summing(t, 'streamTime', 5_000),

  'processor-wall-clock': (t) => summing(t, 'wallClock', 2_000),

  'processor-cancel': (t) =>
    t
      .stream('in', ints)
      .process(
        'ticks',
        { key: string, value: int64 },
        {
          get({ schedule, forward }) {
            let isActive = false
            const begin = (): void => {
              let calls = 0
              isActive = true
              const made = schedule(10_000, 'streamTime', (timestamp) => {
                calls += 1
                forward('tick', calls, { timestamp })
                if (calls < 3) return
                made.cancel()
                isActive = false
              })
            }
            begin()
            return ({ value }) => {
              if (!isActive && value !== null && value % 2 === 0) begin()
            }
          },
        },
      )
      .to('out'),

  'processor-forward': (t) =>
    t
      .stream('in', ints)
      .process<readonly [], Text, string>(
        'p',
        { key: text, value: string },
        ({ key, value, timestamp }, { forward, ...context }) => {
          if (value === null) return forward(key, 'nil')
          forward(`${key}!`, `${value}`, { timestamp: timestamp + 500 })
          forward('copy', `${value}@${context.streamTimeMs}`)
        },
      )
      .to('out'),

  'process-values': (t) => {
    const sums = t.region('sums', { key: string, value: int64 })
    t.stream('in', ints)
      .processValues(
        'p',
        { regions: [sums], value: string },
        ({ key, value, timestamp }, { sums, forward }) => {
          if (key === null || value === null) return forward('skip')
          const sum = (sums.get(key) ?? 0) + value
          sums.put(key, sum)
          forward(`${sum}/${timestamp}`)
        },
      )
      .to('out')
  },

  'headers-processor': (t) =>
    t
      .stream('in', ints)
      .process('p', {}, ({ key, value, headers }, { forward }) => {
        const others = headers.filter((header) => header.key !== 'tag')
        forward(key, value, { headers: [...others, { key: 'p', value: Buffer.from(String(value)) }] })
      })
      .to('out'),

  'timestamp-extractor': (t) => {
    const events = t.stream('in', {
      ...texts,
      timestamp: (value, _key, _record, partitionTimeMs) =>
        value?.includes('@') ? Number(value.split('@')[1]) : partitionTimeMs,
    })
    events.to('all')
    events
      .filter((value) => value !== null)
      .groupByKey()
      .windowedBy(tumblingWindows({ sizeMs: 5_000, graceMs: 2_000 }))
      .count('counts', { retentionMs: 86_400_000 })
      .toStream()
      .to('out')
  },
}
