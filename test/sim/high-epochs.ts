/** What many years of restarts would do: epochs are about to run out, and the next producers get other ids. */
import { fromJson, prefixBounds, toJson } from '../../src/embedded/keys.ts'
import type { TransactionRecord } from '../../src/embedded/transaction-coordinator.ts'
import type { Store, Write } from '../../src/ports.ts'
import type { SeededRandom } from '../../src/testing/seeded-random.ts'

const EPOCH_MAX = 32_767

/** Of transactional ids without a transaction under way, in the store of a broker that is down. */
export async function raiseEpochs(store: Store, random: SeededRandom): Promise<void> {
  const writes: Write[] = []
  for await (const [key, value] of store.range(prefixBounds('x'))) {
    const record = fromJson<TransactionRecord>(value)
    // The feeder is not what is judged, and does not open its producer again.
    if (record.id === 'feeder' || !/^(Empty|Complete)/.test(record.state)) continue
    const epoch = random.between(EPOCH_MAX - 4, EPOCH_MAX - 1)
    if (epoch > record.epoch) writes.push([key, toJson({ ...record, epoch })])
  }
  await store.write(writes)
}
