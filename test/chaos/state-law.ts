/** C2: changelogs fold to what a model says; each state directory holds what its changelogs say, up to where it stands. */
import type { CommittedRecord } from '../stack/committed.ts'
import { type CommittedInput, regionKey } from './offset-law.ts'
import { byPartition, type Entries, fold, keyOf, type Topics } from './records.ts'
import { regionNames, type StoredState, type StoredTask } from './state.ts'
import type { Verdict } from './verdict.ts'

const LAW = 'C2 state'
const SHOWN = 60

/** What the entries of a region should be, and how its values are read. */
export interface RegionModel {
  readonly entries: Entries
  readonly meaning: (value: Buffer) => string
}

export function judgeRegion(name: string, topics: Topics, model: RegionModel, verdict: Verdict): void {
  const found: Entries = new Map()
  for (const [partition, records] of byPartition(topics(`${name}-changelog`))) {
    for (const [key, value] of fold(records, model.meaning)) {
      if (found.has(key)) verdict.say(LAW, `region ${name}: key ${key} is in partition ${partition}, too`)
      found.set(key, value)
    }
  }
  compare(`region ${name}`, 'its changelog', model.entries, found, verdict)
}

/** Of closed directories: each is a committed prefix; one of each task is the newest commit. */
export function judgeState(
  { tasks }: StoredState,
  committed: readonly CommittedInput[],
  topics: Topics,
  verdict: Verdict,
): void {
  const changelogs = new Map(
    regionNames.map((name) => [name as string, byPartition(topics(`${name}-changelog`))]),
  )
  for (const task of tasks) {
    for (const name of new Set([...task.regions.keys(), ...regionNames])) {
      const position = task.positions[regionKey(name)]
      const entries = task.regions.get(name) ?? new Map<string, string>()
      if (position === undefined) {
        if (entries.size > 0) verdict.say(LAW, `${task.directory}: region ${name} stands nowhere`)
        continue
      }
      const records = changelogs.get(name)?.get(String(task.partition)) ?? []
      compare(
        `${task.directory}: region ${name} up to ${position}`,
        'it',
        upTo(records, position),
        entries,
        verdict,
      )
    }
  }
  for (const input of committed) {
    if (Object.keys(input.regions).length > 0) judgeNewest(input, tasks, changelogs, verdict)
  }
}

function judgeNewest(
  { topic, partition, sequence, incarnation, regions }: CommittedInput,
  tasks: readonly StoredTask[],
  changelogs: ReadonlyMap<string, ReadonlyMap<string, readonly CommittedRecord[]>>,
  verdict: Verdict,
): void {
  const where = `the task of ${topic}/${partition}`
  for (const [name, partitions] of changelogs) {
    const position = regions[regionKey(name)]
    if (position === undefined) continue
    const last = partitions.get(String(partition))?.at(-1)
    if (last !== undefined && last.offset >= position) {
      verdict.say(
        LAW,
        `${where} is committed at ${position} of region ${name}, which goes on to ${last.offset}`,
      )
    }
  }
  const own = tasks.filter((task) => task.incarnation === incarnation)
  const ahead = own.find((task) => (task.sequence ?? -1) > sequence)
  if (ahead !== undefined) {
    verdict.say(
      LAW,
      `${ahead.directory} has sequence ${ahead.sequence}, ${where} is committed at ${sequence}`,
    )
  }
  const wanted = JSON.stringify(Object.entries(regions).sort())
  const isThere = own.some(
    (task) => task.sequence === sequence && JSON.stringify(Object.entries(task.positions).sort()) === wanted,
  )
  if (!isThere) {
    const said = own.map((task) => `${task.directory} has ${task.sequence}`).join(', ') || 'none'
    verdict.say(LAW, `${where}: no directory is at sequence ${sequence} (${said})`)
  }
}

function upTo(records: readonly CommittedRecord[], position: number): Entries {
  const entries: Entries = new Map()
  for (const record of records) {
    if (record.offset >= position) break
    if (record.value === null) entries.delete(keyOf(record))
    else entries.set(keyOf(record), `${record.timestamp} ${record.value.toString('hex')}`)
  }
  return entries
}

function compare(
  where: string,
  whose: string,
  expected: Entries,
  found: ReadonlyMap<string, string>,
  verdict: Verdict,
): void {
  for (const [key, value] of expected) {
    const other = found.get(key)
    if (other === value) continue
    verdict.say(LAW, `${where}: key ${end(key)} should have ${end(value)}, ${whose} has ${end(other)}`)
  }
  for (const [key, value] of found) {
    if (expected.has(key)) continue
    verdict.say(LAW, `${where}: ${whose} has ${end(value)} for key ${end(key)}, which should not be`)
  }
}

function end(text: string | undefined): string {
  if (text === undefined) return 'nothing'
  return text.length > SHOWN ? `…${text.slice(-SHOWN)}` : text
}
