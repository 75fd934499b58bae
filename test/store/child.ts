/**
 * A process of its own on a LevelDB: `node child.ts <root> <command>`. Says on standard output what it has done.
 * hold: opens store `s` and stays. write: writes batch after batch to it and says each that was answered.
 * fill: writes until a write fails, then says how further calls are answered.
 */
import { writeSync } from 'node:fs'
import { DruseError } from '../../src/errors.ts'
import type { Write } from '../../src/ports.ts'
import { levelDisk } from '../../src/store/level-disk.ts'

/** Entries of a batch; each holds the batch's number. */
export const BATCH_ENTRIES = 50

const say = (line: string) => writeSync(1, `${line}\n`)
const number = (n: number): Uint8Array => new TextEncoder().encode(String(n).padStart(8, '0'))

const codeOf = async (call: () => Promise<unknown>): Promise<string> =>
  call().then(
    () => 'done',
    (error) => (error instanceof DruseError ? error.code : String(error)),
  )
const messageOf = async (call: () => Promise<unknown>): Promise<string> => call().then(() => 'done', String)
const batch = (n: number): Write[] =>
  Array.from(
    { length: BATCH_ENTRIES },
    (_, k): Write => [number(k), Buffer.concat([number(n), Buffer.alloc(200)])],
  )

async function run(root: string, command: string | undefined): Promise<void> {
  const store = await levelDisk(root).open('s')
  say('open')
  if (command === 'hold') setInterval(() => {}, 1_000_000)
  if (command === 'write') {
    for (let n = 1; ; n++) {
      await store.write(batch(n))
      say(String(n))
    }
  }
  if (command === 'fill') {
    let answer = 'done'
    for (let n = 1; answer === 'done'; n++) answer = await codeOf(() => store.write(batch(n)))
    say(answer)
    say(await messageOf(() => store.write(batch(0))))
    say(await codeOf(async () => store.getSync(number(0))))
    say(await codeOf(() => store.close()))
  }
}

if (process.argv[1] === import.meta.filename) {
  const [root = '', command] = process.argv.slice(2)
  const answer = await codeOf(() => run(root, command))
  if (answer !== 'done') say(answer)
}
