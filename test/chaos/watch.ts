/** A consumer of committed records that reads along while a run is on. */
import { mkdir } from 'node:fs/promises'
import { CommittedReader } from '../stack/committed.ts'
import { topicsOf } from './names.ts'

export interface WatchOptions {
  /** host:port,host:port */
  readonly brokers: string
  readonly prefix: string
  /** Is made; `check` takes it as `watched`. */
  readonly directory: string
}

/** Reads inputs and sinks; `finish` when everything is processed, before `check`. */
export async function watch({ brokers, prefix, directory }: WatchOptions): Promise<CommittedReader> {
  await mkdir(directory, { recursive: true })
  const topics = topicsOf(prefix).all.map(({ topic }) => topic)
  return CommittedReader.start({ brokers, topics, directory })
}
