/**
 * Tests on a real Kafka. Whoever imports this file has one running, the same for all test files of a run; names of
 * topics, groups and transactional ids have to be one's own.
 *
 *     describeOnKafka('reading', ({ brokers }) => {
 *       test('…', async () => { const wire = kafkaWire({ brokers }) … })
 *     })
 *
 * It is the one that KAFKA_BROKERS names, or else is started: by Docker, or from Kafka's jars where a JDK (17 or later)
 * and Maven are. With neither the tests are skipped, or fail if DRUSE_REQUIRE_KAFKA=1. DRUSE_KAFKA_VERSIONS=3.9.2,4.1.0
 * starts these versions: `describeOnEachKafka` runs on all of them, `describeOnKafka` on the first.
 */
import { describeOn } from './describe-on.ts'
import { KAFKA_VERSION } from './kafka-version.ts'
import { ask, type Found } from './requests.ts'

export interface Kafka {
  readonly brokers: readonly string[]
  /** Of the broker's software; undefined for KAFKA_BROKERS, for a broker does not tell. */
  readonly version: string | undefined
}

interface Candidate {
  readonly title: string
  readonly kafka: Found<Kafka>
}

async function find(version: string | undefined): Promise<Candidate> {
  const answer = await ask('kafka', { version: version ?? KAFKA_VERSION })
  const title = version === undefined ? 'Kafka' : `Kafka ${version}`
  return {
    title,
    kafka: 'missing' in answer ? answer : { found: { brokers: answer.found.brokers, version } },
  }
}

const { KAFKA_BROKERS, DRUSE_KAFKA_VERSIONS = KAFKA_VERSION } = process.env
const candidates = await Promise.all(
  KAFKA_BROKERS ? [find(undefined)] : DRUSE_KAFKA_VERSIONS.split(',').map((version) => find(version.trim())),
)

/** On one broker. */
export function describeOnKafka(title: string, body: (kafka: Kafka) => void | Promise<void>): void {
  for (const { kafka } of candidates.slice(0, 1)) describeOn(title, kafka, body)
}

/** On a broker of each version: for what a client may rely on, whatever the version. */
export function describeOnEachKafka(title: string, body: (kafka: Kafka) => void | Promise<void>): void {
  for (const candidate of candidates) describeOn(`${title}: ${candidate.title}`, candidate.kafka, body)
}
