/** Dead letters are listed, and go back to where they came from: each once, whatever happens to the replay. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type DeadLetter,
  type DeadLetterChoice,
  listDeadLetters,
  replayDeadLetters,
  string,
  Topology,
  type Wire,
} from '../../src/index.ts'
import type { Connection, Request } from '../../src/ports.ts'
import { Stage, strings } from './stage.ts'

let stage: Stage
let isMended: boolean

beforeEach(async () => {
  stage = await Stage.open()
  isMended = false
  await stage.topics({ topic: 'in', partitions: 3 }, 'out', { topic: 'dead', partitions: 2 }, 'elsewhere')
})

afterEach(() => stage.close())

const picky = () => {
  const t = new Topology('picky', {
    onFailure: { deadLetter: 'dead' },
    onUndecodable: { deadLetter: 'dead' },
  })
  t.stream('in', strings)
    .peek((value) => {
      if (value.startsWith('bad') && !isMended) throw new Error(`this is ${value}`)
    })
    .to('out')
  return t
}

const WORDS = Array.from(
  { length: 8 },
  (_, at) => [`k${at}`, at % 2 === 0 ? `bad${at}` : `good${at}`] as const,
)
const BAD = WORDS.map(([, value]) => value).filter((value) => value.startsWith('bad'))

/** Four dead letters of the application, which is gone then. */
async function bury(): Promise<void> {
  await stage.say('in', ...WORDS)
  const one = await stage.run(picky)
  await stage.drained(picky)
  await one.close()
}

async function list(choice: DeadLetterChoice = {}): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = []
  await listDeadLetters({ wire: stage.wire, topic: 'dead', ...choice }, (letter) => letters.push(letter))
  return letters
}

const textOf = ({ value }: DeadLetter) => Buffer.from(value as Uint8Array).toString()

/** As a process that is killed when this returns true: nothing of it reaches anything any more. */
function killed(
  wire: Wire,
  when: (request: Request) => 'before' | 'after' | undefined,
  dead: () => void,
): Wire {
  let isDead = false
  const never = new Promise<never>(() => {})
  return {
    ...wire,
    connect: (...args) => {
      const connection: Connection = wire.connect(...args)
      return {
        destroy: () => connection.destroy(),
        send: async (node, request, timeoutMs) => {
          const fate = isDead ? 'before' : when(request)
          if (fate === 'before') {
            isDead = true
            dead()
            return never
          }
          const outcome = await connection.send(node, request, timeoutMs)
          if (fate === 'after') isDead = true
          if (isDead) {
            dead()
            return never
          }
          return outcome
        },
      }
    },
  }
}

test('are listed: what, why, from where', async () => {
  await bury()
  const letters = await list()
  expect(letters.map(textOf).toSorted()).toEqual(BAD)
  for (const { reason, origin, isReplayed, at } of letters) {
    expect(at.topic).toBe('dead')
    expect(reason).toMatchObject({ code: 'OPERATOR_FAILED', message: expect.stringContaining('this is bad') })
    expect(origin).toMatchObject({ topic: 'in' })
    expect(isReplayed).toBe(false)
  }
  expect(await list({ codes: ['LATE'] })).toEqual([])
  expect(await list({ origins: ['out'] })).toEqual([])
  const [first] = letters as [DeadLetter]
  expect(await list({ places: [`${first.at.partition}@${first.at.offset}`], origins: ['in'] })).toEqual([
    first,
  ])
})

