/** The wire that a command works on: what the command line says, else what the module brings. */
import { DruseError } from '../errors.ts'
import { kafkaWire } from '../kafka/kafkajs.ts'
import { embeddedBroker } from '../local.ts'
import type { Logger, Wire } from '../ports.ts'
import type { DruseOptions } from '../runtime/options.ts'
import type { KafkaArguments } from './arguments.ts'

/** Errors: OPTION_INVALID without a way to Kafka, those of `embeddedBroker`. */
export async function openWire(
  { brokers, embedded }: KafkaArguments,
  options: Partial<DruseOptions>,
  clientId: string,
  log: Logger,
): Promise<{ readonly wire: Wire; readonly close: () => Promise<void> }> {
  const nothing = async (): Promise<void> => {}
  if (brokers !== undefined) return { wire: kafkaWire({ brokers, clientId, log }), close: nothing }
  if (embedded !== undefined) {
    const broker = await embeddedBroker({ dir: embedded })
    return { wire: broker.wire(), close: () => broker.close() }
  }
  if (options.wire !== undefined) return { wire: options.wire, close: nothing }
  throw new DruseError(
    'OPTION_INVALID',
    `Where is Kafka? Give --brokers HOST:PORT or --embedded DIR, or export options with a wire from the module`,
    { option: 'wire' },
  )
}
