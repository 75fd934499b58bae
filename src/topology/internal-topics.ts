/** The topics that an application makes for itself. */
import type { Graph } from './graph.ts'

/** Where a partitioned region's changes are logged. */
export function changelogTopic(application: string, region: string): string {
  return `${application}-${region}-changelog`
}

export function internalTopicNames(graph: Graph): string[] {
  const repartitions = graph.nodes.filter((node) => node.kind === 'repartition').map((node) => node.topic)
  const changelogs = [...graph.regions.keys()].map((region) => changelogTopic(graph.application, region))
  return [...repartitions, ...changelogs].sort()
}
