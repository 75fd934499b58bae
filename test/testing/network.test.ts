/** The network of the simulation: what a dead process still does reaches nobody. */
import { expect, test } from 'vitest'
import { EmbeddedBroker } from '../../src/embedded/embedded-broker.ts'
import { Network } from '../../src/testing/network.ts'
import { Simulation } from '../../src/testing/simulation.ts'

test('a process that is dead sends nothing, also not on a new connection', async () => {
  const simulation = new Simulation({ seed: 1 })
  const { clock } = simulation.process('broker')
  const broker = await EmbeddedBroker.open({ clock, random: simulation.random.fork() })
  const sent: string[] = []
  const network = new Network(simulation, broker.wire(), {
    latencyMs: () => 1,
    request: () => 'deliver',
    answer: () => 'deliver',
    arrivesWithoutSender: () => true,
    sent: ({ name }) => sent.push(name),
    carriedOut: () => {},
    settled: () => {},
  })
  const request = { api: 'Metadata', topics: null } as const
  const [living, dead] = [simulation.process('living'), simulation.process('dead')]
  dead.kill()
  let isAnswered = false
  void network
    .wireOf(dead)
    .connect('admin')
    .send(-1, request, 1_000)
    .then(() => {
      isAnswered = true
    })
  const asked = network.wireOf(living).connect('admin').send(-1, request, 1_000)
  expect(await simulation.settle(asked, 2_000)).toMatchObject({ ok: true })
  await simulation.runUntil(() => false, 5_000)
  expect(sent).toEqual(['living'])
  expect(isAnswered).toBe(false)
})
