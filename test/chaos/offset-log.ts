/** What Kafka's own log of committed offsets says, whatever its coordinator answers meanwhile. */
import type { CommittedRecord } from '../stack/committed.ts'
import { OFFSETS, OffsetLaw, parseCommitted } from './offset-law.ts'
import type { Verdict } from './verdict.ts'

export const OFFSET_LOG = '__consumer_offsets'

interface LoggedOffset {
  readonly group: string
  readonly topic: string
  readonly partition: number
  /** Undefined: it was taken away. */
  readonly at: { readonly offset: number; readonly metadata: string } | undefined
}

/** C3: no commit of the group goes back, be it seen by a sample or not. Resolves to how many there were. */
export function judgeOffsetLog(group: string, records: readonly CommittedRecord[], verdict: Verdict): number {
  const law = new OffsetLaw(verdict)
  let commits = 0
  for (const record of records) {
    const logged = readLogged(record)
    if (logged?.group !== group) continue
    const { topic, partition, at } = logged
    if (at === undefined) {
      verdict.say(OFFSETS, `${topic}/${partition}: its offset was taken away`)
      continue
    }
    commits += 1
    const committed = parseCommitted(topic, partition, at.offset, at.metadata, verdict)
    if (committed !== undefined) law.follow(committed)
  }
  if (commits === 0) verdict.say(OFFSETS, `${OFFSET_LOG} holds no commit of ${group}`)
  return commits
}

/** Undefined: it is about something else. */
function readLogged({ key, value }: CommittedRecord): LoggedOffset | undefined {
  if (key === null || key.readInt16BE() > 1) return undefined
  let at = 2
  const text = (bytes: Buffer, length: number): string => {
    at += length
    return bytes.toString('utf8', at - length, at)
  }
  const short = (bytes: Buffer): number => {
    at += 2
    return bytes.readInt16BE(at - 2)
  }
  const group = text(key, short(key))
  const topic = text(key, short(key))
  const place = { group, topic, partition: key.readInt32BE(at) }
  if (value === null) return { ...place, at: undefined }
  const version = value.readInt16BE()
  const offset = Number(value.readBigInt64BE(2))
  // From 3 on with a leader epoch, from 4 on with lengths of variable size.
  at = version >= 3 ? 14 : 10
  const length = version >= 4 ? compactLength(value, at) : { length: value.readInt16BE(at), bytes: 2 }
  at += length.bytes
  return { ...place, at: { offset, metadata: text(value, length.length) } }
}

function compactLength(bytes: Buffer, at: number): { length: number; bytes: number } {
  let value = 0
  for (let i = 0; ; i++) {
    const byte = bytes[at + i] as number
    value |= (byte & 0x7f) << (7 * i)
    if (byte < 0x80) return { length: value - 1, bytes: i + 1 }
  }
}
