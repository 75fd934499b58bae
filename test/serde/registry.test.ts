/** The registry contract on every body; on a real registry see registry-service.test.ts. */
import { afterAll, beforeAll } from 'vitest'
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
