/**
 * The contract of the Wire port: (state, request) → (error code, response), one test each, grouped by api. Every body
 * runs it: the embedded broker, and real Kafka behind kafkajs. Where they differ, the embedded broker is wrong.
 *
 * The cluster has one broker, so that any node may be asked for anything. Names are unique, tests share a cluster and nothing else, and whatever a cluster does in its own time is waited for
 * through the wire.
 */
import { afterAll, beforeAll, describe } from 'vitest'
import { compressionContract } from './compression.contract.ts'
import { type Cluster, Session, type Traits } from './fixture.ts'
import { groupContract } from './groups.contract.ts'
import { logContract } from './log.contract.ts'
import { offsetContract } from './offsets.contract.ts'
import { topicContract } from './topics.contract.ts'
import { transactionContract } from './transactions.contract.ts'

/** Gives the session that the tests of a suite share, once it is open. */
export type GetSession = () => Session

/** `names` makes names unique among runs against the same cluster. */
export function wireContract(
  title: string,
  traits: Traits,
  open: () => Promise<Cluster>,
  names: string = process.hrtime.bigint().toString(36),
): void {
  describe(`The wire contract: ${title}`, () => {
    let session: Session | undefined
    beforeAll(async () => {
      session = new Session(await open(), traits, names)
      await session.settle()
    })
    afterAll(async () => {
      session?.close()
      await session?.cluster.close()
    })
    const get: GetSession = () => {
      if (session === undefined) throw new Error('The cluster is not open')
      return session
    }
    topicContract(get)
    logContract(get, traits)
    compressionContract(get, traits)
    transactionContract(get)
    offsetContract(get)
    groupContract(get)
  })
}
