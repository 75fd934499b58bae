/** `druse reset`: shows what a reset does, and does it unless it is a dry run. */
import { resetApplication } from '../runtime/reset.ts'
import type { ResetPlan, ResetPosition } from '../runtime/reset-plan.ts'
import { consoleLogger, systemClock } from '../system.ts'
import type { ResetArguments, WhereTo } from './arguments.ts'
import { loadModule } from './module.ts'
import { openWire } from './way-to-kafka.ts'

/** Errors: OPTION_INVALID without a way to Kafka, those of `loadModule`, `embeddedBroker` and `resetApplication`. */
export async function reset(
  path: string,
  given: ResetArguments,
  print: (text: string) => void,
): Promise<void> {
  const module = await loadModule(path)
  const { topology } = module
  const options = await module.options()
  const logger = consoleLogger(given.logLevel ?? 'warn')
  const { wire, close } = await openWire(given, options, topology.application, logger)
  const { to, topics, keepState, force, dryRun, stateDirs } = given
  try {
    await resetApplication(topology, {
      ...options,
      ...{ wire, logger, keepState, force, dryRun, stateDirs },
      ...(to === undefined ? {} : { to: positionOf(to) }),
      ...(topics.length === 0 ? {} : { topics }),
      onPlan: (plan) => print(text(plan)),
    })
    print(dryRun ? 'Nothing was changed: this was a dry run.\n' : 'Done.\n')
  } finally {
    await close()
  }
}

function positionOf(to: WhereTo): ResetPosition {
  if (typeof to !== 'object' || !('agoMs' in to)) return to
  return { timestampMs: Math.max(0, Math.floor(systemClock.wallMs() - to.agoMs)) }
}

function text(plan: ResetPlan): string {
  const { application, keepState, resumes, members, inputs, topics, regions, directories } = plan
  const made = (action: string): string[] =>
    topics
      .filter((topic) => topic.action === action)
      .map(
        ({ topic, partitions }) =>
          `${topic} (${partitions} ${partitions === 1 ? 'partition' : 'partitions'})`,
      )
  const kept = keepState ? ', with the regions as they are' : ''
  return [
    `Reset of application ${application}${kept}\n`,
    resumes ? '  An earlier reset has not ended; this one ends it\n' : '',
    section(
      'Members put out of the group',
      members.map(({ memberId, clientHost }) => `${memberId} at ${clientHost}`),
    ),
    section(
      'Inputs: committed offset -> new offset',
      inputs.map(({ topic, partition, from, to }) => `${topic}/${partition}: ${from ?? 'none'} -> ${to}`),
    ),
    section('Internal topics deleted and created again, empty', made('recreate')),
    section('Internal topics created', made('create')),
    section(
      'Regions kept: where their changelogs end',
      regions.map(({ region, partition, position }) => `${region}/${partition}: ${position}`),
    ),
    section(
      'Local state moved aside',
      directories.flatMap(({ root, tasks }) =>
        tasks.length === 0 ? [`${root}: none`] : tasks.map((task) => `${root}/${task}`),
      ),
    ),
    section('Not touched: output topics keep what they hold', plan.sinks),
    section('Not touched: not of this topology, though named like it', plan.unknownTopics),
  ].join('')
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `  ${title}\n${lines.map((line) => `    ${line}\n`).join('')}`
}
