import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  embeddedBroker,
  ensureTopics,
  int64,
  readTopic,
  string,
  TransactionalProducer,
} from '../../src/index.ts'
import { druse, fixture, start } from './command.ts'

let directory: string
let broker: string
let words: readonly string[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'druse-cli-'))
  broker = join(directory, 'broker')
  words = ['run', fixture('words.ts'), '--embedded', broker, '--state-dir', join(directory, 'regions')]
})

afterEach(() => rm(directory, { recursive: true }))

/** Between runs: the directory has one user at a time. */
async function produce(...lines: readonly string[]): Promise<void> {
  await using local = await embeddedBroker({ dir: broker })
  const wire = local.wire()
  await ensureTopics(wire, [
    { topic: 'lines', partitions: 2 },
    { topic: 'counts', partitions: 1 },
  ])
  const producer = await TransactionalProducer.open({ wire, transactionalId: 'lines' })
  const topic = await producer.topic('lines', { key: string, value: string })
  await producer.transact({ topic: 'lines', partition: 0 }, 0, (transaction) => {
    for (const line of lines) transaction.send(topic, { key: line, value: line })
  })
  producer.close()
}

async function counts(): Promise<(readonly [string, number])[]> {
  await using local = await embeddedBroker({ dir: broker })
  const records = await readTopic(local.wire(), 'counts', { key: string, value: int64 })
  return records.map(({ key, value }) => [key, value] as const)
}

test.each(['SIGINT', 'SIGTERM'] as const)(
  'runs until %s, commits what is done, and goes on later',
  async (signal) => {
    await produce('a')
    const first = start(words)
    await first.printed('counted a 1')
    first.kill(signal)
    const ended = await first.ended
    expect(ended).toMatchObject({ code: 0, err: '' })
    expect(ended.out.split('\n').filter((line) => line.startsWith('words: '))).toEqual([
      'words: REBALANCING',
      'words: RUNNING (4 tasks)',
      'words: PENDING_SHUTDOWN',
      'words: NOT_RUNNING',
    ])
    expect(await counts()).toEqual([['a', 1]])

    await produce('a')
    const second = start([...words, '--log-level', 'info'])
    await second.printed('counted a 2')
    second.kill(signal)
    expect((await second.ended).err).toMatch(/ info group: joined /)
    expect(await counts()).toEqual([
      ['a', 1],
      ['a', 2],
    ])
  },
)

test('ends with the code and the stack of what stopped a task', async () => {
  await produce('a', 'poison')
  const { code, out, err } = await druse(...words)
  expect(code).toBe(1)
  expect(err).toMatch(/^druse: .*\[OPERATOR_FAILED\]\n/m)
  expect(err).toMatch(/this line is poison[\s\S]*at .*words\.ts:/)
  expect(out).toMatch(/words: NOT_RUNNING\n$/)
})

test('ends with the code of what keeps the application from starting', async () => {
  const { code, out, err } = await druse(...words)
  expect(code).toBe(1)
  expect(err).toContain('[TOPIC_MISSING]')
  expect(out).toContain('words: ERROR\n')
})

test('says who has the directory of the broker', async () => {
  await produce('a')
  const first = start(words)
  await first.printed('RUNNING')
  expect(await druse(...words)).toMatchObject({ code: 1, err: expect.stringContaining('[DISK_LOCKED]') })
  first.kill('SIGTERM')
  expect(await first.ended).toMatchObject({ code: 0 })
})

test('needs a way to Kafka', async () => {
  const ended = await druse('run', fixture('words.ts'))
  expect(ended).toMatchObject({ code: 1, out: '' })
  expect(ended.err).toMatch(/Where is Kafka\?.*\[OPTION_INVALID\]/)
})

test('tells which broker is none', async () => {
  const ended = await druse('run', fixture('words.ts'), '--brokers', 'localhost:9092, localhost')
  expect(ended).toMatchObject({ code: 1, out: '' })
  expect(ended.err).toContain("'localhost' is no broker: say host:port [OPTION_INVALID]")
})

test('takes the options that the module brings', async () => {
  const command = start(['run', fixture('with-options.ts')])
  await command.printed('with-options: RUNNING (3 tasks)')
  command.kill('SIGINT')
  expect(await command.ended).toMatchObject({ code: 0, err: '' })

  // What the command line says comes first: another directory, and a broker without the module's topics.
  const regions = join(directory, 'regions')
  const elsewhere = start(['run', fixture('with-options.ts'), '--state-dir', regions])
  await elsewhere.printed('RUNNING')
  elsewhere.kill('SIGINT')
  await elsewhere.ended
  expect((await stat(join(regions, 'owner.json'))).isFile()).toBe(true)
  const empty = await druse('run', fixture('with-options.ts'), '--embedded', broker)
  expect(empty).toMatchObject({ code: 1, err: expect.stringContaining('[TOPIC_MISSING]') })
})

test('tells when the options of the module fail, or are none', async () => {
  const failing = await druse('run', fixture('default-export.ts'))
  expect(failing.code).toBe(1)
  expect(failing.err).toMatch(/no broker today \[MODULE_FAILED\]/)
  const bad = await druse('run', fixture('bad-options.ts'))
  expect(bad.code).toBe(1)
  expect(bad.err).toContain('[MODULE_INVALID]')
})

test('keeps regions in state/<application> of the working directory when nothing else is said', async () => {
  await produce('a')
  const command = start(words.slice(0, 4), directory)
  await command.printed('counted a 1')
  command.kill('SIGTERM')
  await command.ended
  expect((await stat(join(directory, 'state/words/owner.json'))).isFile()).toBe(true)
})
