/**
 * Faults that last: they do not pass by themselves, so the application has to say so, or to rebuild what it can, and
 * never to go on as if nothing were wrong. Each is a story with its documented end.
 */
import { Stage } from './stage.ts'
import { DIRECTORY_STORIES } from './stories/directories.ts'
import { ELECTION_STORIES } from './stories/elections.ts'
import { INSTANCE_STORIES } from './stories/instances.ts'
import { OFFSET_STORIES } from './stories/offsets.ts'
import { PATIENCE_STORIES } from './stories/patience.ts'
import { RECORD_STORIES } from './stories/records.ts'
import type { Story } from './stories/story.ts'
import { TOPIC_STORIES } from './stories/topics.ts'

export const STORIES: readonly Story[] = [
  ...TOPIC_STORIES,
  ...ELECTION_STORIES,
  ...OFFSET_STORIES,
  ...DIRECTORY_STORIES,
  ...INSTANCE_STORIES,
  ...PATIENCE_STORIES,
  ...RECORD_STORIES,
]

/** Errors: Violation. */
export async function runStory(name: string, trace?: (line: string) => void): Promise<void> {
  const story = STORIES.find((one) => one.name === name)
  if (story === undefined) throw new Error(`There is no story '${name}'`)
  await story.run(await Stage.open({ ...story.options, trace }))
}
