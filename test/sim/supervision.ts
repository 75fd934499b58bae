/** What can be seen of instances from outside, and what of it the faults of a run explain. */
import { DruseError } from '../../src/index.ts'
import type { Feeder } from './feeder.ts'
import { COPIES, INPUT, TALLIES } from './workload.ts'
import type { Instance, World } from './world.ts'

/** Whether as much has been committed as was fed. */
export function hasComeOut(world: World, { committed }: Feeder): boolean {
  if (world.isBank) {
    const { counts } = world.ledger
    return [COPIES, TALLIES].every((topic) => (counts.get(topic) ?? 0) >= 2 * committed.length)
  }
  const refused = committed.filter((fed) => world.isRefused(fed)).length
  const copies = committed.filter(({ topic }) => topic === INPUT).length + refused
  const { ids } = world.ledger
  return (ids.get(COPIES)?.size ?? 0) >= copies && (ids.get(TALLIES)?.size ?? 0) >= committed.length - refused
}

export function isOver({ process, failure, app }: Instance): boolean {
  if (process.isDead) return true
  if (!process.isRunning) return false
  return failure !== undefined || app.health.tasks.some(({ status }) => status === 'failed')
}

/**
 * Only what the faults of a run can do may end a task or an instance: a disk that is full, a start that had no broker in
 * time, and, of a static member, an earlier JoinGroup of its own that arrives late: Kafka takes it for another process.
 * Errors: Violation.
 */
export function assertExplained(world: World, instance: Instance, canFillDisk: boolean): void {
  const { name, process, failure, app } = instance
  if (process.isDead) return
  const errors = [failure, ...app.health.tasks.map(({ error }) => error)].filter(
    (error) => error !== undefined,
  )
  for (const error of errors) {
    const code = error instanceof DruseError ? error.code : String(error)
    const isExplained =
      (canFillDisk && (code === 'STATE_WRITE_FAILED' || code === 'DISK_FAILED')) ||
      (world.isStatic && code === 'INSTANCE_FENCED') ||
      code === 'BROKER_UNAVAILABLE'
    if (!isExplained) world.broken(`${name} has failed: ${code} ${(error as Error).message}`)
  }
  world.assertLaws()
}

/** For the message of a run that stands still. */
export function stateOf(world: World): string {
  return world.instances
    .map(({ name, app, process }) => {
      const tasks = app.health.tasks.map(
        ({ task, status, error, waitingFor }) => `${task} ${status} ${(error ?? waitingFor)?.code ?? ''}`,
      )
      const state = process.isDead ? 'dead' : process.isRunning ? 'runs' : 'paused'
      return `; ${name} ${state} ${app.state} ${tasks.join(', ')}`
    })
    .join('')
}
