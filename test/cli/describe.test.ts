import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { druse, fixture } from './command.ts'

test('describes the topology of a module, as an export or as default, without asking for its options', async () => {
  const named = await druse('describe', fixture('words.ts'))
  expect(named).toMatchObject({ code: 0, err: '' })
  expect(named.out).toMatch(/^Topology words\n {2}Sub-topology 0\n/)
  expect(named.out).toContain('changelog: words-counts-changelog')

  const byDefault = await druse('describe', fixture('default-export.ts'))
  expect(byDefault).toMatchObject({ code: 0, err: '' })
  expect(byDefault.out).toMatch(/^Topology by-default\n/)
})

test('describes the flights job', async () => {
  const topology = fileURLToPath(new URL('../../examples/flights/topology.ts', import.meta.url))
  const { code, out } = await druse('describe', topology)
  expect(code).toBe(0)
  expect(out).toContain('Operator delay-stats: process (regions: delays, airports)')
})

test('as data, and as a diagram', async () => {
  const json = await druse('describe', fixture('words.ts'), '--format', 'json')
  expect(JSON.parse(json.out)).toMatchObject({ application: 'words', globalRegions: [] })
  const diagram = await druse('describe', fixture('words.ts'), '--format=mermaid')
  expect(diagram.out).toMatch(/^flowchart TD\n/)
})

test.each([
  ['a file that is not there', 'nowhere.ts', 'MODULE_NOT_FOUND'],
  ['a directory', '.', 'MODULE_NOT_FOUND'],
  ['a module without a topology', 'no-topology.ts', 'MODULE_INVALID'],
  ['a module that throws', 'throws.ts', 'MODULE_FAILED'],
  ['a module that imports what is not there', 'missing-import.mjs', 'MODULE_FAILED'],
])('%s is an error with a code', async (_, name, code) => {
  const ended = await druse('describe', fixture(name))
  expect(ended).toMatchObject({ code: 1, out: '' })
  expect(ended.err).toContain(`[${code}]`)
})

test('says which exports a module has when none is a topology, and where one has thrown', async () => {
  expect((await druse('describe', fixture('no-topology.ts'))).err).toContain('It exports: pipeline')
  expect((await druse('describe', fixture('throws.ts'))).err).toMatch(
    /broken at the top[\s\S]*at .*throws\.ts:1/,
  )
})

test.each([
  ['no command', []],
  ['an unknown command', ['start', 'x.ts']],
  ['no module', ['describe']],
  ['two modules', ['describe', 'a.ts', 'b.ts']],
  ['an unknown option', ['run', 'a.ts', '--broker', 'x']],
  ['an option of the other command', ['describe', 'a.ts', '--embedded', 'x']],
  ['another option of the other command', ['describe', 'a.ts', '--brokers', 'x:1']],
  ['two ways to Kafka', ['run', 'a.ts', '--brokers', 'x:1', '--embedded', 'y']],
  ['an option without its value', ['run', 'a.ts', '--state-dir']],
  ['an empty value', ['run', 'a.ts', '--state-dir=']],
  ['an empty list', ['run', 'a.ts', '--brokers=']],
  ['an unknown format', ['describe', 'a.ts', '--format', 'svg']],
  ['a format of another command', ['run', 'a.ts', '--format', 'json']],
  ['an unknown level', ['run', 'a.ts', '--log-level', 'loud']],
])('%s is wrong usage', async (_, args) => {
  const ended = await druse(...args)
  expect(ended).toMatchObject({ code: 2, out: '' })
  expect(ended.err).toContain('[OPTION_INVALID]')
  expect(ended.err).toContain('Usage: druse describe MODULE')
})

test('shows its usage and its version when asked', async () => {
  expect(await druse('--help')).toMatchObject({
    code: 0,
    err: '',
    out: expect.stringContaining('Usage: druse'),
  })
  expect(await druse('--version')).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
})
