/**
 * The checker of chaos runs finds nothing in a run in which nothing went wrong, and each thing that can be wrong: in what
 * was read of that run, changed in one place, and in topics of a real Kafka.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Druse, schemaRegistry, silentLogger } from '../../src/index.ts'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import type { CommittedRecord } from '../stack/committed.ts'
import { describeWithJavaConsumer } from '../stack/java-consumer.ts'
import { describeOnKafka } from '../stack/kafka.ts'
import { describeOnRegistry } from '../stack/registry.ts'
import { type CheckOptions, check, type Evidence, gather, judge } from './check.ts'
import { untilDrained } from './drain.ts'
import { feed } from './feed.ts'
import { readLedger } from './ledger.ts'
import { applicationOf, changelogOf } from './names.ts'
import { regionKey } from './offset-law.ts'
import { OFFSET_LOG } from './offset-log.ts'
import { fingerprintOf, readState, type StoredTask } from './state.ts'
import {
  added,
  any,
  bothInside,
  type Change,
  changed,
  halved,
  hasEmptyKey,
  hasNoKey,
  hasNoValue,
  header,
  isOf,
  isSweep,
  moved,
  reheaded,
  relisted,
  restated,
  sameKey,
  samePlace,
  swapped,
  twice,
  undeleted,
  without,
} from './tampering.ts'
import { Verdict } from './verdict.ts'
import { watch } from './watch.ts'
import { makeTopics, workloads } from './workloads.ts'

const RECORDS_PER_SECOND = 1_500
const TRANSACTIONS = 8
const LIMIT = { timeout: 120_000 }

describeWithJavaConsumer('the checker', () => {
  describeOnKafka('of a run', ({ brokers: list }) => {
    describeOnRegistry('with a registry', (registryUrl) => {
      const brokers = list.join()
      const prefix = `check-${process.hrtime.bigint().toString(36)}-`
      let directory: string
      let options: CheckOptions
      let evidence: Evidence

      async function start(): Promise<Druse> {
        const wire = kafkaWire({ brokers: list })
        const registry = schemaRegistry({ url: registryUrl })
        const stateDir = join(directory, 'state')
        const app = new Druse(workloads({ prefix, registryUrl }), {
          wire,
          registry,
          stateDir,
          logger: silentLogger,
        })
        await app.start()
        return app
      }

      beforeAll(async () => {
        directory = await mkdtemp(join(tmpdir(), 'druse-checker-'))
        const ledger = join(directory, 'ledger')
        const watched = join(directory, 'watched')
        options = { brokers, prefix, ledger, watched, registryUrl, stateDirs: [join(directory, 'state')] }
        await makeTopics(kafkaWire({ brokers: list }), prefix)
        const stop = new AbortController()
        const fed = feed(
          { brokers, prefix, ledger, registryUrl, seed: 11, recordsPerSecond: RECORDS_PER_SECOND },
          stop.signal,
        )
        const reader = await watch({ brokers, prefix, directory: watched })
        const app = await start()
        while (((await readLedger(ledger))?.transactions ?? 0) <= TRANSACTIONS) await pause(50)
        stop.abort()
        await fed
        expect(await untilDrained({ brokers, prefix, orders: true }, 60_000)).toBeDefined()
        await reader.finish()
        await app.close()
        const verdict = new Verdict()
        evidence = await gather(options, verdict)
        expect(verdict.violations).toEqual([])
      }, LIMIT.timeout)

      afterAll(() => rm(directory, { recursive: true }))

      const isCommit = ({ key }: CommittedRecord): boolean =>
        key?.readInt16BE() === 1 && key.includes(applicationOf(prefix))
      const bothCommits = (a: CommittedRecord, b: CommittedRecord): boolean =>
        isCommit(a) && isCommit(b) && sameKey(a, b)
      const lawsBroken = (changed: Evidence): string[] => {
        const verdict = new Verdict()
        judge(changed, verdict)
        return [...new Set(verdict.violations.map((violation) => violation.split(':')[0] as string))].sort()
      }

      test('finds nothing where nothing is wrong', () => {
        const verdict = new Verdict()
        const fed = judge(evidence, verdict)
        expect(verdict.violations).toEqual([])
        expect(fed.transactions).toBeGreaterThan(TRANSACTIONS)
        // Everything that the cases below take for granted.
        for (const [topic, records] of evidence.topics) expect(records.length, topic).toBeGreaterThan(0)
      })

      describe('finds', () => {
        const broken: [what: string, laws: string[], topic: string, change: Change][] = [
          ['an input that is lost', ['C1 input', 'C1 copies'], 'raw', without(any)],
          ['an input that is there twice', ['C1 input', 'C1 left', 'C1 right'], 'pairs', twice(any)],
          ['inputs in another order', ['C1 input', 'C1 copies'], 'raw', swapped(sameKey)],
          ['an input that has changed', ['C1 input', 'C1 copies'], 'raw', changed(any, { timestamp: 1 })],
          [
            'an input of an aborted transaction',
            ['C1 copies', 'C1 input', 'C4 input'],
            'raw',
            added(any, { headers: [header('id', 'x1.1'), header('fate', 'aborted')] }),
          ],
          ['a count that is there twice', ['C1 counts'], 'counts', twice(any)],
          ['a count that is lost', ['C1 counts'], 'counts', without(any)],
          ['counts in another order', ['C1 counts'], 'counts', swapped(sameKey)],
          ['a count that is one too high', ['C1 counts'], 'counts', changed(any, { value: int64(99) })],
          ['a count with another time', ['C1 counts'], 'counts', changed(any, { timestamp: 5 })],
          ['a count in two partitions', ['C1 counts'], 'counts', moved],
          ['a count of nothing', ['C1 counts'], 'counts', added(any, { key: Buffer.from('none') })],
          ['a transfer that is not booked', ['C1 bank', 'C2 state'], 'statements', without(isOf('inside'))],
          ['a transfer that is booked twice', ['C1 bank', 'C2 state'], 'statements', twice(isOf('debit'))],
          ['money that arrives twice', ['C1 bank', 'C2 state'], 'statements', twice(isOf('credit'))],
          ['money that is lost', ['C1 bank', 'C2 state'], 'statements', without(isOf('credit'))],
          ['a balance that is wrong', ['C1 bank'], 'statements', restated('debit', { fromBalance: -7 })],
          ['a transfer refused for nothing', ['C1 bank'], 'statements', restated('refused', { amount: 1 })],
          [
            'another amount',
            ['C1 bank', 'C2 state'],
            'statements',
            restated('inside', { amount: 1_000_000 }),
          ],
          ['statements in another order', ['C1 bank'], 'statements', swapped(bothInside)],
          [
            'an item that is in a list twice',
            ['C1 lists'],
            'lists',
            relisted((ids) => [...ids, ids[0] ?? '']),
          ],
          ['a list without an item', ['C1 lists'], 'lists', relisted((ids) => ids.slice(1))],
          ['a list in another order', ['C1 lists'], 'lists', relisted((ids) => ids.toReversed())],
          ['a list that is written twice', ['C1 lists'], 'lists', twice(any)],
          ['a list that is not written', ['C1 lists'], 'lists', without(any)],
          ['a list that is not one', ['C1 lists'], 'lists', changed(any, { value: Buffer.from('{') })],
          ['a record in one of two topics', ['C1 left'], 'left', without(any)],
          ['a record twice in one of two topics', ['C1 right'], 'right', twice(any)],
          ['a record with another value', ['C1 right'], 'right', changed(any, { value: null })],
          ['records in another order', ['C1 left'], 'left', swapped(sameKey)],
          ['a tombstone that is lost', ['C1 live'], 'live', without(hasNoValue)],
          ['a tombstone with a value', ['C1 live'], 'live', changed(hasNoValue, { value: Buffer.alloc(0) })],
          [
            'a sweep of other entries',
            ['C1 live'],
            'live',
            changed(isSweep, { value: Buffer.from('swept') }),
          ],
          ['changes in another order', ['C1 live'], 'live', swapped(samePlace)],
          ['a copy that is there twice', ['C1 copies'], 'copies', twice(hasNoKey)],
          ['a copy that is lost', ['C1 copies'], 'copies', without(hasEmptyKey)],
          [
            'an empty value for none',
            ['C1 copies'],
            'copies',
            changed(hasNoValue, { value: Buffer.alloc(0) }),
          ],
          ['no key for an empty one', ['C1 copies'], 'copies', changed(hasEmptyKey, { key: null })],
          [
            'a header that is lost',
            ['C1 copies'],
            'copies',
            changed(any, (record) => ({ headers: record.headers.slice(1) })),
          ],
          ['a copy elsewhere', ['C1 copies'], 'copies', moved],
          ['copies in another order', ['C1 copies'], 'copies', swapped(sameKey)],
          ['a total that is there twice', ['C1 totals'], 'totals', twice(any)],
          ['a total of something else', ['C1 totals'], 'totals', changed(any, { value: int64(0) })],
          ['totals in another order', ['C1 totals'], 'totals', swapped(sameKey)],
          ['a dead letter that is lost', ['C1 refused'], 'refused', without(any)],
          ['a dead letter that is there twice', ['C1 refused'], 'refused', twice(any)],
          ['a dead letter with other bytes', ['C1 refused'], 'refused', changed(any, { key: null })],
          [
            'a dead letter from elsewhere',
            ['C1 refused'],
            'refused',
            reheaded('druse.error.offset', '1000000'),
          ],
          [
            'a dead letter for another reason',
            ['C1 refused'],
            'refused',
            reheaded('druse.error.code', 'NONE'),
          ],
          ['a change that is lost', ['C2 state'], 'lists-changelog', without(any)],
          ['a change to another value', ['C2 state'], 'counts-changelog', changed(any, { value: int64(0) })],
          ['a change with another time', ['C2 state'], 'counts-changelog', changed(any, { timestamp: 1 })],
          ['a deletion that is lost', ['C2 state'], 'live-changelog', undeleted],
          ['an entry of nothing', ['C2 state'], 'lists-changelog', added(any, { key: Buffer.from('none') })],
          ['a change that no commit holds', ['C2 state'], 'spend-changelog', added(any, { offset: 1e9 })],
          ['a commit that goes back', ['C3 offsets'], OFFSET_LOG, swapped(bothCommits)],
          ['an offset that is taken away', ['C3 offsets'], OFFSET_LOG, changed(isCommit, { value: null })],
          ['half a transfer in the region', ['C1 bank', 'C2 state'], 'balances-changelog', halved],
        ]
        test.each(broken)('%s', (_, laws, topic, change) => {
          const records = evidence.topics.get(topic) ?? []
          const topics = new Map([...evidence.topics, [topic, change(records)]])
          expect(lawsBroken({ ...evidence, topics, watched: undefined })).toEqual([...laws].sort())
        })

        test('records that somebody who read along has not seen, has seen once more, or has seen in another order', () => {
          for (const change of [without(any), twice(any), swapped(samePlace)]) {
            const seen = change(evidence.watched?.get('left') ?? [])
            const watched = new Map([...(evidence.watched ?? []), ['left', seen]])
            expect(lawsBroken({ ...evidence, watched })).toEqual(['C6 watched'])
          }
        })

        test('a transaction that is open', () => {
          const ends = evidence.ends.map((end, i) =>
            i === 3 ? { ...end, lastStable: end.highWatermark - 1 } : end,
          )
          expect(lawsBroken({ ...evidence, ends })).toEqual(['C5 open'])
        })

        test('offsets that are not at the end, beyond it, or missing', () => {
          const committed = evidence.committed ?? []
          const [one] = committed
          for (const by of [-1, 1]) {
            const wrong = committed.map((input) =>
              input === one ? { ...input, offset: input.offset + by } : input,
            )
            expect(lawsBroken({ ...evidence, committed: wrong })).toEqual(['C3 offsets'])
          }
          expect(lawsBroken({ ...evidence, committed: committed.slice(1) })).toEqual(['C3 offsets'])
          expect(lawsBroken({ ...evidence, committed: undefined })).toEqual(['C3 offsets'])
        })

        const tasks: [what: string, change: (task: StoredTask) => StoredTask | undefined][] = [
          ['an entry that is one too high', (task) => withEntry(task, (entry) => `${entry}0`)],
          ['an entry that is lost', (task) => withEntry(task, () => undefined)],
          ['a directory that is ahead', (task) => ({ ...task, sequence: (task.sequence ?? 0) + 1 })],
          ['a directory that is behind', (task) => ({ ...task, sequence: (task.sequence ?? 0) - 1 })],
          [
            'a directory that says it is elsewhere',
            (task) => ({ ...task, positions: { ...task.positions, [regionKey('counts')]: 1 } }),
          ],
          ['no directory at all', () => undefined],
        ]
        test.each(tasks)('in the state %s', (_, change) => {
          const { tasks } = evidence.state
          const one = tasks.find(hasCounts)
          expect(one).toBeDefined()
          const state = {
            ...evidence.state,
            tasks: tasks.flatMap((task) => (task === one ? (change(task) ?? []) : task)),
          }
          expect(lawsBroken({ ...evidence, state })).toEqual(['C2 state'])
        })
      })

      test('state is the same after a restart', LIMIT, async () => {
        const app = await start()
        await app.untilRunning()
        await app.close()
        const { state } = evidence
        expect(fingerprintOf(await readState(options.stateDirs))).toBe(fingerprintOf(state))
        const one = state.tasks.find(hasCounts) as StoredTask
        const other = state.tasks.map((task) => (task === one ? withEntry(one, () => undefined) : task))
        expect(fingerprintOf({ ...state, tasks: other })).not.toBe(fingerprintOf(state))
      })

      test('on Kafka: finds what is written by somebody else', LIMIT, async () => {
        const kafka = new Kafka({ brokers: [...list], logLevel: logLevel.NOTHING })
        const producer = kafka.producer({ transactionalId: `${prefix}wrong`, maxInFlightRequests: 1 })
        await producer.connect()
        const lastOf = (name: string): CommittedRecord => evidence.topics.get(name)?.at(-1) as CommittedRecord
        const written = await producer.transaction()
        await written.sendBatch({
          topicMessages: [
            messageOf(`${prefix}counts`, lastOf('counts')),
            messageOf(`${prefix}left`, lastOf('left')),
            messageOf(`${prefix}copies`, lastOf('copies')),
            messageOf(`${prefix}pairs`, { ...lastOf('pairs'), headers: [header('id', 'x1.1')] }),
            messageOf(changelogOf(prefix, 'lists'), lastOf('lists-changelog')),
          ],
        })
        await written.commit()
        // A transaction that nobody ends; its time-out is far.
        const open = kafka.producer({ transactionalId: `${prefix}open`, transactionTimeout: 600_000 })
        await open.connect()
        const transaction = await open.transaction()
        await transaction.sendBatch({ topicMessages: [messageOf(`${prefix}lists`, lastOf('lists'))] })
        const admin = kafka.admin()
        await admin.connect()
        const groupId = `${prefix}chaos`
        const partitions = [{ partition: 0, offset: '1' }]
        await admin.setOffsets({ groupId, topic: `${prefix}items`, partitions })
        await admin.disconnect()
        await mkdir(join(directory, 'state', 'tasks.aside-1'))

        const { violations } = await check({ ...options, patienceMs: 0 })
        const laws = [...new Set(violations.map((violation) => violation.split(':')[0]))].sort()
        expect(laws).toEqual(
          [
            ...['C1 copies', 'C1 counts', 'C1 input', 'C1 left', 'C1 right', 'C2 state'],
            ...['C3 offsets', 'C4 input', 'C5 open', 'C6 watched', 'C7 state'],
          ].sort(),
        )
        await transaction.abort()
        await open.disconnect()
        await producer.disconnect()
      })
    })
  })
})

const hasCounts = ({ regions }: StoredTask): boolean => (regions.get('counts')?.size ?? 0) > 1

const int64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}

/** With another entry in the place of the first of its counts. */
function withEntry(task: StoredTask, by: (entry: string) => string | undefined): StoredTask {
  const counts = new Map(task.regions.get('counts'))
  const [key, entry] = [...counts][0] as [string, string]
  const other = by(entry)
  if (other === undefined) counts.delete(key)
  else counts.set(key, other)
  return { ...task, regions: new Map([...task.regions, ['counts', counts]]) }
}

function messageOf(topic: string, { partition, key, value, timestamp, headers }: CommittedRecord) {
  const named = Object.fromEntries(headers.map(({ key, value }) => [key, value ?? '']))
  return { topic, messages: [{ partition, key, value, timestamp: String(timestamp), headers: named }] }
}
