import { fileURLToPath } from 'node:url'
import { ChildProcess, type Ended } from '../child-process.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export function start(args: readonly string[], cwd?: string): ChildProcess {
  return new ChildProcess(MAIN, args, cwd)
}

export function druse(...args: readonly string[]): Promise<Ended> {
  return start(args).ended
}

export function fixture(name: string): string {
  return fileURLToPath(new URL(`fixtures/${name}`, import.meta.url))
}
