/** What a case's outputs and stores have to be: the recording's, but for joins where Druse does the right thing. */
import type { Case, CaseEntry } from './case.ts'
import { type JoinResult, joinModel } from './join-model.ts'
import { plain } from './observe.ts'
import { type Modelled, modelled } from './topologies/joins.ts'

export interface Expected {
  readonly outputs: Readonly<Record<string, readonly CaseEntry[]>>
  readonly stores: Readonly<Record<string, readonly CaseEntry[]>>
}

export function expectedOf(recorded: Case): Expected {
  const asRecorded = { outputs: plain(recorded.outputs), stores: recorded.stores }
  const model = modelled[recorded.topology]
  return model === undefined ? asRecorded : corrected(recorded, model, false)
}

/** What the model gives that has Kafka Streams' artefacts: it has to be the recording, or the other model explains nothing. */
export function explained(recorded: Case): Expected | undefined {
  const model = modelled[recorded.topology]
  return model && corrected(recorded, model, true)
}

function corrected(recorded: Case, { sink, spec, behind, store }: Modelled, asKafka: boolean): Expected {
  const results = joinModel(recorded, spec, asKafka)
  const entries = behind === undefined ? results : behind(results)
  const withHeaders = recorded.outputs[sink]?.some(({ headers }) => headers !== undefined) === true
  const outputs = {
    ...plain(recorded.outputs),
    [sink]: entries.map((entry) => entryOf(recorded, entry, withHeaders)),
  }
  if (store === undefined) return { outputs, stores: recorded.stores }
  const last = new Map(entries.map(({ by: _, ...entry }) => [entry.key, entry]))
  const rows = [...last.values()].sort((a, b) => ((a.key as string) < (b.key as string) ? -1 : 1))
  return { outputs, stores: { ...recorded.stores, [store]: rows } }
}

/** A result has the headers of the record that brought it. */
function entryOf({ inputs }: Case, { by, ...entry }: JoinResult, withHeaders: boolean): CaseEntry {
  const input = inputs[by]
  if (!withHeaders || input === undefined || !('topic' in input)) return entry
  return { ...entry, headers: input.headers ?? [] }
}
