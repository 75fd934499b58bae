/** What processes have printed: nothing that nobody has caught, and no secrets. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Verdict } from './verdict.ts'

const UNHANDLED =
  /unhandled|uncaught|triggerUncaughtException|MaxListenersExceededWarning|FATAL ERROR|^\S*Error: |^\s+at .*:\d+:\d+\)?$/i
const SHOWN = 200

/**
 * Of files with what processes have printed on standard output and error. Secrets are looked for as they are, and as
 * Base64 has them.
 */
export async function judgeLogs(
  files: readonly string[],
  secrets: readonly string[],
  verdict: Verdict,
): Promise<void> {
  const forms = secrets.flatMap((secret) => [secret, Buffer.from(secret).toString('base64')])
  for (const file of files) {
    let number = 0
    for await (const line of createInterface({ input: createReadStream(file) })) {
      number += 1
      const where = `${file}:${number}`
      if (UNHANDLED.test(line)) verdict.say('C9 logs', `${where}: ${line.slice(0, SHOWN)}`)
      // Not the line: it would be told once more.
      if (forms.some((form) => line.includes(form))) verdict.say('C10 logs', `${where} holds a secret`)
    }
  }
}
