/** Folders and the directions in which they may import; where the outside may be touched. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const SOURCE = fileURLToPath(new URL('../src', import.meta.url))

interface SourceFile {
  /** Below src. */
  readonly path: string
  readonly text: string
  /** As written. */
  readonly imports: readonly string[]
}

const files: readonly SourceFile[] = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts'))
  .sort()
  .map((path) => {
    const text = readFileSync(join(SOURCE, path), 'utf8')
    return { path, text, imports: importsOf(text) }
  })

/** Types too: whoever knows the type of a thing knows the thing. */
function importsOf(text: string): string[] {
  const statements = [
    /^(?:import|export)\s+(?:type\s+)?[\w\s{},*$]*?\bfrom\s+['"]([^'"]+)['"]/gm,
    /^import\s+['"]([^'"]+)['"]/gm,
    /\bimport\(\s*['"]([^'"]+)['"]\s*\)/g,
  ]
  return statements.flatMap((statement) => Array.from(text.matchAll(statement), ([, from]) => from as string))
}

/** Of files of this project, below src. */
const internal = ({ path, imports }: SourceFile): string[] =>
  imports.filter((from) => from.startsWith('.')).map((from) => join(dirname(path), from))

const external = ({ imports }: SourceFile): string[] => imports.filter((from) => !from.startsWith('.'))

const BASE = ['types.ts', 'errors.ts', 'ports.ts', 'system.ts']
const ABOVE_ALL = ['runtime', 'embedded', 'local.ts', 'index.ts', 'testing', 'cli']
const BELOW_RUNTIME = ['store', 'serde', 'region', 'topology', 'dsl', 'kafka']

/** A folder, or a file at the top, and what of the others it may import: folders or files. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'types.ts': BASE,
  'errors.ts': BASE,
  'ports.ts': BASE,
  'system.ts': BASE,
  store: BASE,
  serde: BASE,
  kafka: BASE,
  region: [...BASE, 'serde'],
  topology: [...BASE, 'serde', 'region'],
  dsl: [...BASE, 'serde', 'region', 'topology'],
  // The broker reads and writes batches and answers with Kafka's codes; nothing else of the client is its own.
  embedded: [...BASE, 'kafka/record-batch.ts', 'kafka/error-codes.ts'],
  runtime: [...BASE, ...BELOW_RUNTIME],
  'local.ts': [...BASE, ...BELOW_RUNTIME, 'runtime', 'embedded'],
  'index.ts': [...BASE, ...BELOW_RUNTIME, 'runtime', 'embedded', 'local.ts'],
  // What a simulation is made of: ports that take virtual time. The runtime does not know of it.
  testing: [...BASE, ...BELOW_RUNTIME, 'runtime', 'embedded', 'local.ts', 'index.ts'],
  cli: [...BASE, ...BELOW_RUNTIME, ...ABOVE_ALL],
}

/** Who may use a package or a part of Node, by where their paths begin. */
const MAY_USE: Readonly<Record<string, readonly string[]>> = {
  kafkajs: ['kafka/kafkajs.ts', 'kafka/kafkajs.d.ts'],
  level: ['store/'],
  avsc: ['serde/'],
  '@kafkajs/confluent-schema-registry': ['serde/confluent-client.ts'],
  '@node-rs/crc32': ['kafka/record-batch.ts', 'embedded/', 'store/'],
  snappy: ['kafka/compression.ts', 'store/'],
  'lz4-napi': ['kafka/compression.ts'],
  'node:zlib': ['kafka/compression.ts'],
  'node:fs/promises': ['store/', 'cli/'],
  'node:path': ['store/', 'cli/'],
  'node:url': ['cli/'],
  'node:net': ['kafka/kafkajs.ts'],
  'node:tls': ['kafka/kafkajs.ts', 'serde/confluent-client.ts', 'serde/schema-registry.ts'],
  'node:http': ['serde/confluent-client.ts'],
  'node:https': ['serde/confluent-client.ts'],
  // Hashes and random bytes, the name of the machine, and how values are shown: no effects.
  'node:crypto': ['system.ts', 'runtime/task-metadata.ts'],
  'node:os': ['runtime/state-directory.ts'],
  'node:util': ['serde/', 'dsl/print.ts', 'cli/'],
}

