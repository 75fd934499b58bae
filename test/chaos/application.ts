/** The application as it runs in production, on ports that can be watched and interrupted. */
import { writeSync } from 'node:fs'
import { consoleLogger, Druse, DruseError, kafkaWire, levelDisk, schemaRegistry } from '../../src/index.ts'
import { CODE, classifyTransactional } from '../../src/kafka/error-codes.ts'
import type { Outcome, Request, ResponseOf } from '../../src/ports.ts'
import { diskWithPoints, Failpoints, type RequestWatch, wireWithPoints } from './failpoints.ts'
import type { ChildSpec, CommitMark, Failure, Order, Report } from './reports.ts'
import { REGISTRY_AUTH, SETTINGS } from './settings.ts'
import { workloads } from './workloads.ts'

const HEALTH_MS = 250
const EXIT_FAILED = 3
const EXIT_UNHANDLED = 70

/** Written when it returns: the process may not live any longer. */
function report(line: Report): void {
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`)
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }
}

export async function runApplication(spec: ChildSpec): Promise<void> {
  process.on('disconnect', () => process.exit(1))
  for (const event of ['unhandledRejection', 'uncaughtException'] as const) {
    process.on(event, (error: unknown) => {
      report({ kind: 'unhandled', message: error instanceof Error ? String(error.stack) : String(error) })
      process.exit(EXIT_UNHANDLED)
    })
  }
  const points = new Failpoints((armed) => report({ kind: 'point', armed }))
  points.arm(spec.armed)
  process.on('message', (order: Order) => points.arm(order.armed))

  const logger = consoleLogger('info')
  const { registryUrl: url } = spec
  const app = new Druse(
    workloads({ prefix: spec.prefix, ...(url === undefined ? {} : { registryUrl: url }) }),
    {
      ...SETTINGS,
      wire: wireWithPoints(kafkaWire({ brokers: spec.brokers, log: logger }), points, new CommitWatch()),
      stateDir: diskWithPoints(levelDisk(spec.stateDir), points, {
        opening: (path) => report({ kind: 'opening', path }),
        movedAside: (path) => report({ kind: 'movedAside', path }),
      }),
      ...(url === undefined
        ? {}
        : { registry: schemaRegistry({ url, auth: REGISTRY_AUTH, timeoutMs: 1_000, retryMs: 3_000 }) }),
      logger,
      onRestore: ({ position, end, records }) => {
        if (position >= end) report({ kind: 'restored', records })
      },
    },
  )

  const health = setInterval(() => {
    const { state, counts, tasks } = app.health
    const { commits, recoveries } = counts
    const failed = tasks.flatMap(({ task, error }) => (error === undefined ? [] : [failureOf(error, task)]))
    const running = tasks.filter(({ status }) => status === 'running').length
    const heapBytes = process.memoryUsage().heapUsed
    report({ kind: 'health', state, commits, recoveries, running, heapBytes, failed })
  }, HEALTH_MS)

  let isEnding = false
  const fail = (error: unknown): void => {
    if (isEnding) return
    report({ kind: 'stopped', failure: failureOf(error) })
    process.exit(EXIT_FAILED)
  }
  process.on('SIGTERM', () => {
    isEnding = true
    clearInterval(health)
    void app.close().then(() => process.exit(0))
  })
  app.onStateChange((state) => {
    if (state === 'ERROR') fail(app.health.error)
  })
  await app.start().catch(fail)
}

function failureOf(error: unknown, task?: string): Failure {
  const code = error instanceof DruseError ? error.code : 'NONE'
  return { ...(task === undefined ? {} : { task }), code, message: String(error) }
}

/** Tells of every commit whether its end is known, and of offsets that are read what has become of others. */
class CommitWatch implements RequestWatch {
  #last: CommitMark | undefined

  sent(request: Request): void {
    if (request.api === 'TxnOffsetCommit') {
      const [first] = request.partitions
      if (first !== undefined) this.#last = markOf(first)
    } else if (request.api === 'EndTxn' && this.#last !== undefined) {
      report({ kind: 'ending', mark: this.#last })
    }
  }

  ended<R extends Request>(request: R, outcome: Outcome<ResponseOf<R>>): void {
    if (request.api === 'EndTxn')
      report({ kind: 'ended', known: isKnown(outcome as Outcome<{ errorCode: number }>) })
    if (request.api !== 'OffsetFetch' || !outcome.ok) return
    const { errorCode, partitions } = outcome.response as ResponseOf<Request & { api: 'OffsetFetch' }>
    if (errorCode !== 0) return
    const marks = partitions.filter((one) => one.errorCode === 0).map(markOf)
    report({ kind: 'offsets', marks })
  }
}

function isKnown(outcome: Outcome<{ readonly errorCode: number }>): boolean {
  if (!outcome.ok) return false
  const { errorCode } = outcome.response
  return errorCode === CODE.NONE || classifyTransactional(errorCode) !== 'indefinite'
}

/** The sequence number is the third of what stands in the metadata. */
function markOf(at: { topic: string; partition: number; metadata: string }): CommitMark {
  const sequence = at.metadata === '' ? -1 : ((JSON.parse(at.metadata) as unknown[])[2] as number)
  return { at: `${at.topic}/${at.partition}`, sequence }
}
