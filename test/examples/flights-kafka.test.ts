/** The main job on a real Kafka, in one process and in several. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ChildProcess, Ended } from '../child-process.ts'
import { describeOnKafka } from '../stack/kafka.ts'
import { describeOnRegistry } from '../stack/registry.ts'
import { committedIn, expectedReport, startDemo } from './demo.ts'

let directory: string
let prefix: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'druse-flights-'))
  prefix = `t${process.hrtime.bigint().toString(36)}-`
})

afterEach(() => rm(directory, { recursive: true }))

/** A process with its own directory and report. */
function demo(name: string, brokers: readonly string[], ...more: readonly string[]): ChildProcess {
  const own = ['--data-dir', join(directory, name), '--report', reportOf(name)]
  return startDemo('--brokers', brokers.join(), '--prefix', prefix, ...own, ...more)
}

function reportOf(name: string): string {
  return join(directory, `${name}.json`)
}

async function expectReport(name: string, flights = Number.POSITIVE_INFINITY): Promise<void> {
  const found: unknown = JSON.parse(await readFile(reportOf(name), 'utf8'))
  expect(found).toEqual(await expectedReport('flights-20k', flights))
}

function expectDone(ended: Ended): void {
  expect(ended, `${ended.err}\n${ended.out}`).toMatchObject({ code: 0 })
}

describeOnKafka('flights on Kafka, in one process', ({ brokers }) => {
  test('goes on after a kill, and says the same when it is asked again', async () => {
    const killed = demo('one', brokers, '--progress', '20')
    await killed.until((out) => committedIn(out) > 1_000)
    killed.kill('SIGKILL')
    await killed.ended
    expectDone(await demo('one', brokers).ended)
    await expectReport('one')

    await rm(reportOf('one'))
    const again = await demo('one', brokers).ended
    expectDone(again)
    expect(again.out).toContain('Found: 3376/3376 airports and 20000/20000 flights fed.')
    expect(again.out).toContain('processed 0, committed 20000/20000')
    await expectReport('one')
  })

  test('without a registry, refuses to go on in a directory that does not know the schemas', async () => {
    expectDone(await demo('one', brokers, '--flights', '500').ended)
    const other = await demo('other', brokers, '--flights', '500').ended
    expect(other).toMatchObject({ code: 1, err: expect.stringContaining('knows the ids of the schemas') })
  })
})

describeOnKafka('flights on Kafka, in several processes', ({ brokers }) => {
  describeOnRegistry('with a registry', (url) => {
    const shared = ['--registry', url, '--progress', '20']

    test('one feeds, both work, and both end with the same figures', async () => {
      const helper = demo('b', brokers, ...shared, '--no-feed')
      await helper.printed('Another process feeds.')
      const feeder = demo('a', brokers, ...shared)
      expectDone(await feeder.ended)
      const helped = await helper.ended
      expectDone(helped)
      expect(helped.out).not.toContain('processed 0, committed 20000')
      await expectReport('a')
      await expectReport('b')
    })

    test('refuses to go on with a registry that does not know the schemas', async () => {
      expectDone(await demo('one', brokers, '--flights', '500').ended)
      const other = await demo('other', brokers, '--flights', '600', ...shared).ended
      expect(other).toMatchObject({ code: 1 })
      expect(other.err).toMatch(/\[(DECODE_FAILED|SCHEMA_UNKNOWN)\]\n$/)
    })

    test('a second feeder takes over, and the first one says so and goes on', async () => {
      const first = demo('a', brokers, ...shared)
      await first.until((out) => /fed [1-9]/.test(out))
      // Frozen, or it might have fed everything before the second one can take over.
      first.kill('SIGSTOP')
      const second = demo('b', brokers, ...shared)
      await second.until((out) => out.includes('fed '))
      first.kill('SIGCONT')
      const [a, b] = await Promise.all([first.ended, second.ended])
      expectDone(a)
      expectDone(b)
      expect(a.out).toContain('Another process feeds now.')
      expect(b.out).not.toContain('Another process feeds now.')
      await expectReport('a')
      await expectReport('b')
    })

    test('who joins without feeding stops at a signal, and leaves the rest to the others', async () => {
      const feeder = demo('a', brokers, ...shared)
      const helper = demo('b', brokers, ...shared, '--no-feed')
      await helper.until((out) => committedIn(out) > 500)
      helper.kill('SIGINT')
      expect(await helper.ended).toMatchObject({ code: 130 })
      expectDone(await feeder.ended)
      await expectReport('a')
    })
  })
})
