/** The topics that an application makes for itself. */
import type { Region } from '../region/definition.ts'
import type { Graph } from './graph.ts'

/** Where a partitioned region's changes are logged. */
export function changelogTopic(application: string, region: string): string {
  return `${application}-${region}-changelog`
}

/** Where a region is restored from: its own changelog, or the source topic that it holds. */
export function logOf(application: string, { name, source }: Pick<Region, 'name' | 'source'>): string {
  return source ?? changelogTopic(application, name)
}

export function internalTopicNames(graph: Graph): string[] {
  const repartitions = graph.nodes.filter((node) => node.kind === 'repartition').map((node) => node.topic)
  const changelogs = [...graph.regions.values()].flatMap(({ name, source }) =>
    source === undefined ? [changelogTopic(graph.application, name)] : [],
  )
  return [...repartitions, ...changelogs].sort()
}
