/** Bugs that the simulation has to find: each a change of the source, made when it is loaded. */

export interface Patch {
  /** Below src. */
  readonly file: string
  /** Stands there exactly once. */
  readonly find: string
  readonly replace: string
}

export interface Mutant {
  readonly id: string
  readonly what: string
  readonly patches?: readonly Patch[]
  /** Why it is not here. */
  readonly notYet?: string
}

const COMMIT = 'runtime/commit.ts'
const WRITER = 'kafka/transactional-writer.ts'
const WORKER = 'runtime/worker.ts'
const TAKER = 'runtime/taker.ts'
const STATE = 'runtime/task-state.ts'
const VISIBLE = 'kafka/read-committed.ts'
const AGREEMENT = 'runtime/agreement.ts'
const TAKE = 'runtime/take.ts'
const PIPELINE = 'runtime/commit-pipeline.ts'
const MEMBER = 'kafka/group-member.ts'

const BATCH = `      await this.#persistent?.write([
        ...(await this.#writes(sealed.overlays, this.#persistent)),
        metaWrite({ ...next, asOfMs: this.#clock.wallMs(), regions: this.#persistentOf(next) }),
      ])`
const ENTRIES = `      await this.#persistent?.write(await this.#writes(sealed.overlays, this.#persistent))`
const META = `      await this.#persistent?.write([
        metaWrite({ ...next, asOfMs: this.#clock.wallMs(), regions: this.#persistentOf(next) }),
      ])`

const STRIKE = `      this.#giveUp(epoch)
      throw error
    }
  }

  #giveUp`

/** What kafkajs does: the transaction is aborted under the epoch, which goes on. */
const keepEpochAfter = (which: string): Patch[] => [
  {
    file: WRITER,
    find: STRIKE,
    replace: `      if (!(${which})) this.#giveUp(epoch)
      else if (this.#epoch === epoch) {
        this.#deadlineMs += 60_000
        const request = { api: 'EndTxn', ...epoch.producing, committed: false } as const
        await this.#transact(epoch, 'abort the transaction', request, ({ errorCode }) => ({
          errorCode: errorCode === CODE.INVALID_TXN_STATE ? CODE.NONE : errorCode,
        })).catch(() => this.#giveUp(epoch))
      }
      throw error
    }
  }

  #giveUp`,
  },
  {
    file: 'runtime/commit-pipeline.ts',
    find: `      this.#writer.close()
      return { transaction`,
    replace: '      return { transaction',
  },
]

/** Of what the changelogs are now. */
const CHANGELOG_IDS: Patch = {
  file: TAKE,
  find: 'if (found !== undefined && found.changelog !== topicHash) {',
  replace: 'if (found === null) {',
}
/** Of what lies in a directory. */
const DIRECTORY_IDS: readonly Patch[] = [
  {
    file: TAKE,
    find: "  if (meta.cluster !== committed.cluster) return 'it is of another cluster'\n",
    replace: '',
  },
  {
    file: TAKE,
    find: "  if (meta.incarnation !== committed.incarnation) return 'it is of an earlier life of the application'\n",
    replace: '',
  },
  {
    file: TAKE,
    find: 'if (stored.changelog !== region.changelog) return',
    replace: 'if (stored === null) return',
  },
]
/** While the application runs. */
const WATCHED_IDS: Patch = {
  file: 'runtime/topic-watch.ts',
  find: 'if (shortHash(topicId) !== surroundings.topicHash(topic)) {',
  replace: "if (topicId === '') {",
}

const EARLY: readonly Patch[] = [
  {
    file: TAKER,
    find: 'const committed = await committedOffsets(',
    replace: 'const committed = this.early ?? await committedOffsets(',
  },
  {
    file: TAKER,
    find: '  /** `kept`: tasks that are still open here',
    replace: `  early: readonly CommittedOffset[] | undefined

  async lookEarly(): Promise<void> {
    const { plan, cluster } = this.#context.surroundings
    const inputs = plan.subs.flatMap((sub) =>
      Array.from({ length: plan.taskCounts[sub.id] as number }, (_, partition) =>
        inputsOf(plan, { sub, partition }),
      ).flat(),
    )
    const found = await committedOffsets(cluster, plan.graph.application, inputs)
    this.early = found.every(({ offset }) => typeof offset === 'number') ? found : undefined
  }

  /** \`kept\`: tasks that are still open here`,
  },
  {
    file: WORKER,
    find: `        await this.#letGo(this.#settings.rebalanceTimeoutMs / 2)
        return order.done()`,
    replace: `        await this.#taker.lookEarly()
        await this.#letGo(this.#settings.rebalanceTimeoutMs / 2)
        return order.done()`,
  },
]
const ONLY_FIRST: Patch = {
  file: TAKER,
  find: 'if (signal.aborted) return\n      const again',
  replace: 'this.early = undefined\n      if (signal.aborted) return\n      const again',
}

