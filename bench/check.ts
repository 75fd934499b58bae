/** Whether an output is what its input calls for, exactly once: read under read_committed, record by record. */
import { kafkaWire, readTopic, string } from '../src/index.ts'
import { inputRecord, PARTITIONS, type Workload } from './workload.ts'

/** Resolves to the number of output records. Errors: the first record that is wrong, or what is missing. */
export async function checkOutput(
  brokers: readonly string[],
  workload: Workload,
  input: string,
  output: string,
): Promise<number> {
  const wire = kafkaWire({ brokers })
  const written = await readTopic(wire, output, { key: string, value: string })
  if (workload.kind === 'pass') {
    const read = await readTopic(wire, input, { key: string, value: string })
    checkPass(read, written)
  } else checkCount(written, workload)
  return written.length
}

export interface Read {
  readonly key: string
  readonly value: string
  readonly partition: number
}

/** Partition by partition the same records in the same order. */
export function checkPass(read: readonly Read[], written: readonly Read[]): void {
  if (written.length !== read.length)
    throw new Error(`the output has ${written.length} records, not ${read.length}`)
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const expected = read.filter((record) => record.partition === partition)
    const found = written.filter((record) => record.partition === partition)
    for (const [i, { key, value }] of expected.entries()) {
      if (found[i]?.key === key && found[i].value === value.toUpperCase()) continue
      throw new Error(`record ${i} of output partition ${partition} is not that of the input`)
    }
  }
}

/** Each key's updates rise, by whatever steps, and end at the number of its records. */
export function checkCount(written: readonly Read[], { records, keys }: Omit<Workload, 'kind'>): void {
  const counts = new Map<string, number>()
  for (const { key, value } of written) {
    const count = Number(value)
    if (!(count > (counts.get(key) ?? 0)))
      throw new Error(`${key} goes from ${counts.get(key) ?? 0} to ${value}`)
    counts.set(key, count)
  }
  const expected = new Map<string, number>()
  for (let n = 0; n < records; n++) {
    const { key } = inputRecord(n, keys)
    expected.set(key, (expected.get(key) ?? 0) + 1)
  }
  if (counts.size !== expected.size)
    throw new Error(`the output has ${counts.size} keys, not ${expected.size}`)
  for (const [key, count] of expected) {
    if (counts.get(key) !== count) throw new Error(`${key} ends at ${counts.get(key)}, not ${count}`)
  }
}
