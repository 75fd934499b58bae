/** Which tables belong to a LevelDB: those that its manifest has added and not removed. Others are left from a crash. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LevelBytes } from './level-bytes.ts'
import { recordsOfLog } from './level-log.ts'

/** Of the edits that a manifest consists of. */
const TAG = {
  comparator: 1,
  logNumber: 2,
  nextFile: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  previousLog: 9,
}

/** Their numbers. What cannot be read is LevelDB's to complain about, when it opens the store. */
export async function liveTables(directory: string): Promise<ReadonlySet<number>> {
  const current = await readFile(join(directory, 'CURRENT'), 'latin1')
  const name = /^(MANIFEST-\d+)\n$/.exec(current)?.[1]
  const live = new Set<number>()
  if (name === undefined || !(await readdir(directory)).includes(name)) return live
  for (const record of recordsOfLog(await readFile(join(directory, name)))) readEdit(record, live)
  return live
}

function readEdit(record: Buffer, live: Set<number>): void {
  const bytes = new LevelBytes(record)
  while (!bytes.isAtEnd) {
    switch (bytes.varint()) {
      case TAG.comparator:
        bytes.text()
        break
      case TAG.logNumber:
      case TAG.nextFile:
      case TAG.lastSequence:
      case TAG.previousLog:
        bytes.varint()
        break
      case TAG.compactPointer:
        bytes.varint()
        bytes.text()
        break
      case TAG.deletedFile:
        bytes.varint()
        live.delete(bytes.varint())
        break
      case TAG.newFile:
        bytes.varint()
        live.add(bytes.varint())
        bytes.varint()
        bytes.text()
        bytes.text()
        break
      default:
        return
    }
  }
}
