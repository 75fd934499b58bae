/** As Kafka has it. */
const TOPIC = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/

export function isTopicName(name: string): boolean {
  return TOPIC.test(name)
}
