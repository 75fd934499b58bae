/** A Kafka for development, demos and tests, inside this process. */
import { EmbeddedBroker } from './embedded/embedded-broker.ts'
import type { BrokerOptions } from './embedded/settings.ts'
import { levelDisk } from './store/index.ts'
import { systemClock, systemRandom } from './system.ts'

export interface EmbeddedBrokerOptions extends Partial<Omit<BrokerOptions, 'store'>> {
  /** Where topics, offsets and transactions are kept; they survive kill -9, not a loss of power. Default: in memory. */
  readonly dir?: string
}

/**
 * Opens an embedded broker. Close it after the applications that use it.
 * Errors: DISK_LOCKED when another process has the directory open, DISK_FAILED, STORE_CORRUPT.
 */
export async function embeddedBroker(options: EmbeddedBrokerOptions = {}): Promise<EmbeddedBroker> {
  const { dir, ...rest } = options
  const store = dir === undefined ? undefined : await levelDisk(dir).open('log')
  return EmbeddedBroker.open({
    clock: systemClock,
    random: systemRandom,
    ...rest,
    ...(store === undefined ? {} : { store }),
  })
}
