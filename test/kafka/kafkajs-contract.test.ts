/**
 * The wire contract on real Kafka, the one that decides: where another broker differs, that one is wrong.
 * A broker of one's own (KAFKA_BROKERS) has to be a cluster of one node. Its minutes are then mostly waits for the cleaner,
 * which log.cleaner.backoff.ms=100 spares.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { kafkaWire } from '../../src/kafka/kafkajs.ts'
import { batch, type Cluster, COMPACTED, Session, seen, type Traits } from '../contract/fixture.ts'
import { wireContract } from '../contract/wire.contract.ts'
import { describeOnEachKafka } from '../stack/kafka.ts'

/** Kafka's defaults: group.min.session.timeout.ms, transactions looked through every 10 s, the cleaner's turn every 15 s. */
const TRAITS: Traits = { sessionTimeoutMs: 6_000, patienceMs: 30_000, canCompact: true }

describeOnEachKafka('behind kafkajs', async ({ brokers }) => {
  const traits = { ...TRAITS, losesPendingOfRefusedCommit: !(await isKafka4(brokers[0] as string)) }
  wireContract('Kafka', traits, async () => cluster(brokers))
})

function cluster(brokers: readonly string[]): Cluster {
  const wire = kafkaWire({ brokers })
  const session = new Session({ wire, close: async () => {} }, TRAITS, `cleaner-${process.hrtime.bigint()}`)
  const compact = async () => {
    await seeCleaner(session)
    await seeCleaner(session)
  }
  return { wire, compact, close: async () => session.close() }
}

/**
 * Resolves when the cleaner has been at a log of our own. It has one thread (log.cleaner.threads) and is at one log
 * after the other, without a pause as long as there is one to clean: after our first log it has come by every log that
 * was there before, or does so next, and it is done with that before it comes to our second one.
 */
async function seeCleaner(session: Session): Promise<void> {
  const place = { topic: await session.topic(1, COMPACTED), partition: 0 }
  // A second apart, for a segment each.
  for (const n of [0, 1, 2]) {
    await session.produce(place, batch([['key', `value ${n}`]], { timestamp: Date.now() + n * 1000 }))
  }
  await session.until(
    () => session.fetchAll(place, 0),
    (fetched) => seen(fetched).every(({ offset }) => offset > 0),
  )
}

/** Kafka 4 has dropped the versions of Fetch below 4. A broker does not say its own version, only those of its APIs. */
async function isKafka4(broker: string): Promise<boolean> {
  const FETCH = 1
  const [, host, port] = /^(.*):(\d+)$/.exec(broker) as unknown as [string, string, string]
  const socket = connect(Number(port), host)
  await once(socket, 'connect')
  // Size 10, ApiVersions (18) v0, correlation id 0, no client id.
  socket.write(Buffer.from('0000000a00120000' + '00000000' + 'ffff', 'hex'))
  let answer = Buffer.alloc(0)
  // Size, correlation id, error code, count; then key, lowest and highest version of each.
  while (answer.length < 4 || answer.length < 4 + answer.readInt32BE(0)) {
    const [more] = (await once(socket, 'data')) as [Buffer]
    answer = Buffer.concat([answer, more])
  }
  socket.destroy()
  for (let at = 14; at < answer.length; at += 6) {
    if (answer.readInt16BE(at) === FETCH) return answer.readInt16BE(at + 2) >= 4
  }
  throw new Error(`${broker} knows no Fetch`)
}
