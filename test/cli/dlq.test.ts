import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { embeddedBroker, ensureTopics, readTopic, string, TransactionalProducer } from '../../src/index.ts'
import { druse, fixture, start } from './command.ts'

const strings = { key: string, value: string }

let directory: string
let broker: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'druse-dlq-'))
  broker = join(directory, 'broker')
  await using local = await embeddedBroker({ dir: broker })
  const wire = local.wire()
  await ensureTopics(
    wire,
    ['lines', 'seen', 'refused'].map((topic) => ({ topic, partitions: 1 })),
  )
  const producer = await TransactionalProducer.open({ wire, transactionalId: 'lines' })
  const topic = await producer.topic('lines', strings)
  await producer.transact({ topic: 'lines', partition: 0 }, 0, (transaction) => {
    for (const value of ['poison', 'fine']) transaction.send(topic, { key: 'k', value, timestamp: 1_000 })
  })
  producer.close()
  await local.close()
  const command = start([
    ...['run', fixture('picky.ts'), '--embedded', broker],
    ...['--state-dir', join(directory, 'state'), '--log-level', 'error'],
  ])
  await command.printed('saw fine')
  command.kill('SIGTERM')
  expect((await command.ended).code).toBe(0)
})

afterEach(() => rm(directory, { recursive: true }))

test('shows dead letters, sends them back, once, and shows that', async () => {
  const here = ['--embedded', broker]
  const letter = 'refused/0@0  OPERATOR_FAILED  from lines/0@0  1970-01-01T00:00:01.000Z  key "k"'
  const listed = await druse('dlq', 'list', 'refused', ...here)
  expect(listed).toMatchObject({ code: 0, err: '' })
  expect(listed.out).toMatch(
    `${letter}\n    Operator 'peek-1' failed on record lines/0@0: this line is poison`,
  )
  expect(listed.out).toMatch(/\n1 dead letter\n$/)
  const none = await druse('dlq', 'list', 'refused', ...here, '--code', 'LATE')
  expect(none).toMatchObject({ code: 0, out: '0 dead letters\n' })
  expect(await druse('dlq', 'replay', fixture('picky.ts'), ...here)).toMatchObject({
    code: 0,
    out: 'refused: 1 replayed, 0 before\n',
  })
  expect(await druse('dlq', 'replay', 'refused', ...here)).toMatchObject({
    code: 0,
    out: 'refused: 0 replayed, 1 before\n',
  })
  expect((await druse('dlq', 'list', fixture('picky.ts'), ...here)).out).toMatch(`${letter}  replayed\n`)
  await using local = await embeddedBroker({ dir: broker })
  const lines = await readTopic(local.wire(), 'lines', strings)
  expect(lines.map(({ value }) => value)).toEqual(['poison', 'fine', 'poison'])
}, 60_000)

test('says what is wrong with its arguments', async () => {
  for (const [args, what] of [
    [['dlq'], "'dlq' needs list or replay"],
    [['dlq', 'list'], "'dlq list' needs a topic, or the path of a module"],
    [['dlq', 'list', 'a', 'b'], 'not also b'],
    [['dlq', 'list', 'a', '--to', 'b'], "--to is an option of 'dlq replay'"],
    [['dlq', 'replay', 'a', '--at', 'x'], '--at x is no place like 0@12'],
  ] as const) {
    const ended = await druse(...args)
    expect(ended.code).toBe(2)
    expect(ended.err).toContain(what)
  }
}, 60_000)
