/** Applications that change between their starts, and starts of which a part goes wrong. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Topology } from '../../src/index.ts'
import type { Fates } from './instance.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open()
})

afterEach(async () => {
  await stage.close()
})

const until = <T>(look: () => T) => expect.poll(look, { timeout: 20_000, interval: 5 })
const valuesOf = async (topic: string) => (await stage.read(topic)).map(([, value]) => value)
const compact = { 'cleanup.policy': 'compact' }

/** Counts what comes from one topic, or from two. */
const counting = (topics: readonly string[]) => (): Topology => {
  const t = new Topology('app')
  t.stream(topics, strings).groupByKey().count('n').toStream().mapValues(String).to('out', strings)
  return t
}

/** Copies, each input in a task of its own. */
const copying = (topics: readonly string[]) => (): Topology => {
  const t = new Topology('app')
  for (const topic of topics) t.stream(topic, strings).to('out')
  return t
}

describe('inputs', () => {
  test('one that was taken out and put back, its offset gone meanwhile, is not read again', async () => {
    await stage.topics('a', 'b', 'out')
    await stage.say('b', ['k', '1'], ['k', '2'])
    const first = await stage.run(counting(['a', 'b']))
    await stage.drained(counting(['a', 'b']))
    await first.close()
    await stage.say('a', ['k', '3'])
    const second = await stage.run(counting(['a']), { disk: first.disk })
    await stage.drained(counting(['a']))
    await second.close()
    // Offsets of topics that nobody subscribes to expire.
    await stage.commitOffset('app', { topic: 'b', partition: 0 }, -1, '')
    const third = await stage.run(counting(['a', 'b']), { disk: second.disk })
    await until(() => third.app.health.tasks[0]?.error?.code).toBe('OFFSETS_INCONSISTENT')
    expect(await valuesOf('out')).toEqual(['1', '2', '3'])
  })

  test('a first start that Kafka refuses stops its own task; the others go on', async () => {
    await stage.topics('z', 'y', 'out')
    const first = await stage.run(copying(['z']))
    await first.close()
    const fates: Fates = (request) => {
      if (request.api !== 'TxnOffsetCommit') return 'pass'
      if (!request.partitions.some(({ topic }) => topic === 'y')) return 'pass'
      const partitions = request.partitions.map((at) => ({ ...at, errorCode: at.topic === 'y' ? 29 : 0 }))
      return { answer: { partitions } }
    }
    const second = stage.instance(copying(['z', 'y']), { disk: first.disk, fates })
    await second.start()
    const statuses = () => second.app.health.tasks.map(({ status }) => status).sort()
    await until(statuses).toEqual(['failed', 'running'])
    await stage.say('z', ['k', '1'])
    await expect.poll(() => valuesOf('out'), { timeout: 20_000 }).toEqual(['1'])
  })

  test('one that cannot be looked at for its first start holds up no other task', async () => {
    await stage.topics('z', 'y', 'out')
    const first = await stage.run(copying(['z']))
    await first.close()
    const fates: Fates = (request) =>
      request.api === 'ListOffsets' && request.partitions.some(({ topic }) => topic === 'y')
        ? 'loseRequest'
        : 'pass'
    const second = stage.instance(copying(['z', 'y']), { disk: first.disk, fates })
    await second.start()
    await until(() => second.app.health.tasks.map(({ status }) => status).sort()).toEqual([
      'running',
      'taking',
    ])
    await stage.say('z', ['k', '1'])
    await expect.poll(() => valuesOf('out'), { timeout: 20_000 }).toEqual(['1'])
  })
})

describe('global regions', () => {
  const looking = (topic: string) => (): Topology => {
    const t = new Topology('app')
    const names = t.globalRegion('names', { topic, ...strings })
    t.stream('in', strings)
      .process('look', { regions: [names] }, (record, { names, forward }) =>
        forward(record.key, names.get(record.key) ?? 'nobody'),
      )
      .to('out')
    return t
  }

  test('over another topic, an empty one, nothing of the old topic is served', async () => {
    await stage.topics('in', 'out', { topic: 'old', configs: compact }, { topic: 'new', configs: compact })
    await stage.produce({ topic: 'old', partition: 0 }, [
      { key: Buffer.from('k'), value: Buffer.from('Karl') },
    ])
    const first = await stage.run(looking('old'))
    await first.close()
    await stage.run(looking('new'), { disk: first.disk })
    await stage.say('in', ['k', 'who?'])
    await stage.drained(looking('new'))
    expect(await valuesOf('out')).toEqual(['nobody'])
  })

  test('one that fails while another is loaded ends the start', async () => {
    await stage.topics('in', 'out', { topic: 'a', configs: compact }, { topic: 'b', configs: compact })
    const topology = (): Topology => {
      const t = new Topology('app')
      t.globalRegion('a', { topic: 'a', ...strings })
      t.globalRegion('b', { topic: 'b', ...strings })
      t.stream('in', strings).to('out')
      return t
    }
    const held = Promise.withResolvers<void>()
    const fates: Fates = (request) => {
      if (request.api === 'ListOffsets' && request.partitions.some(({ topic }) => topic === 'b')) {
        return { after: held.promise }
      }
      if (request.api !== 'Fetch' || !request.partitions.some(({ topic }) => topic === 'a')) return 'pass'
      const partition = {
        topic: 'a',
        partition: 0,
        errorCode: 29,
        highWatermark: 0,
        lastStableOffset: 0,
        logStartOffset: 0,
        abortedTransactions: [],
        records: new Uint8Array(),
      }
      return { answer: { errorCode: 0, partitions: [partition] } }
    }
    const one = stage.instance(topology, { fates, requestTimeoutMs: 5_000 })
    const starting = one.start().then(
      () => 'started',
      () => 'failed',
    )
    await until(() => one.app.state).toBe('ERROR')
    held.resolve()
    expect(await starting).toBe('failed')
    await one.app.close()
    // Its directory is free, and whoever comes next is alone.
    await (await one.disk.open('process')).close()
  })
})
