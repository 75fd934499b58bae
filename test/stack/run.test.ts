/** Whole runs of Vitest: what they say of Kafka, and that nothing of it outlives them. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ChildProcess } from '../child-process.ts'
import { describeOnClusters } from './cluster.ts'
import { isListening } from './listening.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const VITEST = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs')
/** A broker may have to be started. */
const LIMIT = { timeout: 180_000 }
/** Versions that neither Docker nor Maven has: as on a machine that has nothing. */
const NOWHERE = { DRUSE_KAFKA_VERSIONS: '0.0.1,0.0.2', PATH: dirname(process.execPath) }
const LAST_LINE =
  'Tests that need Kafka did not run: start Docker, or install a JDK (17 or later) and Maven, or set KAFKA_BROKERS (README, "Working on Druse").'

let temporary: string

beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), 'druse-run-'))
})
afterEach(() => rm(temporary, { recursive: true }))

function run(more: NodeJS.ProcessEnv): ChildProcess {
  const own = Object.entries(process.env).filter(([name]) => !/^VITEST|^KAFKA_|^DRUSE_/.test(name))
  const env = { ...Object.fromEntries(own), TMPDIR: temporary, NO_COLOR: '1', ...more }
  const config = join('test', 'stack', 'sample', 'vitest.config.ts')
  return new ChildProcess(VITEST, ['run', '--config', config, '--root', ROOT], ROOT, env)
}

test('without Kafka its tests are skipped, and the last line says what to do', LIMIT, async () => {
  const { code, out } = await run(NOWHERE).ended
  expect(out).toMatch(/Tests +1 passed \| 3 skipped/)
  expect(out.trim().split('\n').at(-1)).toBe(LAST_LINE)
  expect(code).toBe(0)
  expect(await readdir(temporary)).toEqual([])
})

test('where Kafka is required its absence is a failure, with the reasons', LIMIT, async () => {
  const { code, out, err } = await run({ ...NOWHERE, DRUSE_REQUIRE_KAFKA: '1' }).ended
  expect(out).toMatch(/Tests +3 failed \| 1 passed/)
  expect(err).toMatch(/Nothing gives Kafka to test on \(Docker: .*; Java: no java\)/s)
  expect(code).toBe(1)
})

test('KAFKA_BROKERS that do not answer are a failure', LIMIT, async () => {
  const { code, err } = await run({ KAFKA_BROKERS: '127.0.0.1:1' }).ended
  expect(err).toContain('KAFKA_BROKERS names it')
  expect(code).toBe(1)
})

describeOnClusters('a run on Kafka', () => {
  test('says where it was found, and takes it along', LIMIT, async () => {
    const { code, out } = await run({}).ended
    expect(out).toMatch(/Tests +3 passed/)
    expect(out.trim().split('\n').at(-1)).toMatch(/^Kafka 4\.1\.0: (Docker|Java)$/)
    expect(code).toBe(0)
    expect(await isListening(brokerIn(out))).toBe(false)
    expect(await readdir(temporary)).toEqual([])
  })

  for (const signal of ['SIGINT', 'SIGKILL'] as const) {
    test(`takes it along on ${signal}`, LIMIT, async () => {
      const vitest = run({ SAMPLE: 'waits' })
      await vitest.printed('brokers=')
      vitest.kill(signal)
      // The keeper writes to the same standard error: it has ended, too.
      const { out } = await vitest.ended
      expect(await isListening(brokerIn(out))).toBe(false)
      expect((await readdir(temporary)).filter((name) => name.startsWith('druse-'))).toEqual([])
    })
  }
})

function brokerIn(out: string): string {
  const broker = /^brokers=(.*)$/m.exec(out)?.[1]
  if (broker === undefined) throw new Error(`No broker in ${out}`)
  return broker
}
