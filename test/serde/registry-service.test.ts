/** The registry contract on a real registry, which may be shared. */
import { cachedRegistry, schemaRegistry } from '../../src/serde/index.ts'
import { memoryDisk } from '../../src/store/index.ts'
import { describeOnRegistry } from '../stack/registry.ts'
import { registryContract } from './registry.contract.ts'

describeOnRegistry('a real registry', (url) => {
  const strict = async (subject: string): Promise<void> => {
    const answer = await fetch(`${url}/config/${subject}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ compatibility: 'BACKWARD' }),
    })
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
  }
  registryContract('schemaRegistry', async () => ({ registry: schemaRegistry({ url }), strict }))
  registryContract('cachedRegistry of a schemaRegistry', async () => ({
    registry: await cachedRegistry(schemaRegistry({ url }), memoryDisk()),
    strict,
  }))
})
