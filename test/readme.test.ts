/** The README is run: its programs print what stands below them, its commands and files exist. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')
const readme = await readFile(join(root, 'README.md'), 'utf8')
const run = promisify(execFile)

interface Block {
  readonly language: string
  readonly text: string
  /** The `text` block that follows. */
  readonly output: string | undefined
}

const blocks: Block[] = []
for (const [, language = '', text = ''] of readme.matchAll(/```(\w+)\n(.*?)```/gs)) {
  const last = blocks.at(-1)
  if (language === 'text' && last !== undefined) blocks[blocks.length - 1] = { ...last, output: text }
  else blocks.push({ language, text, output: undefined })
}
const programs = blocks.filter(({ language }) => language === 'ts')
const commands = blocks
  .filter(({ language }) => language === 'sh')
  .flatMap(({ text }) => text.split('\n'))
  .map((line) => line.replace(/#.*/, '').trim())
  .filter((line) => line !== '')
  .flatMap((line) => line.split('&&').map((part) => part.trim()))

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(root, 'data-readme-'))
})
afterAll(async () => {
  await rm(dir, { recursive: true })
})

describe('README', () => {
  test('has programs with their output, and commands', () => {
    expect(programs.length).toBeGreaterThanOrEqual(2)
    expect(programs.every(({ output }) => output !== undefined)).toBe(true)
    expect(commands).toContain('npm ci')
    expect(commands).toContain('npm start')
    expect(commands).toContain('npm test')
  })

  for (const [i, { text, output }] of programs.entries()) {
    test(`program ${i + 1} prints what it is said to`, async () => {
      const file = join(dir, `program-${i + 1}.ts`)
      const program = text
        .replaceAll("'druse'", "'../src/index.ts'")
        .replaceAll("'druse/testing'", "'../src/testing/index.ts'")
      await writeFile(file, program)
      const { stdout } = await run(process.execPath, [file], { cwd: dir })
      expect(stdout.trim()).toBe(output?.trim())
    })
  }

  for (const command of new Set(commands)) {
    test(`\`${command}\` can be given`, async () => {
      const [tool, ...rest] = command.split(' ')
      if (tool === 'docker') {
        expect(rest[0]).toBe('compose')
        const file = await readFile(join(root, 'docker-compose.yml'), 'utf8')
        if (command.includes('flights')) expect(file).toMatch(/^ {2}flights:\n {4}profiles: \[job\]$/m)
        return
      }
      expect(tool).toBe('npm')
      const [script = '', ...args] = (rest[0] === 'run' ? rest.slice(1) : rest).filter(
        (word) => word !== '--',
      )
      const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
      expect(script === 'ci' || script in scripts).toBe(true)
      if (script !== 'druse') return
      expect(existsSync(join(root, args[1] ?? ''))).toBe(true)
      if (args[0] !== 'describe') return
      const { stdout } = await run(process.execPath, [join(root, 'src/cli/main.ts'), ...args], { cwd: root })
      expect(stdout).toContain('Sub-topology 0')
    })
  }

  test('every file and heading that it points to exists', () => {
    const headings = new Set(
      Array.from(readme.matchAll(/^#+ (.*)$/gm), ([, title = '']) =>
        title
          .toLowerCase()
          .replace(/[^\w\s-]/g, '')
          .replaceAll(' ', '-'),
      ),
    )
    const broken = Array.from(readme.matchAll(/\]\(([^)]+)\)/g), ([, link = '']) => link)
      .filter((link) => !link.startsWith('https://'))
      .filter((link) => !(link.startsWith('#') ? headings.has(link.slice(1)) : existsSync(join(root, link))))
    expect(broken).toEqual([])
  })

  test('every test that it names is one', async () => {
    const named = Array.from(readme.matchAll(/\]\((test\/[^)]+\.test\.ts)\): “([^”]+)”/g))
    expect(named.length).toBeGreaterThan(10)
    for (const [, file = '', name = ''] of named) {
      expect(await readFile(join(root, file), 'utf8'), name).toContain(name)
    }
  })
})
