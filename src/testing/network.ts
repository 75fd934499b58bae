/**
 * The way between processes and the nodes of a cluster. A connection has a link to each node that it is asked to send to;
 * a link is first in, first out in both directions, and between links there is no order. What becomes of a request and of its answer is asked of the hooks when it would arrive.
 *
 *   send ──(on its way)──► request hook ──► broker ──(on its way)──► answer hook ──► outcome
 *
 * What was sent is no longer its sender's: it may arrive after the sender has timed out, has closed the connection, or
 * has died.
 */
import {
  ANY_NODE,
  type Connection,
  type Outcome,
  type Request,
  type ResponseOf,
  type Wire,
} from '../ports.ts'
import type { SimProcess, Simulation } from './simulation.ts'

/**
 * `lose`: the connection breaks, with all that is on it. `hold`: it leaves only when its sender goes on.
 * `answer`: by the network in the broker's place; the broker never sees the request. `instead`: it sees another one, as
 * when it carries out only a part.
 */
export type RequestFate =
  | 'deliver'
  | 'lose'
  | 'hold'
  | { readonly delayMs: number }
  | { readonly answer: unknown }
  | { readonly instead: Request; readonly answered: (response: unknown) => unknown }
export type AnswerFate = 'deliver' | 'lose' | { readonly delayMs: number } | { readonly answer: unknown }

export interface NetworkHooks {
  /** One way. */
  latencyMs(): number
  request(process: SimProcess, request: Request): RequestFate
  answer(process: SimProcess, request: Request, response: unknown): AnswerFate
  /** Of what is on its way when its sender closes the connection or dies: whether it arrives all the same. */
  arrivesWithoutSender(): boolean
  sent(process: SimProcess, request: Request): void
  /** It has been answered; the sender has not heard of it. */
  carriedOut?(process: SimProcess, request: Request, response: unknown): void
  settled(process: SimProcess, request: Request, outcome: Outcome<unknown>): void
  /** The node to connect to where any will do. Default: 0. */
  anyNode?(): number
}

interface Sent {
  readonly request: Request
  settle: (outcome: Outcome<unknown>) => void
}

/** One socket's life: to one node. */
interface Link {
  readonly node: number
  readonly inner: Connection
  readonly out: Sent[]
  /** In the order of the requests. */
  readonly back: { readonly sent: Sent; outcome: Outcome<unknown> | undefined }[]
  readonly unsettled: Set<Sent>
  isBroken: boolean
}

const DISCONNECT: Outcome<never> = { ok: false, reason: 'disconnect' }
const TIMEOUT: Outcome<never> = { ok: false, reason: 'timeout' }
/** The broker's own patience: longer than any run. */
const BROKER_TIMEOUT_MS = 2 ** 31 - 1

export class Network {
  readonly #simulation: Simulation
  readonly #brokerOf: (process: SimProcess) => Wire
  readonly #hooks: NetworkHooks

  /** `broker`: a wire, or one for each process. */
  constructor(simulation: Simulation, broker: Wire | ((process: SimProcess) => Wire), hooks: NetworkHooks) {
    this.#simulation = simulation
    this.#brokerOf = typeof broker === 'function' ? broker : () => broker
    this.#hooks = hooks
  }

  wireOf(process: SimProcess): Wire {
    const broker = this.#brokerOf(process)
    return {
      connect: (purpose) =>
        new SimConnection(this.#simulation, this.#hooks, process, () => broker.connect(purpose)),
    }
  }
}

class SimConnection implements Connection {
  readonly #simulation: Simulation
  readonly #hooks: NetworkHooks
  readonly #process: SimProcess
  readonly #connect: () => Connection
  /** By node. */
  readonly #links = new Map<number, Link>()
  #isDestroyed = false

  constructor(simulation: Simulation, hooks: NetworkHooks, process: SimProcess, connect: () => Connection) {
    this.#simulation = simulation
    this.#hooks = hooks
    this.#process = process
    this.#connect = connect
    process.onKilled(() => this.destroy())
  }

  send<R extends Request>(node: number, request: R, timeoutMs: number): Promise<Outcome<ResponseOf<R>>> {
    // The answer to a request is of its kind.
    return this.#send(node, copied(request), timeoutMs) as Promise<Outcome<ResponseOf<R>>>
  }

