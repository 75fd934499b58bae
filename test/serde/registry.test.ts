/** The registry contract on every body. A real registry: REGISTRY_URL=http://host:port/path of its Confluent interface. */
import { afterAll, beforeAll, test } from 'vitest'
import { cachedRegistry, localRegistry, schemaRegistry } from '../../src/serde/index.ts'
import { memoryDisk } from '../../src/store/index.ts'
import { registryContract } from './registry.contract.ts'
import { RegistryServer } from './registry-server.ts'

registryContract('localRegistry', async () => ({ registry: localRegistry(memoryDisk()) }))
registryContract('cachedRegistry of a localRegistry', async () => ({
  registry: await cachedRegistry(localRegistry(memoryDisk()), memoryDisk()),
}))

let server: RegistryServer
beforeAll(async () => {
  server = await RegistryServer.open()
})
afterAll(() => server.stop())
registryContract('schemaRegistry of a server', async () => ({
  registry: schemaRegistry({ url: server.url }),
}))

const url = process.env.REGISTRY_URL
if (url === undefined) {
  test.skip('the registry contract on a real registry: REGISTRY_URL is not set', () => {})
} else {
  const strict = async (subject: string): Promise<void> => {
    const answer = await fetch(`${url}/config/${subject}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ compatibility: 'BACKWARD' }),
    })
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
  }
  registryContract('schemaRegistry of a real registry', async () => ({
    registry: schemaRegistry({ url }),
    strict,
  }))
  registryContract('cachedRegistry of a real registry', async () => ({
    registry: await cachedRegistry(schemaRegistry({ url }), memoryDisk()),
    strict,
  }))
}
