/** What is published: it compiles, holds nothing else, and works from plain JavaScript, in its types and as a command. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MODULES = join(ROOT, 'node_modules')

interface Packed {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

let work: string
let packed: Packed
/** A project that has the package installed. */
let consumer: string
let installed: string

function run(cwd: string, command: string, ...args: string[]): string {
  // npm sets variables for its own children, which would lead an inner npm astray.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')))
  const path = `${join(MODULES, '.bin')}:${dirname(process.execPath)}:${env.PATH}`
  try {
    return execFileSync(command, args, {
      cwd,
      env: { ...env, PATH: path },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: error })
  }
}

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'druse-package-'))
  const source = join(work, 'source')
  mkdirSync(source)
  // A copy: whoever builds the project itself meanwhile is not disturbed.
  const parts = ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'src']
  for (const part of [...parts, 'README.md', 'LICENSE', 'CHANGELOG.md'])
    cpSync(join(ROOT, part), join(source, part), { recursive: true })
  // What must not get into the package.
  writeFileSync(join(source, 'notes.txt'), 'not for others')
  symlinkSync(MODULES, join(source, 'node_modules'))
  run(source, 'npm', 'run', 'build')
  packed = (JSON.parse(run(source, 'npm', 'pack', '--json', '--ignore-scripts')) as [Packed])[0]

  consumer = join(work, 'consumer')
  installed = join(consumer, 'node_modules', 'druse')
  mkdirSync(installed, { recursive: true })
  run(source, 'tar', '-xzf', packed.filename, '-C', installed, '--strip-components=1')
  const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  for (const name of [...Object.keys(dependencies), '@types/node']) {
    mkdirSync(dirname(join(consumer, 'node_modules', name)), { recursive: true })
    symlinkSync(join(MODULES, name), join(consumer, 'node_modules', name))
  }
  writeFileSync(join(consumer, 'package.json'), '{ "type": "module" }')
})

afterAll(() => rmSync(work, { recursive: true, force: true }))

test('holds what is compiled, and what tells about it', () => {
  const others = packed.files.map(({ path }) => path).filter((path) => !path.startsWith('dist/'))
  expect(others.sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'])
  const compiled = packed.files.map(({ path }) => path).filter((path) => path.startsWith('dist/'))
  expect(compiled.filter((path) => !/^dist\/([a-z]+\/)?[a-z0-9-]+(\.d\.ts|\.js)$/.test(path))).toEqual([])
  expect(compiled).toContain('dist/index.js')
  expect(compiled).toContain('dist/index.d.ts')
  expect(compiled).toContain('dist/testing/index.d.ts')
})

const COUNTING = `
  import { Druse, embeddedBroker, ensureTopics, int64, readTopic, string, Topology, TransactionalProducer } from 'druse'
  const broker = await embeddedBroker()
  const wire = broker.wire()
  await ensureTopics(wire, [{ topic: 'words', partitions: 2 }, { topic: 'counts', partitions: 2 }])
  const t = new Topology('word-count')
  const counts = t.stream('words', { key: string, value: string }).groupByKey().count('per-word')
  counts.toStream().to('counts')
  const app = new Druse(t, { wire, stateDir: './state', commitIntervalMs: 10 })
  await app.start()
  await app.untilRunning()
  const producer = await TransactionalProducer.open({ wire, transactionalId: 'feeder' })
  const words = await producer.topic('words', { key: string, value: string })
  await producer.transact({ topic: 'words', partition: 0 }, 3, (transaction) => {
    for (const word of ['to', 'be', 'to']) transaction.send(words, { key: word, value: word })
  })
  producer.close()
  let updates = []
  while (updates.length < 3) {
    updates = (await readTopic(wire, 'counts', { key: string, value: int64 })).map(({ key, value }) => key + value)
  }
  console.log(JSON.stringify([updates.sort(), await app.region(counts.region).get('to')]))
  await app.close()
  await broker.close()
`

test('counts words from plain JavaScript', () => {
  writeFileSync(join(consumer, 'count.js'), COUNTING)
  expect(JSON.parse(run(consumer, process.execPath, 'count.js'))).toEqual([['be1', 'to1', 'to2'], 2])
})

const COPYING = `
  import { DruseError, string, Topology } from 'druse'
  import { TestDriver } from 'druse/testing'
  const topology = new Topology('copy')
  topology.stream('in', { key: string, value: string }).mapValues((value) => {
    if (value === 'bad') throw new Error('not this one')
    return value
  }).to('out', { value: string })
  const driver = await TestDriver.create(topology)
  const input = driver.createInputTopic('in', { key: string, value: string })
  await input.pipeInput('a', 'b')
  const value = await driver.createOutputTopic('out', { key: string, value: string }).readValue()
  const error = await input.pipeInput('a', 'bad').catch((caught) => caught)
  // Both ways into the package lead to the same classes.
  console.log(JSON.stringify([value, error instanceof DruseError, error.code]))
  await driver.close()
`

test('tests a topology from plain JavaScript', () => {
  writeFileSync(join(consumer, 'copy.js'), COPYING)
  expect(JSON.parse(run(consumer, process.execPath, 'copy.js'))).toEqual(['b', true, 'OPERATOR_FAILED'])
})

test('has types that stand without its sources', () => {
  writeFileSync(
    join(consumer, 'types.ts'),
    `import { type ErrorCode, int64, type Stream, string, Topology } from 'druse'
     import { TestDriver } from 'druse/testing'
     const t = new Topology('typed')
     const stream: Stream<string, number> = t.stream('in', { key: string, value: int64 })
     stream.groupByKey().count('n').toStream().to('out')
     // @ts-expect-error values are numbers
     stream.mapValues((value) => value.length)
     export const code: ErrorCode = 'TOPIC_MISSING'
     await using driver: TestDriver = await TestDriver.create(t)
     const value: number | undefined = await driver.createOutputTopic('out', { key: string, value: int64 }).readValue()
     // @ts-expect-error values are numbers
     await driver.createInputTopic('in', { key: string, value: int64 }).pipeInput('a', \`\${value}\`)
    `,
  )
  // Declarations of others are not ours to check.
  const options = '--noEmit --strict --module nodenext --target es2024 --types node --skipLibCheck false'
  run(consumer, 'tsc', ...options.split(' '), 'types.ts')
})

test('has a command', () => {
  const { bin } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
    bin: Record<string, string>
  }
  const command = join(installed, bin.druse as string)
  expect(readFileSync(command, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  expect(run(consumer, process.execPath, command, '--help')).toMatch(/Usage: druse/)
  writeFileSync(
    join(consumer, 'module.js'),
    `import { string, Topology } from 'druse'
     export const topology = new Topology('copy')
     topology.stream('in', { key: string, value: string }).to('out')`,
  )
  const described = run(consumer, process.execPath, command, 'describe', 'module.js')
  expect(described).toMatch(/^Topology copy\n/)
})
