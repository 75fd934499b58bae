/**
 * The keeper (keeper/main.ts) as a process: started before anything asks, and gone with all that it started when its
 * standard input ends, be it because whoever started it was killed.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request } from 'node:http'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Answer, Name, Requests } from './requests.ts'

const KEEPER = fileURLToPath(new URL('keeper/main.ts', import.meta.url))

export interface Keeper {
  /** Where it listens: a path. */
  readonly socket: string
  /** Resolves when all is gone, to what it has to say: lines for whoever reads the results. */
  close(): Promise<string[]>
}

export async function startKeeper(): Promise<Keeper> {
  // Detached: a Ctrl-C in the terminal is for whoever started it; the keeper has to tidy up after that.
  const keeper = spawn(process.execPath, ['--disable-warning=TimeoutNegativeWarning', KEEPER], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  const closed = once(keeper, 'close')
  const lines = createInterface({ input: keeper.stdout })[Symbol.asyncIterator]()
  const first = await lines.next()
  if (first.done) throw new Error('The process that keeps brokers for tests did not start')
  return {
    socket: first.value,
    async close() {
      keeper.stdin.end()
      const said: string[] = []
      for (let line = await lines.next(); !line.done; line = await lines.next()) said.push(line.value)
      await closed
      return said
    },
  }
}

/** Takes as long as it takes: images and jars may have to be fetched first. */
export async function askKeeper<N extends Name>(
  socket: string,
  name: N,
  body: Requests[N]['request'],
): Promise<Answer<N>> {
  const text = await new Promise<string>((resolve, reject) => {
    const sent = request({ socketPath: socket, path: `/${name}`, method: 'POST' }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part) => {
        text += part
      })
      response.on('end', () => resolve(text))
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(JSON.stringify(body))
  })
  const { answer, error } = JSON.parse(text) as { answer?: Answer<N>; error?: string }
  if (answer === undefined) throw new Error(error)
  return answer
}
