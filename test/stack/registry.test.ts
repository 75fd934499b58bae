/** What tests on a schema registry rely on: it speaks Confluent's API and keeps what it is told. */
import { expect, test } from 'vitest'
import { describeOnRegistry } from './registry.ts'

describeOnRegistry('a schema registry', (url) => {
  test('gives a schema an id, and the schema for the id', async () => {
    const subject = `stack-${process.hrtime.bigint()}-value`
    const schema = JSON.stringify({ type: 'record', name: 'Stack', fields: [{ name: 'n', type: 'int' }] })
    const registered = await fetch(`${url}/subjects/${subject}/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ schema }),
    })
    const { id } = (await registered.json()) as { id: number }
    const found = await fetch(`${url}/schemas/ids/${id}`)
    expect(JSON.parse(((await found.json()) as { schema: string }).schema)).toEqual(JSON.parse(schema))
  })
})
