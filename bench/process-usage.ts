/** What a process uses, as Linux tells it; elsewhere nothing is known. */
import { readFile } from 'node:fs/promises'

export interface Usage {
  /** User and system time of all its threads, since it began. */
  readonly cpuSeconds: number
  readonly peakMb: number
}

/** Of the kernel's times in /proc: USER_HZ, which is 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100

export async function usageOf(pid: number): Promise<Usage | undefined> {
  try {
    const [stat, status] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/status`, 'utf8'),
    ])
    // The name of the program stands in brackets and may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const peakKb = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1])
    if (Number.isNaN(peakKb)) return undefined
    return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND, peakMb: peakKb / 1024 }
  } catch {
    return undefined
  }
}
