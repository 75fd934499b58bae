/** Regions as source and as sink of streams. */
import { DruseError } from '../errors.ts'
import type { AnyRegion, Region } from '../region/definition.ts'
import { AutoName, type GraphBuilder } from '../topology/builder.ts'
import type { NodeId } from '../topology/graph.ts'
import { fanOut } from '../topology/steps.ts'
import { bindToRegion } from '../topology/to-region.ts'
import { type Place, requireKeyed } from './place.ts'

/** Errors: TOPOLOGY_INVALID. */
export function addToRegion(place: Place<unknown, unknown>, region: AnyRegion): void {
  const where = `toRegion('${region.name}')`
  const { builder } = place
  requirePartitioned(region, where)
  builder.requireRegions(where, [region])
  if (!builder.isDeclared(region.name)) {
    throw new DruseError(
      'TOPOLOGY_INVALID',
      `${where} writes to the region of an operator of that name, which alone may do so: what it keeps there would be overwritten. Declare a region of your own with region()`,
    )
  }
  requireKeyed(place, where)
  builder.add({
    kind: 'operator',
    operator: 'toRegion',
    name: new AutoName(`to-region-${region.name}`),
    parents: [place.node],
    regions: [region.name],
    bind: bindToRegion(region.name),
  })
}

/** The events of a region of this topology. Errors: TOPOLOGY_INVALID. */
export function addFromRegion(builder: GraphBuilder, region: Region): NodeId {
  const where = `fromRegion('${region.name}')`
  requirePartitioned(region, where)
  builder.requireOwn(where, region)
  return builder.add({
    kind: 'operator',
    operator: 'fromRegion',
    name: new AutoName(`from-region-${region.name}`),
    parents: [],
    regions: [region.name],
    listensTo: region.name,
    bind: (_, children) => fanOut(children),
  })
}

function requirePartitioned({ kind, name }: AnyRegion, where: string): void {
  if (kind === 'partitioned') return
  throw new DruseError(
    'TOPOLOGY_INVALID',
    `${where}: '${name}' is a copy of a topic in every process, which its updates belong to; read and write the topic`,
  )
}
