/** The benchmark from end to end, on not many records (it has to last for a few looks) and without its peer, which would have to be built. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { describeOnKafka } from '../stack/kafka.ts'

const MAIN = fileURLToPath(new URL('../../bench/main.ts', import.meta.url))

describeOnKafka('npm run bench', ({ brokers }) => {
  test.each(['pass', 'count'])('%s: runs, checks the output and tells how fast it was', async (kind) => {
    const args = [
      MAIN,
      kind,
      '--only',
      'druse',
      '--runs',
      '1',
      '--records',
      '200000',
      '--keys',
      '500',
      '--json',
    ]
    const env = { ...process.env, KAFKA_BROKERS: brokers.join() }
    const { stdout } = await promisify(execFile)(process.execPath, args, { env })
    const result = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string)
    expect(result).toMatchObject({ name: kind, peer: null, ratio: null })
    expect(result.druse).toBeGreaterThan(0)
    expect(result.runs).toMatchObject([{ program: 'druse', outputRecords: 200_000 }])
  })
})