describe('a replay', () => {
  test('sends them back as they came, into their partitions, once', async () => {
    await bury()
    const letters = await list()
    const [first] = letters as [DeadLetter]
    const places = [`${first.at.partition}@${first.at.offset}`]
    const options = { wire: stage.wire, topic: 'dead' }
    expect(await replayDeadLetters({ ...options, places })).toEqual({ replayed: 1, before: 0, homeless: 0 })
    expect((await list()).filter(({ isReplayed }) => isReplayed).map(({ at }) => at)).toEqual([first.at])
    expect(await replayDeadLetters(options)).toEqual({ replayed: 3, before: 1, homeless: 0 })
    expect(await replayDeadLetters(options)).toEqual({ replayed: 0, before: 4, homeless: 0 })
    const all = await stage.records('in')
    const back = all.filter(({ headers }) => headers.length > 0)
    expect(back.map(({ value }) => value).toSorted()).toEqual(BAD)
    for (const record of back) {
      const origin = all.find(({ value, headers }) => value === record.value && headers.length === 0)
      expect(record).toMatchObject({
        key: origin?.key,
        partition: origin?.partition,
        timestamp: origin?.timestamp,
      })
      expect(record.headers.map(({ key }) => key)).toEqual([
        'druse.replay.topic',
        'druse.replay.partition',
        'druse.replay.offset',
      ])
    }
    isMended = true
    await stage.run(picky)
    await stage.drained(picky)
    expect((await stage.read('out')).map(([, value]) => value).toSorted()).toEqual(
      WORDS.map(([, value]) => value).toSorted(),
    )
  })

  test('goes to the partition of origin, whatever the key says', async () => {
    const bad = { key: Buffer.from('k'), value: Buffer.from('bad') }
    for (const partition of [0, 1, 2]) await stage.produce({ topic: 'in', partition }, [bad])
    const one = await stage.run(picky)
    await stage.drained(picky)
    await one.close()
    await replayDeadLetters({ wire: stage.wire, topic: 'dead' })
    const back = (await stage.records('in')).filter(({ headers }) => headers.length > 0)
    expect(back.map(({ partition }) => partition)).toEqual([0, 1, 2])
  })

  test('that fails again is a dead letter again, with its new reason', async () => {
    await bury()
    await replayDeadLetters({ wire: stage.wire, topic: 'dead', codes: ['OPERATOR_FAILED'] })
    await stage.run(picky)
    await stage.drained(picky)
    const letters = await list()
    expect(letters.map(textOf).toSorted()).toEqual([...BAD, ...BAD].toSorted())
    expect(letters.filter(({ isReplayed }) => isReplayed)).toHaveLength(4)
  })

  test('to another topic; what tells of no origin needs one', async () => {
    await bury()
    await stage.say('dead', ['x', 'no letter'])
    const options = { wire: stage.wire, topic: 'dead' }
    expect(
      await replayDeadLetters({ ...options, to: 'elsewhere', codes: ['OPERATOR_FAILED'] }),
    ).toMatchObject({
      replayed: 4,
    })
    expect(await replayDeadLetters(options)).toEqual({ replayed: 0, before: 4, homeless: 1 })
    expect((await stage.read('elsewhere')).map(([, value]) => value).toSorted()).toEqual(BAD)
    await expect(replayDeadLetters({ ...options, to: 'dead' })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    })
    await expect(replayDeadLetters({ ...options, topic: 'nowhere' })).rejects.toMatchObject({
      code: 'TOPIC_MISSING',
    })
  })

  for (const fate of ['before', 'after'] as const) {
    test(`killed ${fate} its commit, and run again: each once`, async () => {
      await bury()
      const isDead = new Promise<void>((resolve) => {
        let begun = false
        const wire = killed(
          stage.wire,
          (request) => {
            if (request.api === 'Produce') begun = true
            return begun && request.api === 'EndTxn' ? fate : undefined
          },
          resolve,
        )
        replayDeadLetters({ wire, topic: 'dead' }).catch(() => {})
      })
      await isDead
      const again = await replayDeadLetters({ wire: stage.wire, topic: 'dead', force: true })
      expect(again.replayed + again.before).toBe(4)
      if (fate === 'before') expect(again.replayed).toBe(4)
      const back = (await stage.records('in', { key: string, value: string })).filter(
        ({ headers }) => headers.length > 0,
      )
      expect(back.map(({ value }) => value).toSorted()).toEqual(BAD)
    }, 60_000)
  }
})