  destroy(): void {
    if (this.#isDestroyed) return
    this.#isDestroyed = true
    for (const link of [...this.#links.values()]) this.#close(link)
  }

  /** By its sender: what waits on it hears of that at once. */
  #close(link: Link): void {
    if (this.#links.get(link.node) === link) this.#links.delete(link.node)
    for (const sent of [...link.unsettled]) sent.settle(DISCONNECT)
    if (!this.#hooks.arrivesWithoutSender()) link.isBroken = true
  }

  #linkTo(asked: number): Link {
    const open = asked === ANY_NODE ? this.#links.values().next().value : this.#links.get(asked)
    if (open !== undefined) return open
    const node = asked === ANY_NODE ? (this.#hooks.anyNode?.() ?? 0) : asked
    const link: Link = {
      node,
      inner: this.#connect(),
      out: [],
      back: [],
      unsettled: new Set(),
      isBroken: false,
    }
    this.#links.set(node, link)
    return link
  }

  #send(node: number, request: Request, timeoutMs: number): Promise<Outcome<unknown>> {
    const process = this.#process
    // What still runs of it reaches nobody.
    if (process.isDead) return new Promise(() => {})
    if (this.#isDestroyed) return Promise.resolve(DISCONNECT)
    this.#hooks.sent(process, request)
    const link = this.#linkTo(node)
    return new Promise((resolve) => {
      const stopTimer = this.#simulation.schedule(process, timeoutMs, `timeout ${request.api}`, () => {
        sent.settle(TIMEOUT)
        // Answers come in order: nothing behind this one would be answered either.
        if (!link.isBroken) this.#close(link)
      })
      const sent: Sent = {
        request,
        settle: (outcome) => {
          if (!link.unsettled.delete(sent)) return
          stopTimer()
          this.#hooks.settled(process, request, outcome)
          resolve(outcome)
        },
      }
      link.unsettled.add(sent)
      link.out.push(sent)
      if (link.out.length === 1) this.#bring(link, this.#hooks.latencyMs())
    })
  }

  /** The first of the requests that are on their way arrives. */
  #bring(link: Link, delayMs: number, owner?: SimProcess, isAsked = false): void {
    const { request } = link.out[0] as Sent
    this.#simulation.schedule(owner, delayMs, `> ${request.api}`, () => this.#arrive(link, isAsked))
  }

  #arrive(link: Link, isAsked: boolean): void {
    const sent = link.out[0]
    if (link.isBroken || sent === undefined) return
    const { request } = sent
    const fate = isAsked ? 'deliver' : this.#hooks.request(this.#process, request)
    if (this.#simulation.isTraced && fate !== 'deliver') this.#note(`${request.api}: ${shown(fate)}`)
    if (fate === 'lose') {
      this.#break(link)
      return
    }
    if (fate === 'hold' || (typeof fate === 'object' && 'delayMs' in fate)) {
      if (fate === 'hold') this.#bring(link, 0, this.#process, true)
      else this.#bring(link, fate.delayMs, undefined, true)
      return
    }
    link.out.shift()
    if (link.out.length > 0) this.#bring(link, this.#hooks.latencyMs())
    const answer: Link['back'][number] = { sent, outcome: undefined }
    link.back.push(answer)
    const answered = (outcome: Outcome<unknown>): void => {
      answer.outcome = outcome
      if (link.back[0] === answer) this.#bringBack(link, this.#hooks.latencyMs())
    }
    if (typeof fate === 'object' && 'answer' in fate) {
      answered({ ok: true, response: fate.answer } as Outcome<unknown>)
      return
    }
    const carried = typeof fate === 'object' && 'instead' in fate ? fate.instead : request
    void link.inner.send(link.node, carried, BROKER_TIMEOUT_MS).then((outcome) => {
      if (outcome.ok) this.#hooks.carriedOut?.(this.#process, carried, outcome.response)
      if (this.#simulation.isTraced) this.#note(`${carried.api} = ${summary(carried, outcome)}`)
      if (typeof fate !== 'object' || !('instead' in fate) || !outcome.ok) answered(outcome)
      else answered({ ok: true, response: fate.answered(outcome.response) } as Outcome<unknown>)
    })
  }

  #bringBack(link: Link, delayMs: number, isAsked = false): void {
    const { request } = (link.back[0] as Link['back'][number]).sent
    this.#simulation.schedule(this.#process, delayMs, `< ${request.api}`, () =>
      this.#arriveBack(link, isAsked),
    )
  }

