/**
 * A place of the fleet: a state directory, a way to the brokers through a proxy of its own, and the process that runs
 * there. As under a supervisor, a process that ends is started again, and so is one that says that it is not well.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, type WriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { KafkaProxy } from '../stack/proxy.ts'
import type { Armed } from './failpoints.ts'
import type { ChildSpec, Failure, Report } from './reports.ts'

const CHILD = fileURLToPath(new URL('child.ts', import.meta.url))
const RESTART_MS = 100
/** For longer than a rebalance takes: tasks of one that is out of the group may fail, and are well again after it. */
const UNHEALTHY_MS = 6_000
const END_LIMIT_MS = 45_000
const THAW_MS = 100

export interface PlaceHandlers {
  report(place: Place, process: string, report: Report): void
  /** The process has ended; what it has reported was told before. */
  ended(place: Place, process: string, wasAsked: boolean, code: number | null): void
  /** It will be ended, for what has failed does not mend itself. */
  unhealthy(place: Place, failures: readonly Failure[]): void
  violation(what: string): void
}

export type Health = Extract<Report, { kind: 'health' }>

interface Running {
  readonly name: string
  readonly child: ChildProcess
  readonly ended: Promise<void>
  /** How it is to end, once somebody has said so. */
  asked: 'killed' | 'terminated' | undefined
  thawing: NodeJS.Timeout | undefined
  health: Health | undefined
  unhealthySinceMs: number | undefined
}

export class Place {
  readonly name: string
  readonly proxy: KafkaProxy
  readonly stateDir: string
  /** What its processes have printed on standard error. */
  readonly logPath: string
  readonly #spec: Omit<ChildSpec, 'armed' | 'stateDir' | 'brokers'>
  readonly #handlers: PlaceHandlers
  readonly #log: WriteStream
  readonly #compiled: string
  #running: Running | undefined
  #starts = 0
  /** False while somebody is at work here who does not want the supervisor's help. */
  isSupervised = true
  #isOver = false
  #pointHit: (() => void) | undefined

  constructor(
    name: string,
    directory: string,
    proxy: KafkaProxy,
    spec: Omit<ChildSpec, 'armed' | 'stateDir' | 'brokers'>,
    handlers: PlaceHandlers,
  ) {
    this.name = name
    this.stateDir = join(directory, `state-${name}`)
    this.proxy = proxy
    this.#spec = spec
    this.#handlers = handlers
    this.#compiled = join(directory, 'compiled')
    this.logPath = join(directory, `${name}.log`)
    this.#log = createWriteStream(this.logPath)
  }

  get health(): Health | undefined {
    return this.#running?.health
  }

  get pid(): number | undefined {
    return this.#running?.child.pid
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  start(armed?: Armed): void {
    if (this.#running !== undefined || this.#isOver) return
    this.#starts += 1
    const name = `${this.name}.${this.#starts}`
    const spec: ChildSpec = { ...this.#spec, brokers: this.proxy.brokers, stateDir: this.stateDir, armed }
    const args = ['--disable-warning=TimeoutNegativeWarning', CHILD, JSON.stringify(spec)]
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // Starts are many: what was compiled once need not be again.
      env: { ...process.env, NODE_COMPILE_CACHE: this.#compiled },
    })
    this.#log.write(`--- ${name}${armed === undefined ? '' : `, ${armed.signal} at ${armed.point}`}\n`)
    child.stderr?.pipe(this.#log, { end: false })
    // The channel to one that was just killed.
    child.on('error', () => {})
    // One that stands still would not notice.
    const takeAlong = (): unknown => child.kill('SIGKILL')
    process.once('exit', takeAlong)
    const ended = Promise.withResolvers<void>()
    const running: Running = {
      name,
      child,
      ended: ended.promise,
      asked: undefined,
      thawing: undefined,
      health: undefined,
      unhealthySinceMs: undefined,
    }
    this.#running = running
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.#onReport(running, JSON.parse(line) as Report)
    })
    child.once('close', (code, signal) => {
      this.#log.write(`--- ${name} has ended: ${signal ?? code}\n`)
      this.#running = undefined
      process.off('exit', takeAlong)
      clearInterval(running.thawing)
      this.#handlers.ended(this, name, running.asked !== undefined, code)
      ended.resolve()
      if (this.isSupervised) setTimeout(() => this.start(), RESTART_MS)
    })
  }

  arm(armed: Armed | undefined): void {
    const child = this.#running?.child
    if (child?.connected) child.send({ kind: 'arm', armed })
  }

  /** Resolves when a point of this place's process is hit, to false when that is not in time. */
  async untilPointHit(limitMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => resolve(false), limitMs)
    this.#pointHit = () => resolve(true)
    const isHit = await promise
    clearTimeout(timer)
    this.#pointHit = undefined
    return isHit
  }

