/** Ports that nobody has. */
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below those that systems give to outgoing connections: a port stays free while its broker is down. */
const LOWEST = 20_000
const HIGHEST = 32_000

const given = new Set<number>()

export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST))
    if (given.has(port) || !(await isFree(port))) continue
    given.add(port)
    return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port)
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}
