/** The store of a task is taken by one at a time; who has been given up in the meantime does not take it any more. */
import { expect, test } from 'vitest'
import { memoryDisk, silentLogger, systemClock, systemRandom } from '../../src/index.ts'
import type { TaskId } from '../../src/runtime/plan.ts'
import { StateDirectory } from '../../src/runtime/state-directory.ts'

const task = { sub: { id: 0, name: 'numbers' }, partition: 0 } as unknown as TaskId

test('a take that waits for the store of a task ends when it is given up, and leaves the store to others', async () => {
  const directory = await StateDirectory.open(memoryDisk(), 'app', systemRandom, silentLogger)
  const first = await directory.openTask(task, systemClock, new AbortController().signal)
  const givingUp = new AbortController()
  const second = directory.openTask(task, systemClock, givingUp.signal)
  givingUp.abort()
  await expect(second).rejects.toMatchObject({ code: 'TASK_ABANDONED' })
  await first.close()
  const third = await directory.openTask(task, systemClock, new AbortController().signal)
  await third.close()
})

test('given up while the store is being opened, a take closes it again', async () => {
  const directory = await StateDirectory.open(memoryDisk(), 'app', systemRandom, silentLogger)
  const givingUp = new AbortController()
  const first = directory.openTask(task, systemClock, givingUp.signal)
  givingUp.abort()
  await expect(first).rejects.toMatchObject({ code: 'TASK_ABANDONED' })
  const second = await directory.openTask(task, systemClock, new AbortController().signal)
  await second.close()
})
