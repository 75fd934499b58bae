/** The wire contract on the embedded broker: in memory, on a store, and on a store with nothing kept in memory. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmbeddedBroker } from '../../src/embedded/embedded-broker.ts'
import type { BrokerSettings } from '../../src/embedded/settings.ts'
import { levelDisk } from '../../src/store/index.ts'
import { systemClock, systemRandom } from '../../src/system.ts'
import type { Cluster, Traits } from './fixture.ts'
import { wireContract } from './wire.contract.ts'

const TRAITS: Traits = { sessionTimeoutMs: 100, patienceMs: 30_000, canCompact: true }

const SETTINGS: Partial<BrokerSettings> = {
  minSessionTimeoutMs: TRAITS.sessionTimeoutMs,
  transactionCleanUpIntervalMs: 50,
}

async function inMemory(): Promise<Cluster> {
  const broker = await EmbeddedBroker.open({ clock: systemClock, random: systemRandom, ...SETTINGS })
  return clusterOf(broker)
}

async function onStore(settings: Partial<BrokerSettings>): Promise<Cluster> {
  const root = await mkdtemp(join(tmpdir(), 'druse-contract-'))
  const store = await levelDisk(root).open('broker')
  const options = { store, clock: systemClock, random: systemRandom, ...SETTINGS, ...settings }
  const cluster = clusterOf(await EmbeddedBroker.open(options))
  const close = async () => {
    await cluster.close()
    await rm(root, { recursive: true })
  }
  return { ...cluster, close }
}

function clusterOf(broker: EmbeddedBroker): Cluster {
  return {
    wire: broker.wire(),
    compact: (topic) => broker.compact([topic]),
    close: () => broker.close(),
  }
}

wireContract('embedded, in memory', TRAITS, inMemory)
wireContract('embedded, on a store', TRAITS, () => onStore({}))
wireContract('embedded, on a store without a cache', TRAITS, () => onStore({ cacheBytesMax: 0 }))
