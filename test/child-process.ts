/** A program as its users have it: a process of its own, which does not outlive its test. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { onTestFinished } from 'vitest'

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

export class ChildProcess {
  readonly ended: Promise<Ended>
  readonly #child: ChildProcessByStdio<null, Readable, Readable>
  #out = ''
  #err = ''
  #look: () => void = () => {}

  constructor(program: string, args: readonly string[], cwd = process.cwd(), env = process.env) {
    this.#child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'], cwd, env })
    onTestFinished(() => this.kill('SIGKILL'))
    this.#child.stdout.on('data', (chunk) => {
      this.#out += chunk
      this.#look()
    })
    this.#child.stderr.on('data', (chunk) => {
      this.#err += chunk
    })
    this.ended = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => resolve({ code, signal, out: this.#out, err: this.#err }))
    })
  }

  /** Resolves when what it has printed fulfils the condition, or when it has ended. */
  async until(condition: (out: string) => boolean): Promise<void> {
    const seen = new Promise<void>((resolve) => {
      this.#look = () => {
        if (condition(this.#out)) resolve()
      }
      this.#look()
    })
    await Promise.race([seen, this.ended])
  }

  /** Rejects when it ends without having printed the text. */
  async printed(text: string): Promise<void> {
    await this.until((out) => out.includes(text))
    if (!this.#out.includes(text)) throw new Error(`no '${text}' in: ${JSON.stringify(await this.ended)}`)
  }

  /** As a program that has read enough. */
  closeOutput(): void {
    this.#child.stdout.destroy()
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
}
