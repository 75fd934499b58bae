/**
 * What Druse commits with a task's input offsets, as the offsets' metadata: where the truth about its state stands.
 *
 *   [1,"<guarantee>",<sequence>,"<incarnation>","<cluster>",<offset>,"<topic>",<stream time>,["<input>"],
 *    {"<region>":[<X>,"<definition>","<topic>"]},<partition time>]
 *
 * The same for all inputs of the task but for the offset, its topic and the partition's time. A topic stands as the hash of its id, the
 * guarantee as x (exactly once) or a (at least once).
 *
 * While a reset is under way, [1,"r",<offset before>] stands there instead.
 *
 * Compact, for brokers take 4096 bytes by default (offset.metadata.max.bytes); text, so that Kafka's own tools show it.
 */
import { createHash } from 'node:crypto'
import { DruseError } from '../errors.ts'
import type { AnyRegion } from '../region/definition.ts'
import type { ProcessingGuarantee } from './options.ts'
import { RESET_AGAIN, RESET_OR_KEEP } from './reset-advice.ts'

const FORMAT = 1
const RESET_MODE = 'r'
export const METADATA_BYTES_MAX = 4096
const GUARANTEES: Readonly<Record<ProcessingGuarantee, string>> = { exactly_once: 'x', at_least_once: 'a' }

export interface CommittedRegion {
  /** The changelog position that belongs to the committed offsets: X. */
  readonly position: number
  readonly definition: string
  /** Hash of the changelog's topic id. */
  readonly changelog: string
}

export interface TaskMetadata {
  /** Under which it was committed: it says whether a changelog may hold records beyond X that no commit knows of. */
  readonly guarantee: ProcessingGuarantee
  readonly sequence: number
  /** Drawn at the first start; another one means: not the same life of this application. */
  readonly incarnation: string
  readonly cluster: string
  /** The offset that this metadata was committed with. */
  readonly offset: number
  /** Hash of the id of the topic that the offset counts in. */
  readonly topic: string
  /** -1: no record yet. */
  readonly streamTimeMs: number
  /** The newest timestamp of the partition's records up to the offset; -1: none yet. */
  readonly partitionTimeMs: number
  /** The topics that the task read, as `inputKey`s: all of them were committed together. */
  readonly inputs: readonly string[]
  /** By `regionKey`. */
  readonly regions: Readonly<Record<string, CommittedRegion>>
}

/** Eight hexadecimal digits: enough to notice that something is another thing, not to keep anyone out. */
export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}

export function inputKey(topic: string): string {
  return shortHash(`input ${topic}`)
}

export function regionKey(name: string): string {
  return shortHash(`region ${name}`)
}

/** Changes when old bytes would mean something else: kind and serde kinds, not an Avro schema's version. */
export function definitionOf(region: AnyRegion): string {
  const logged = region.kind === 'partitioned' && region.source !== undefined ? ' source' : ''
  return shortHash(`${region.kind} ${region.key.kind} ${region.value.kind}${logged}`)
}

export function encodeMetadata(metadata: TaskMetadata): string {
  const { guarantee, sequence, incarnation, cluster, offset, topic, streamTimeMs, inputs, regions } = metadata
  const { partitionTimeMs } = metadata
  const parts = Object.entries(regions).map(([key, { position, definition, changelog }]) => [
    key,
    [position, definition, changelog],
  ])
  return JSON.stringify([
    FORMAT,
    GUARANTEES[guarantee],
    sequence,
    incarnation,
    cluster,
    offset,
    topic,
    streamTimeMs,
    inputs,
    Object.fromEntries(parts),
    partitionTimeMs,
  ])
}

/** Stands with every input offset while a reset is under way, and keeps the offset from before; undefined: none was. */
export function encodeResetMark(before: number | undefined): string {
  return JSON.stringify([FORMAT, RESET_MODE, before ?? null])
}

