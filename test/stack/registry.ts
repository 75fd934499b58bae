/**
 * Tests on a real schema registry (Confluent's API). Whoever imports this file has one running, the same for all test
 * files of a run; subjects have to be one's own.
 *
 *     describeOnRegistry('ids', (url) => { test('…', …) })
 *
 * It is the one that REGISTRY_URL names, or else is started: Apicurio Registry, found as Kafka is (kafka.ts).
 */
import { describeOn } from './describe-on.ts'
import { ask } from './requests.ts'

const registry = await ask('registry', {})

export function describeOnRegistry(title: string, body: (url: string) => void | Promise<void>): void {
  describeOn(title, registry, ({ url }) => body(url))
}
