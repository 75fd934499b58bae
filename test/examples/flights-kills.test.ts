/**
 * Two processes of the main job on a real Kafka, each killed ten times; then every flight is in the sink once, by
 * Kafka's own consumer. DRUSE_TEST_KILLS and DRUSE_TEST_FLIGHTS make it more.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import avsc from 'avsc'
import { expect, test } from 'vitest'
import type { ChildProcess } from '../child-process.ts'
import { describeWithJavaConsumer } from '../stack/java-consumer.ts'
import { describeOnKafka } from '../stack/kafka.ts'
import { describeOnRegistry } from '../stack/registry.ts'
import { committedIn, expectedReport, randomOf, startDemo } from './demo.ts'

/** Enough to be at work during most of the kills. */
const FLIGHTS = Number(process.env.DRUSE_TEST_FLIGHTS ?? 100_000)
const KILLS = Number(process.env.DRUSE_TEST_KILLS ?? 10)
/** After its start, at the most: some kills come at any time, also before it has joined. */
const BLIND_MS = 1_500
const FRAMING_BYTES = 5

interface Delay {
  readonly airport: string
  readonly flights: number
  readonly delayed: number
  readonly totalDelayMinutes: number
  readonly maxDelayMinutes: number
}

describeWithJavaConsumer('flights on Kafka, killed', (consume) => {
  describeOnKafka('two processes', ({ brokers }) => {
    describeOnRegistry('with a registry', (url) => {
      test(`each killed ${KILLS} times: every flight is in the sink once`, { timeout: 600_000 }, async () => {
        const seed = Number(process.env.DRUSE_TEST_SEED ?? Date.now() % 1_000_000)
        const directory = await mkdtemp(join(tmpdir(), 'druse-flights-'))
        const prefix = `t${process.hrtime.bigint().toString(36)}-`
        const start = (name: string): ChildProcess =>
          startDemo(
            ...[
              '--data',
              'flights-3m',
              '--flights',
              String(FLIGHTS),
              '--brokers',
              brokers.join(),
              '--registry',
              url,
              '--prefix',
              prefix,
            ],
            ...['--data-dir', join(directory, name), '--report', join(directory, `${name}.json`)],
            ...['--progress', '20', ...(name === 'feeder' ? [] : ['--no-feed'])],
          )
        const moments: string[] = []
        /** How far the job was at any kill. */
        let reached = 0
        const killAgainAndAgain = async (name: string, random: () => number): Promise<void> => {
          for (let kills = 0; kills < KILLS; ) {
            const running = start(name)
            const isBlind = reached === FLIGHTS || random() < 0.3
            const target = reached + random() * ((FLIGHTS - reached) / (KILLS - kills))
            if (!isBlind) await running.until((out) => committedIn(out) > target)
            await pause(random() * (isBlind ? BLIND_MS : 50))
            running.kill('SIGKILL')
            const { out, signal } = await running.ended
            reached = Math.max(reached, committedIn(out))
            // It was done before: the next one is killed sooner.
            if (signal !== 'SIGKILL') continue
            kills += 1
            moments.push(`${name} ${isBlind ? 'blind' : 'at'} ${committedIn(out)}`)
          }
        }
        await Promise.all([
          killAgainAndAgain('feeder', randomOf(seed)),
          killAgainAndAgain('helper', randomOf(seed + 1)),
        ])
        const atWork = moments.filter((moment) => !moment.endsWith(` ${FLIGHTS}`))
        console.log(`seed ${seed}; ${moments.length} kills: ${moments.join(', ')}`)
        const names = ['feeder', 'helper']
        const ended = await Promise.all(names.map((name) => start(name).ended))
        const expected = await expectedReport('flights-3m', FLIGHTS)
        for (const [i, name] of names.entries()) {
          expect(ended[i], `seed ${seed}\n${ended[i]?.err}\n${ended[i]?.out}`).toMatchObject({ code: 0 })
          expect(JSON.parse(await readFile(join(directory, `${name}.json`), 'utf8'))).toEqual(expected)
        }
        expect(atWork.length, `seed ${seed}: the job was over too soon`).toBeGreaterThan(KILLS)

        const schema = await readFile(new URL('../../schemas/airport-delay.avsc', import.meta.url), 'utf8')
        const type = avsc.Type.forSchema(JSON.parse(schema))
        const indexes = new Set<string>()
        const last = new Map<string, Delay & { readonly partition: number }>()
        for (const { partition, value, key, headers } of await consume(
          brokers,
          `${prefix}airport-delays-3m`,
        )) {
          const delay: Delay = type.fromBuffer((value as Buffer).subarray(FRAMING_BYTES))
          const index = String(headers.find((header) => header.key === 'index')?.value)
          const before = last.get(delay.airport)
          expect(key?.toString()).toBe(delay.airport)
          expect(indexes.has(index), `flight ${index} twice, seed ${seed}`).toBe(false)
          expect(delay.flights, `${delay.airport}, seed ${seed}`).toBe((before?.flights ?? 0) + 1)
          expect(before?.partition ?? partition).toBe(partition)
          indexes.add(index)
          last.set(delay.airport, { ...delay, partition })
        }
        expect(indexes).toEqual(new Set(Array.from({ length: FLIGHTS }, (_, i) => String(i))))
        expect(Object.fromEntries(Array.from(last, ([code, delay]) => [code, figuresOf(delay)]))).toEqual(
          expected.airports,
        )
        await rm(directory, { recursive: true })
      })
    })
  })
})

function figuresOf({ flights, delayed, totalDelayMinutes, maxDelayMinutes }: Delay): object {
  return { flights, delayed, totalDelayMinutes, maxDelayMinutes }
}
