/**
 * Places in a process at which it can be killed or frozen: before a request is sent, when it has been written, when its
 * answer is there and nobody has seen it; before and after what is done to the disk. They lie in the ports that a process
 * is given, so production code knows nothing of them.
 */
import type { Api, Connection, Disk, Outcome, Request, ResponseOf, Store, Wire } from '../../src/ports.ts'

/** How a process comes to a point: records flow; it starts; it starts for the first time; it is told to end. */
type Occasion = 'flow' | 'start' | 'firstStart' | 'stop'

const OF_REQUESTS: readonly (readonly [api: Api, occasion: Occasion])[] = [
  ['AddPartitionsToTxn', 'flow'],
  ['Produce', 'flow'],
  ['AddOffsetsToTxn', 'flow'],
  ['TxnOffsetCommit', 'flow'],
  ['EndTxn', 'flow'],
  ['Fetch', 'flow'],
  ['Heartbeat', 'flow'],
  ['DeleteRecords', 'flow'],
  ['InitProducerId', 'start'],
  ['FindCoordinator', 'start'],
  ['JoinGroup', 'start'],
  ['SyncGroup', 'start'],
  ['OffsetFetch', 'start'],
  ['ListOffsets', 'start'],
  ['LeaveGroup', 'stop'],
  ['CreateTopics', 'firstStart'],
]
const OF_DISK: readonly (readonly [operation: string, occasion: Occasion])[] = [
  ['write', 'flow'],
  ['open', 'start'],
  ['writeText', 'start'],
  ['close', 'stop'],
]

export interface Point {
  readonly name: string
  readonly occasion: Occasion
}

/** In the order of a commit, then of a start, then of an end. */
export const POINTS: readonly Point[] = [
  ...OF_REQUESTS.flatMap(([api, occasion]) =>
    (occasion === 'firstStart' ? ['before', 'answered'] : ['before', 'sent', 'answered']).map((when) => ({
      name: `${api}.${when}`,
      occasion,
    })),
  ),
  ...OF_DISK.flatMap(([operation, occasion]) =>
    ['before', 'after'].map((when) => ({ name: `${operation}.${when}`, occasion })),
  ),
]

export interface Armed {
  readonly point: string
  /** The how manieth time it is come to from now on: 1 is the next. */
  readonly nth: number
  readonly signal: 'SIGKILL' | 'SIGSTOP'
}

/** In the process that is to die. */
export class Failpoints {
  readonly #fired: (armed: Armed) => void
  #armed: { readonly armed: Armed; left: number } | undefined

  /** `fired` has to have told of it when it returns: there may be no later. */
  constructor(fired: (armed: Armed) => void) {
    this.#fired = fired
  }

  /** In place of what was armed before; undefined disarms. */
  arm(armed: Armed | undefined): void {
    this.#armed = armed && { armed, left: armed.nth }
  }

  isArmed(point: string): boolean {
    return this.#armed?.armed.point === point
  }

  hit(point: string): void {
    const current = this.#armed
    if (current?.armed.point !== point) return
    current.left -= 1
    if (current.left > 0) return
    this.#armed = undefined
    this.#fired(current.armed)
    // Of one's own: it is stopped, or no more, before this returns.
    process.kill(process.pid, current.armed.signal)
  }
}

/** Told of what passes. */
export interface RequestWatch {
  sent(request: Request): void
  ended<R extends Request>(request: R, outcome: Outcome<ResponseOf<R>>): void
}

export function wireWithPoints(wire: Wire, points: Failpoints, watch: RequestWatch): Wire {
  return {
    connect(purpose) {
      const connection = wire.connect(purpose)
      return {
        async send(node, request, timeoutMs) {
          points.hit(`${request.api}.before`)
          watch.sent(request)
          const answered = connection.send(node, request, timeoutMs)
          const sent = `${request.api}.sent`
          if (points.isArmed(sent)) setImmediate(() => points.hit(sent))
          const outcome = await answered
          if (outcome.ok) points.hit(`${request.api}.answered`)
          watch.ended(request, outcome)
          return outcome
        },
        destroy: () => connection.destroy(),
      } satisfies Connection
    },
  }
}

export interface DiskWatch {
  opening(path: string): void
  movedAside(path: string): void
}

export function diskWithPoints(disk: Disk, points: Failpoints, watch: DiskWatch): Disk {
  const around = async <T>(operation: string, act: () => Promise<T>): Promise<T> => {
    points.hit(`${operation}.before`)
    const result = await act()
    points.hit(`${operation}.after`)
    return result
  }
  const storeWithPoints = (store: Store): Store => ({
    asClosed: store.asClosed,
    getSync: (key) => store.getSync(key),
    getMany: (keys) => store.getMany(keys),
    range: (bounds) => store.range(bounds),
    write: (writes) => around('write', () => store.write(writes)),
    distrust: () => store.distrust(),
    close: () => around('close', () => store.close()),
  })
  return {
    root: disk.root,
    async open(path) {
      watch.opening(path)
      return storeWithPoints(await around('open', () => disk.open(path)))
    },
    exists: (path) => disk.exists(path),
    list: (path) => disk.list(path),
    async moveAside(path) {
      const to = await disk.moveAside(path)
      watch.movedAside(path)
      return to
    },
    readText: (path) => disk.readText(path),
    writeText: (path, text) => around('writeText', () => disk.writeText(path, text)),
  }
}