/** Undefined when it is no such mark. */
export function decodeResetMark(text: string): { readonly before: number | undefined } | undefined {
  const parsed = parse(text)
  if (!Array.isArray(parsed) || parsed[0] !== FORMAT || parsed[1] !== RESET_MODE) return undefined
  return { before: typeof parsed[2] === 'number' ? parsed[2] : undefined }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Errors: METADATA_FOREIGN (not Druse's), METADATA_NEWER, RESET_UNFINISHED. `where` begins the message. */
export function decodeMetadata(text: string, where: string): TaskMetadata {
  const parsed = parse(text)
  if (!Array.isArray(parsed) || typeof parsed[0] !== 'number') throw foreign(where, text)
  if (parsed[0] > FORMAT) {
    throw new DruseError(
      'METADATA_NEWER',
      `${where} was committed by a newer Druse (format ${parsed[0]}, this one knows ${FORMAT}); run that version`,
    )
  }
  if (decodeResetMark(text) !== undefined) {
    throw new DruseError(
      'RESET_UNFINISHED',
      `${where} says that a reset of the application has begun and not ended: topics may be gone, state may be moved aside. ${RESET_AGAIN}`,
    )
  }
  const [, letter, sequence, incarnation, cluster, offset, topic, streamTimeMs, inputs, regions] = parsed
  const partitionTimeMs = parsed[10] ?? -1
  const numbers = [sequence, offset, streamTimeMs, partitionTimeMs].every(Number.isSafeInteger)
  const isList = Array.isArray(inputs)
  const texts = [incarnation, cluster, topic, ...(isList ? inputs : [])].every(
    (value) => typeof value === 'string',
  )
  const guarantee = (Object.keys(GUARANTEES) as ProcessingGuarantee[]).find(
    (known) => GUARANTEES[known] === letter,
  )
  if (
    guarantee === undefined ||
    !numbers ||
    !texts ||
    !isList ||
    typeof regions !== 'object' ||
    regions === null
  ) {
    throw foreign(where, text)
  }
  const committed = Object.entries(regions as object).map(([key, value]) => {
    const [position, definition, changelog] = Array.isArray(value) ? value : []
    if (!Number.isSafeInteger(position) || typeof definition !== 'string' || typeof changelog !== 'string') {
      throw foreign(where, text)
    }
    return [key, { position, definition, changelog }] as const
  })
  return {
    guarantee,
    sequence,
    incarnation,
    cluster,
    offset,
    topic,
    streamTimeMs,
    partitionTimeMs,
    inputs,
    regions: Object.fromEntries(committed),
  }
}

/** The most bytes that a task with these regions can come to need. Errors: TOPOLOGY_INVALID. */
export function checkMetadataFits(regionCount: number, inputCount: number, subTopology: string): void {
  const widest = Number.MAX_SAFE_INTEGER
  const region = { position: widest, definition: '00000000', changelog: '00000000' }
  const regions = Object.fromEntries(
    Array.from({ length: regionCount }, (_, i) => [String(i).padStart(8, '0'), region]),
  )
  const text = encodeMetadata({
    guarantee: 'exactly_once',
    sequence: widest,
    incarnation: '00000000',
    cluster: '00000000',
    offset: widest,
    topic: '00000000',
    streamTimeMs: widest,
    partitionTimeMs: widest,
    inputs: Array.from({ length: inputCount }, () => '00000000'),
    regions,
  })
  if (text.length <= METADATA_BYTES_MAX) return
  throw new DruseError(
    'TOPOLOGY_INVALID',
    `The sub-topology that reads '${subTopology}' is too large, with ${regionCount} regions and ${inputCount} input topics, for the ${METADATA_BYTES_MAX} bytes that Kafka takes with an offset; split it with a repartition()`,
  )
}

function foreign(where: string, text: string): DruseError {
  return new DruseError(
    'METADATA_FOREIGN',
    `${where} was not committed by Druse (metadata ${JSON.stringify(text.slice(0, 60))}): another consumer uses this group, or a tool has moved the offsets. Give the application another name, or take the offsets for good. ${RESET_OR_KEEP}`,
  )
}