/** A stream's aggregation is a table, a table's updates are a stream: their types need each other, their code does not. */
const EXCEPTED_TYPES: readonly (readonly [from: string, to: string])[] = [['dsl/table.ts', 'dsl/stream.ts']]

const isExcepted = ({ path, text }: SourceFile, to: string): boolean =>
  EXCEPTED_TYPES.some(([from, type]) => from === path && type === to) &&
  new RegExp(`^import type [^'"]*'\\./${to.split('/').at(-1)}'`, 'm').test(text)

const folderOf = (path: string): string => (path.includes('/') ? (path.split('/')[0] as string) : path)

describe('imports', () => {
  test('every folder is known', () => {
    expect(files.map(({ path }) => folderOf(path)).filter((folder) => !(folder in MAY_IMPORT))).toEqual([])
  })

  test('folders are one level deep', () => {
    expect(files.map(({ path }) => path).filter((path) => path.split('/').length > 2)).toEqual([])
  })

  test('go one way', () => {
    const wrong = files.flatMap((file) => {
      const folder = folderOf(file.path)
      const allowed = MAY_IMPORT[folder] ?? []
      return internal(file)
        .filter((to) => folderOf(to) !== folder && !allowed.includes(folderOf(to)) && !allowed.includes(to))
        .map((to) => `${file.path} imports ${to}`)
    })
    expect(wrong).toEqual([])
  })

  test('lead to files that exist, with their extension', () => {
    const known = new Set(files.map(({ path }) => path))
    const wrong = files.flatMap((file) =>
      internal(file)
        .filter((to) => !known.has(to))
        .map((to) => `${file.path} imports ${to}`),
    )
    expect(wrong).toEqual([])
  })

  test('make no circles', () => {
    const next = new Map(
      files.map((file) => [file.path, internal(file).filter((to) => !isExcepted(file, to))]),
    )
    const done = new Set<string>()
    const circles: string[] = []
    const visit = (path: string, way: readonly string[]): void => {
      if (way.includes(path)) {
        circles.push([...way.slice(way.indexOf(path)), path].join(' -> '))
        return
      }
      if (done.has(path)) return
      for (const to of next.get(path) ?? []) visit(to, [...way, path])
      done.add(path)
    }
    for (const { path } of files) visit(path, [])
    // The classes of the fluent API return one another.
    expect(circles.filter((circle) => !/^(dsl\/\S+( -> )?)+$/.test(circle))).toEqual([])
  })

  test('of packages and of Node stand where their use is', () => {
    const wrong = files.flatMap((file) =>
      external(file)
        .filter((name) => !MAY_USE[name]?.some((place) => file.path.startsWith(place)))
        .map((name) => `${file.path} imports ${name}`),
    )
    expect(wrong).toEqual([])
  })

  test('there is no require', () => {
    expect(
      files.filter(({ text }) => /\b(createRequire|require)\(/.test(text)).map(({ path }) => path),
    ).toEqual([])
  })
})

describe('the outside', () => {
  test('time and chance come from the ports', () => {
    const doors =
      /\b(Date\.now|new Date\(\)|set(Timeout|Immediate|Interval)\(|performance\.now|Math\.random|randomBytes|randomUUID)/
    const wrong = files
      // The machine's own; and the command line, which is a process and no part of one.
      .filter(({ path }) => path !== 'system.ts' && !path.startsWith('cli/'))
      .flatMap(({ path, text }) =>
        text
          .split('\n')
          .map((line, i) => ({ line, where: `${path}:${i + 1}` }))
          .filter(({ line }) => doors.test(line))
          .map(({ line, where }) => `${where} ${line.trim()}`),
      )
    expect(wrong).toEqual([])
  })
})

describe('size', () => {
  const LINES_MAX = 600

  test(`no file is longer than ${LINES_MAX} lines`, () => {
    const long = files
      .map(({ path, text }) => ({ path, lines: text.split('\n').length }))
      .filter(({ lines }) => lines > LINES_MAX)
    expect(long).toEqual([])
  })
})
