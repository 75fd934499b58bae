import { DruseError } from '../errors.ts'
import { AutoName } from '../topology/builder.ts'
import type { StreamRecord } from '../topology/record.ts'
import { fanOut, guarded } from '../topology/steps.ts'
import type { Fn, Named, Partitioning, Place } from './place.ts'
import { Stream } from './stream.ts'

interface Branch<K, V> {
  readonly name: string
  readonly predicate: Fn<K, V, boolean> | undefined
}

/** Branches in the making; ends with `defaultBranch` or `noDefaultBranch`, which return the streams by name. */
export class SplitStream<K, V, P extends Partitioning, Names extends string = never> {
  readonly #place: Place<K, V>
  readonly #branches: readonly Branch<K, V>[]
  readonly #named: Named

  /** @internal */
  constructor(place: Place<K, V>, branches: readonly Branch<K, V>[], named: Named) {
    this.#place = place
    this.#branches = branches
    this.#named = named
  }

  branch<Name extends string>(name: Name, predicate: Fn<K, V, boolean>): SplitStream<K, V, P, Names | Name> {
    return this.#with({ name, predicate })
  }

  /** Takes what no branch took. */
  defaultBranch<Name extends string>(name: Name): Record<Names | Name, Stream<K, V, P>> {
    return this.#with<Name>({ name, predicate: undefined }).noDefaultBranch()
  }

  /** Drops what no branch took. */
  noDefaultBranch(): Record<Names, Stream<K, V, P>> {
    const branches = this.#branches
    const prefix = this.#named.name
    const split = this.#place.builder.add({
      kind: 'operator',
      operator: 'split',
      name: prefix ?? new AutoName('split'),
      parents: [this.#place.node],
      regions: [],
      stateless: true,
      bind: (_, children) => {
        const tests = branches.map(({ name, predicate }) => predicate && guarded(`branch ${name}`, predicate))
        return (record) => {
          const typed = record as StreamRecord<K, V>
          const taken = tests.findIndex(
            (test) => test === undefined || test(record, typed.value, typed.key, typed),
          )
          return children[taken]?.(record)
        }
      },
    })
    const streams = branches.map(({ name }) => {
      const node = this.#place.builder.add({
        kind: 'operator',
        operator: 'branch',
        name: prefix === undefined ? new AutoName(`branch-${name}`) : `${prefix}-${name}`,
        parents: [split],
        regions: [],
        stateless: true,
        bind: (__, children) => fanOut(children),
      })
      return [name, new Stream<K, V, P>({ ...this.#place, node })] as const
    })
    return Object.fromEntries(streams) as Record<Names, Stream<K, V, P>>
  }

  #with<Name extends string>(branch: Branch<K, V>): SplitStream<K, V, P, Names | Name> {
    if (this.#branches.some(({ name }) => name === branch.name)) {
      throw new DruseError(
        'TOPOLOGY_INVALID',
        `Two branches are named '${branch.name}'; give one another name`,
      )
    }
    return new SplitStream<K, V, P, Names | Name>(this.#place, [...this.#branches, branch], this.#named)
  }
}