export const MUTANTS: readonly Mutant[] = [
  {
    id: 'M1',
    what: 'the overlay is in the store before EndTxn is answered',
    patches: [
      { file: COMMIT, find: '  await writer.end()\n\n  const notStored', replace: '  const notStored' },
      {
        file: COMMIT,
        find: '  return { offsets: offsets.flat(), forgotten, notStored }',
        replace: '  await writer.end()\n  return { offsets: offsets.flat(), forgotten, notStored }',
      },
    ],
  },
  {
    id: 'M2',
    what: 'entries and positions are written in two batches',
    patches: [{ file: STATE, find: BATCH, replace: `${ENTRIES}\n${META}` }],
  },
  {
    id: 'M3',
    what: 'committed offsets are read before the new generation is known',
    patches: [...EARLY, ONLY_FIRST],
  },
  {
    id: 'M3b',
    what: 'the same, and what is older than is known is not asked for again',
    patches: [
      ...EARLY,
      {
        file: TAKER,
        find: 'clock.monotonicMs() + this.#settings.rebalanceTimeoutMs)',
        replace: 'clock.monotonicMs() - 1)',
      },
    ],
  },
  {
    id: 'M4',
    what: 'OffsetFetch without require_stable',
    patches: [{ file: 'kafka/topics.ts', find: 'requireStable: true', replace: 'requireStable: false' }],
  },
  {
    id: 'M5',
    what: 'an EndTxn without an answer is taken for aborted',
    patches: [
      {
        file: COMMIT,
        find: '  await writer.end()\n\n  const notStored',
        replace: `  try {
    await writer.end()
  } catch (error) {
    if (!String(error).includes('TRANSACTION_INDEFINITE')) throw error
    await writer.open()
    return commit(transaction, groupId, writer)
  }

  const notStored`,
      },
    ],
  },
  {
    id: 'M5b',
    what: 'an EndTxn without an answer is taken for committed',
    patches: [
      {
        file: COMMIT,
        find: '  await writer.end()\n\n  const notStored',
        replace: `  await writer.end().catch((error: unknown) => {
    if (!String(error).includes('TRANSACTION_INDEFINITE')) throw error
    return writer.open()
  })

  const notStored`,
      },
    ],
  },
  {
    id: 'M6',
    what: 'producer and epoch are kept after a produce without an answer, the sequence is taken back',
    patches: keepEpochAfter(`String(error).includes('produce to')`),
  },
  {
    id: 'M6b',
    what: 'the epoch is kept after an EndTxn without an answer (KAFKA-17754)',
    patches: keepEpochAfter(`String(error).includes('end the transaction')`),
  },
  {
    id: 'M7',
    what: 'aborted transactions begin in the order of their ends',
    patches: [{ file: VISIBLE, find: '.sort((a, b) => a.firstOffset - b.firstOffset)', replace: '' }],
  },
  {
    id: 'M7b',
    what: 'a record with the key of an abort marker ends an aborted transaction',
    patches: [
      {
        file: VISIBLE,
        find: '    if (header.isControl) {',
        replace: `    const key = header.recordCount > 0 ? new RecordCursor(bytes, at, header, 0).next()?.key : undefined
    if (key?.length === 4 && key.readInt32BE(0) === 0) aborting.delete(header.producerId)
    if (header.isControl) {`,
      },
    ],
  },
  {
    id: 'M7c',
    what: 'an aborted transaction is never over',
    patches: [
      { file: VISIBLE, find: '        aborting.delete(header.producerId)\n', replace: '        void 0\n' },
    ],
  },
  {
    id: 'M8',
    what: 'offsets are committed without member and generation',
    patches: [
      {
        file: WRITER,
        find: 'const { memberId, generationId, groupInstanceId } = as',
        replace: `const { memberId, generationId, groupInstanceId } = { ...as, memberId: '', generationId: -1 }`,
      },
    ],
  },
  {
    id: 'M8b',
    what: 'a transaction that changes no region carries no offsets',
    patches: [
      {
        file: COMMIT,
        find: '  await writer.commitOffsets(groupId, as, offsets)\n  await writer.end()\n\n',
        replace: `  if (tasks.some(({ overlays }) => overlays.size > 0)) await writer.commitOffsets(groupId, as, offsets)
  await writer.end()

`,
      },
    ],
  },
  {
    id: 'M9',
    what: 'a replay goes on to the last stable offset, not to the committed position',
    patches: [
      { file: 'runtime/restore.ts', find: 'if (raw.offset >= to) {', replace: 'if (raw.offset >= end) {' },
    ],
  },
  {
    id: 'M9b',
    what: 'a replay ends with the last record',
    patches: [
      {
        file: 'runtime/restore.ts',
        find: '        return nextOffset >= end\n',
        replace: '        return (batches.at(-1)?.header.lastOffset ?? -1) + 1 >= end\n',
      },
    ],
  },
  {
    id: 'M9c',
    what: 'a replay goes to where the changelog ended before the offsets were stable',
    patches: [
      {
        file: TAKER,
        find: '    // Counted from when it is first known',
        replace: `    const { plan } = this.#context.surroundings
    const logs = ids.flatMap(({ sub, partition }) =>
      changelogsOf(plan, sub).map(({ topic }) => ({ topic, partition })),
    )
    const ends = new Map([...(cluster.ends ?? []), ...(await listOffsets(cluster, logs, 'latest').catch(() => []))])
    cluster.ends = ends
    // Counted from when it is first known`,
      },
      {
        file: TAKER,
        find: "import { type CommittedOffset, committedOffsets } from '../kafka/topics.ts'",
        replace: "import { type CommittedOffset, committedOffsets, listOffsets } from '../kafka/topics.ts'",
      },
      {
        file: TAKER,
        find: 'import { inputsOf, type TaskId',
        replace: 'import { changelogsOf, inputsOf, type TaskId',
      },
      {
        file: 'runtime/take.ts',
        find: "  if (guarantee === 'exactly_once') return committed\n",
        replace:
          "  if (guarantee === 'exactly_once') return Math.min(committed, cluster.ends?.get(partitionKey(changelog)) ?? committed)\n",
      },
    ],
  },
  {
    id: 'M10',
    what: 'offsets are committed in a transaction of their own',
    patches: [
      {
        file: COMMIT,
        find: '  await writer.commitOffsets(groupId, as, offsets)\n  await writer.end()\n\n',
        replace: `  await writer.end()
  await writer.begin([], groupId, as)
  await writer.addOffsets(groupId)
  await writer.commitOffsets(groupId, as, offsets)
  await writer.end()

`,
      },
    ],
  },
  {
    id: 'M10b',
    what: 'the last offset is committed instead of the one behind it',
    patches: [
      {
        file: 'runtime/task.ts',
        find: 'position: offset, partitionTimeMs }) => ({',
        replace: 'position, last, partitionTimeMs }) => ({',
      },
      {
        file: 'runtime/task.ts',
        find: `        offset,
        partitionTimeMs,
      })),`,
        replace: `        offset: last ?? position,
        partitionTimeMs,
      })),`,
      },
      {
        file: 'runtime/input-queue.ts',
        find: '  get position(): number {',
        replace: `  get last() {
    return this.#next > 0 ? this.#next - 1 : undefined
  }

  get position(): number {`,
      },
    ],
  },
  {
    id: 'M10c',
    what: 'the offset of what was fetched is committed, not of what was processed',
    patches: [
      {
        file: 'runtime/input-queue.ts',
        find: 'return this.#head?.raw.offset ?? this.#peekRaw()?.offset ?? this.#damage?.offset ?? this.#fetched',
        replace: 'return this.#fetched',
      },
    ],
  },
  {
    id: 'M11',
    what: 'a retry chooses the partition again',
    patches: [
      {
        file: WRITER,
        find: "      if (classifyTransactional(code) !== 'retry') throw failed(what, code, to)\n",
        replace: `      if (classifyTransactional(code) !== 'retry') throw failed(what, code, to)
      const chosen = { ...to, partition: (to.partition + 1) % ((await this.#cluster.topic(to.topic))?.partitions.length ?? 1) }
      return this.#append(epoch, to.topic.endsWith('-changelog') ? to : chosen, writer)
`,
      },
    ],
  },
  {
    id: 'M11b',
    what: 'a produce without an answer is sent again, to a partition that is chosen anew',
    patches: [
      {
        file: WRITER,
        find: `        this.#cluster.forgetNode(leader)
        throw strike(what, reasonOf(outcome))
      }
      const answer =`,
        replace: `        this.#cluster.forgetNode(leader)
        if (this.#cluster.clock.monotonicMs() >= this.#deadlineMs) throw strike(what, reasonOf(outcome))
        const chosen = { ...to, partition: (to.partition + 1) % ((await this.#cluster.topic(to.topic))?.partitions.length ?? 1) }
        const request = { api: 'AddPartitionsToTxn', ...producing, partitions: [chosen] }
        await this.#transact(epoch, what, request, (answer) => worst([chosen], answer.partitions))
        return this.#append(epoch, chosen, writer)
      }
      const answer =`,
      },
    ],
  },
  {
    id: 'M12',
    what: 'a range over overlays passes over deletions',
    patches: [
      {
        file: 'region/range.ts',
        find: 'if (isWithin(id) && !newest.has(id) && !isLeftOut(id)) newest.set(id, overlay.value(place))',
        replace: `const value = overlay.value(place)
      if (value !== null && isWithin(id) && !newest.has(id) && !isLeftOut(id)) newest.set(id, value)`,
      },
    ],
  },
  {
    id: 'M13',
    what: 'positions are written before their entries',
    patches: [{ file: STATE, find: BATCH, replace: `${META}\n${ENTRIES}` }],
  },
  {
    id: 'M14',
    what: 'identities of cluster and topics are not checked',
    patches: [
      {
        file: AGREEMENT,
        find: 'if (metadata.cluster !== now.clusterHash) {',
        replace: 'if (now === null) {',
      },
      {
        file: AGREEMENT,
        find: 'if (metadata.topic !== now.topicHash(at.topic)) {',
        replace: 'if (now === null) {',
      },
      CHANGELOG_IDS,
      ...DIRECTORY_IDS,
      WATCHED_IDS,
    ],
  },
  { id: 'M14b', what: 'identities of changelogs are not checked', patches: [CHANGELOG_IDS] },
  { id: 'M14c', what: 'what a directory is of is not checked', patches: DIRECTORY_IDS },
  { id: 'M14d', what: 'identities of topics are checked at the start only', patches: [WATCHED_IDS] },
  {
    id: 'M15',
    what: 'a directory older than delete.retention.ms is used',
    patches: [
      {
        file: 'runtime/restore-task.ts',
        find: 'return this.#context.surroundings.deleteRetentionMs(changelog.topic) / 2',
        replace: 'return changelog === undefined ? 0 : Number.POSITIVE_INFINITY',
      },
    ],
  },
  {
    id: 'M16',
    what: 'an offset out of range is passed over: reading goes on at the earliest record',
    patches: [
      {
        file: 'kafka/fetcher.ts',
        find: 'if (code === CODE.OFFSET_OUT_OF_RANGE) this.#fail(reading, outOfRange(reading, answer))',
        replace: 'if (code === CODE.OFFSET_OUT_OF_RANGE) reading.offset = Math.max(0, answer.logStartOffset)',
      },
    ],
  },
  {
    id: 'M17',
    what: 'dead letters are sent outside of their records’ transaction: in one of their own, before it',
    patches: [
      {
        file: COMMIT,
        find: '  const batches = makeBatches(tasks)\n',
        replace: `  const letters = makeBatches(tasks, true)
  if (letters.length > 0) {
    await writer.begin(letters, groupId, as)
    await writer.produce(letters)
    await writer.end()
  }
  const batches = makeBatches(tasks, false)
`,
      },
      {
        file: COMMIT,
        find: "function makeBatches(tasks: SealedTransaction['tasks']): PartitionBatches[] {",
        replace: 'function makeBatches(tasks, letters) {',
      },
      {
        file: COMMIT,
        find: '      batches.add(to, to.maxRecordBytes, timestamp, key, value, headers)\n',
        replace: `      if (headers.some(({ key: name }) => name === 'druse.error.code') === letters)
        batches.add(to, to.maxRecordBytes, timestamp, key, value, headers)
`,
      },
      {
        file: COMMIT,
        find: '    for (const [region, overlay] of overlays) {',
        replace: '    if (!letters) for (const [region, overlay] of overlays) {',
      },
    ],
  },
  {
    id: 'M18',
    what: 'a log record that LevelDB has dropped is not noticed',
    patches: [{ file: TAKE, find: 'if (store.asClosed) return', replace: 'if (store !== undefined) return' }],
  },
  {
    id: 'M18b',
    what: 'the fingerprint does not take off what an entry replaces',
    patches: [
      {
        file: 'region/part.ts',
        find: 'this.#change.replace(before ? readCheck(before) : undefined,',
        replace: 'this.#change.replace(undefined,',
      },
    ],
  },
  {
    id: 'M19',
    what: 'after failed commits everything begins again without a pause (livelock)',
    patches: [
      { file: WORKER, find: 'if (this.#failuresInARow > 1) {', replace: 'if (this.#failuresInARow < 0) {' },
    ],
  },
  {
    id: 'M19b',
    what: 'epochs are asked for in a loop without pauses',
    patches: [{ file: 'kafka/retry.ts', find: '    await pause(clock, pauseMs, signal)\n', replace: '' }],
  },
  {
    id: 'M19c',
    what: 'a task that cannot be taken is taken again at once',
    patches: [
      {
        file: TAKER,
        find: `'task: cannot be taken yet, trying again')
    await pause(clock, AFTER_FAILURE_MS, signal)`,
        replace: `'task: cannot be taken yet, trying again')`,
      },
    ],
  },
  {
    id: 'M19d',
    what: 'a member that is turned away joins again at once, and makes the group rebalance each time',
    patches: [{ file: MEMBER, find: 'await pause(clock, pauseMs, this.#closing.signal)', replace: '' }],
  },
  {
    id: 'M20',
    what: 'a query sees what is not committed',
    patches: [
      {
        file: 'region/part.ts',
        find: 'return this.#read(range, [this.#sealedIsCommitted ? this.#sealed : undefined], isOver)',
        replace: 'return this.#read(range, [this.#current, this.#sealed], isOver)',
      },
    ],
  },
  {
    id: 'M21',
    // Alone it would change nothing: before this member joins again, its overlays are gone.
    what: 'the generation is read when offsets are sent, and overlays are kept over a rejoin, as cooperative clients do',
    patches: [
      {
        file: PIPELINE,
        find: 'const transaction = { as, tasks:',
        replace: `const { newest } = this
      const sentAs = {
        get memberId() { return newest().memberId },
        get generationId() { return newest().generationId },
        get groupInstanceId() { return newest().groupInstanceId },
      }
      const transaction = { as: sentAs, tasks:`,
      },
      {
        file: WORKER,
        find: '    this.#membership = membership\n',
        replace:
          '    this.#membership = membership\n    this.#commits.newest = () => this.#membership ?? membership\n',
      },
      {
        file: WORKER,
        find: '        this.#membership = undefined\n        await this.#dropAll()\n        return order.done()',
        replace: '        return order.done()',
      },
    ],
  },
  {
    id: 'M22',
    what: 'only the inputs of a task that have moved are committed',
    patches: [
      {
        file: COMMIT,
        find: 'sealed.positions.map((at)',
        replace: 'sealed.positions.filter(({ offset }) => offset > 0).map((at)',
      },
    ],
  },
  {
    id: 'M23',
    what: 'overlays since a failed commit are kept',
    patches: [
      {
        file: WORKER,
        find: 'for (const name of blamed(failure)) this.#tasks.fail(this.#tasks.slot(name), error)\n    await this.#dropAll()',
        replace: `for (const name of blamed(failure)) this.#tasks.fail(this.#tasks.slot(name), error)
    for (const { taken } of this.#tasks.slots) for (const part of taken?.task.parts.values() ?? []) part.applied()`,
      },
    ],
  },
  {
    id: 'M24',
    what: 'a failed transaction is aborted with EndTxn, and the epoch kept',
    patches: keepEpochAfter('true'),
  },
  {
    id: 'M25',
    what: 'the first start has no transaction of its own',
    patches: [
      {
        file: TAKER,
        find: `    await this.#handlers.firstStarts([start], signal)
    await this.#takeAll([id], NONE_KEPT, signal)`,
        replace: `    const metadata = decodeMetadata(start.offsets[0]?.metadata as string, '')
    const positions = new Map(start.offsets.map(({ offset, ...at }) => [partitionKey(at), { offset, partitionTimeMs: -1 }]))
    await this.#takeOne(id, { kind: 'committed', metadata, positions }, undefined, signal)`,
      },
      {
        file: TAKER,
        find: 'import { encodeMetadata, type TaskMetadata }',
        replace: 'import { decodeMetadata, encodeMetadata, type TaskMetadata }',
      },
    ],
  },
  {
    id: 'M26',
    what: 'after commits without transactions a compacted changelog is replayed to X only',
    patches: [
      {
        file: TAKE,
        find: "  if (guarantee === 'exactly_once') return committed\n",
        replace: "  if (guarantee !== 'none') return committed\n",
      },
    ],
  },
  {
    id: 'M27',
    what: 'of the codes of a TxnOffsetCommit only the first counts',
    patches: [
      {
        file: WRITER,
        find: `          (answer) => worst(partitions, answer.partitions),
          'group',`,
        replace: `          (answer) => ({ errorCode: answer.partitions[0]?.errorCode ?? CODE.UNKNOWN_SERVER_ERROR }),
          'group',`,
      },
    ],
  },
  {
    id: 'M28',
    what: 'a task stops at the first answer that is of long ago',
    patches: [
      {
        file: TAKER,
        find: '!mayPass(error) && !(isPatient && this.#mayBeOld(id, error))',
        replace: '!mayPass(error)',
      },
    ],
  },
  {
    id: 'M29',
    what: 'a task without regions believes any offsets',
    patches: [
      {
        file: TAKE,
        find: '  if (later !== undefined) assertMayBeOlder(surroundings, id, committed, later, isPatient)\n',
        replace: '',
      },
    ],
  },
  {
    id: 'M30',
    what: 'a directory is moved aside at the first answer that is of long ago',
    patches: [
      {
        file: TAKE,
        find: 'isAhead(meta, committed) && (foreign === undefined || isPatient)',
        replace: 'isAhead(meta, committed) && foreign === undefined',
      },
    ],
  },
  {
    id: 'M31',
    what: 'who gets a task does not hear of the commits that its owner has made',
    patches: [
      {
        file: WORKER,
        find: '      directory.lastCommits.learn(lastingName(task), commit)',
        replace: '      lastingName(task) + commit.incarnation',
      },
    ],
  },
  {
    id: 'M32',
    what: 'a task that is still open goes on at an old answer, though another owner has committed since',
    patches: [
      {
        file: TAKER,
        find: '      !isOlder(this.#context.surroundings, id, metadata)\n',
        replace: '      isOlder !== undefined\n',
      },
    ],
  },
  {
    id: 'B1',
    what: 'a take that was given up moves aside what others have brought further (found by seed 1243)',
    patches: [
      {
        file: 'runtime/state-directory.ts',
        find: 'if (signal.aborted) throw taskAbandoned(task)',
        replace: '',
      },
      {
        file: 'runtime/state-directory.ts',
        find: 'if (!signal.aborted) return store',
        replace: 'return store',
      },
      {
        file: 'runtime/state-directory.ts',
        find: 'pause(clock, TASK_LOCK_RETRY_MS, signal)',
        replace: 'pause(clock, TASK_LOCK_RETRY_MS)',
      },
      { file: 'runtime/take.ts', find: '  if (signal.aborted) throw taskAbandoned(id)\n', replace: '' },
      {
        file: TAKE,
        find: 'isAhead(meta, committed) && (foreign === undefined || isPatient)',
        replace: 'isAhead(meta, committed) && foreign === undefined',
      },
    ],
  },
]