  async kill(): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    running.asked = 'killed'
    running.child.kill('SIGKILL')
    await running.ended
  }

  /** As a supervisor does: it is asked to end. */
  async terminate(): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    running.asked ??= 'terminated'
    this.thaw()
    running.child.kill('SIGTERM')
    const timer = setTimeout(() => {
      this.#handlers.violation(`${running.name} has not ended ${END_LIMIT_MS / 1_000} s after SIGTERM`)
      running.child.kill('SIGKILL')
    }, END_LIMIT_MS)
    await running.ended
    clearTimeout(timer)
  }

  freeze(): void {
    if (this.#running === undefined) return
    clearInterval(this.#running.thawing)
    this.#running.thawing = undefined
    this.#running.child.kill('SIGSTOP')
  }

  /** One that is about to stop itself may do so after this: it is told again until it shows that it runs. */
  thaw(): void {
    const running = this.#running
    if (running === undefined || running.thawing !== undefined) return
    running.child.kill('SIGCONT')
    running.thawing = setInterval(() => running.child.kill('SIGCONT'), THAW_MS)
  }

  /** Does something during which nobody starts the process again; afterwards it runs. */
  async holding(act: () => Promise<void>, armed?: Armed): Promise<void> {
    this.isSupervised = false
    try {
      await act()
    } finally {
      this.isSupervised = true
      this.start(armed)
    }
  }

  /** For good. */
  async end(): Promise<void> {
    this.#isOver = true
    await this.terminate()
  }

  async remove(): Promise<void> {
    this.#isOver = true
    await this.kill()
    await this.proxy.close()
    this.#log.end()
  }

  async emptyDirectory(): Promise<void> {
    await rm(this.stateDir, { recursive: true, force: true })
  }

  #onReport(running: Running, report: Report): void {
    this.#handlers.report(this, running.name, report)
    clearInterval(running.thawing)
    running.thawing = undefined
    if (report.kind === 'point') {
      if (report.armed.signal === 'SIGKILL') running.asked = 'killed'
      if (this.#pointHit !== undefined) this.#pointHit()
      // Nobody waits for it any more.
      else if (report.armed.signal === 'SIGSTOP') this.thaw()
    }
    if (report.kind === 'stopped' || report.kind === 'unhandled') running.asked ??= 'killed'
    if (report.kind === 'health') this.#onHealth(running, report)
  }

  /** What has failed stays as it is until the process is started again: so a supervisor sees to that. */
  #onHealth(running: Running, health: Health): void {
    running.health = health
    const nowMs = performance.now()
    if (health.failed.length === 0) running.unhealthySinceMs = undefined
    else running.unhealthySinceMs ??= nowMs
    if (running.unhealthySinceMs === undefined || !this.isSupervised || running.asked !== undefined) return
    if (nowMs - running.unhealthySinceMs < UNHEALTHY_MS) return
    this.#handlers.unhealthy(this, health.failed)
    void this.terminate()
  }
}