  #arriveBack(link: Link, isAsked: boolean): void {
    const first = link.back[0]
    if (link.isBroken || first?.outcome === undefined) return
    const { sent } = first
    let { outcome } = first
    if (outcome.ok && !isAsked && link.unsettled.has(sent)) {
      const fate = this.#hooks.answer(this.#process, sent.request, outcome.response)
      if (this.#simulation.isTraced && fate !== 'deliver') this.#note(`< ${sent.request.api}: ${shown(fate)}`)
      if (this.#process.isDead) return
      if (fate === 'lose') {
        this.#break(link)
        return
      }
      if (typeof fate === 'object' && 'delayMs' in fate) {
        this.#bringBack(link, fate.delayMs, true)
        return
      }
      if (typeof fate === 'object') outcome = { ok: true, response: fate.answer } as Outcome<unknown>
    }
    if (!outcome.ok) {
      // The broker has closed it.
      this.#break(link)
      return
    }
    link.back.shift()
    if (link.back[0]?.outcome !== undefined) this.#bringBack(link, this.#hooks.latencyMs())
    sent.settle(outcome)
  }

  /** The sender sees it at once and connects anew with its next request, as Kafka's clients do. */
  #break(link: Link): void {
    link.isBroken = true
    if (this.#links.get(link.node) === link) this.#links.delete(link.node)
    for (const sent of [...link.unsettled]) {
      this.#simulation.schedule(this.#process, 0, `disconnect ${sent.request.api}`, () =>
        sent.settle(DISCONNECT),
      )
    }
  }

  #note(what: string): void {
    this.#simulation.note(this.#process, `  ${what}`)
  }
}

/** On a socket the bytes of a batch are gone once sent; the sender may write over them. */
function copied(request: Request): Request {
  if (request.api !== 'Produce') return request
  const partitions = request.partitions.map((place) => ({ ...place, records: Buffer.from(place.records) }))
  return { ...request, partitions }
}

function shown(fate: RequestFate | AnswerFate): string {
  if (typeof fate === 'string') return fate
  if ('delayMs' in fate) return `late by ${fate.delayMs} ms`
  return 'instead' in fate ? 'in part' : 'answered by the network'
}

/** For the trace: what tells one request of an API from another, and how it was answered. */
function summary(request: Request, outcome: Outcome<unknown>): string {
  if (!outcome.ok) return outcome.reason
  const told: string[] = []
  const { partitions, producerEpoch, generationId } = request as {
    partitions?: readonly { topic: string; partition: number; offset?: number }[]
    producerEpoch?: number
    generationId?: number
  }
  if (producerEpoch !== undefined) told.push(`epoch ${producerEpoch}`)
  if (generationId !== undefined) told.push(`generation ${generationId}`)
  if (partitions !== undefined && request.api !== 'Fetch') {
    told.push(
      partitions
        .map(
          ({ topic, partition, offset }) =>
            `${topic}/${partition}${offset === undefined ? '' : `@${offset}`}`,
        )
        .join(' '),
    )
  }
  const response = outcome.response as {
    errorCode?: number
    generationId?: number
    producerEpoch?: number
    partitions?: readonly { errorCode: number; offset?: number; baseOffset?: number }[]
  }
  if (response.errorCode !== undefined) told.push(`code ${response.errorCode}`)
  if (response.generationId !== undefined) told.push(`generation ${response.generationId}`)
  if (response.producerEpoch !== undefined) told.push(`epoch ${response.producerEpoch}`)
  if (response.partitions !== undefined && request.api !== 'Fetch') {
    told.push(
      `codes ${response.partitions.map(({ errorCode, baseOffset, offset }) => `${errorCode}${(baseOffset ?? offset) === undefined ? '' : `@${baseOffset ?? offset}`}`).join(' ')}`,
    )
  }
  return told.join(', ')
}
