/** TxnOffsetCommit and OffsetFetch. What depends on membership stands with the groups. */
import { describe, expect, test } from 'vitest'
import { CODE } from '../../src/kafka/error-codes.ts'
import type { GetSession } from './wire.contract.ts'

export function offsetContract(session: GetSession): void {
  const open = async (partitions = 1) => {
    const s = session()
    const topic = await s.topic(partitions)
    const groupId = s.name('group')
    const producer = await s.producer()
    return { s, topic, place: { topic, partition: 0 }, groupId, producer }
  }

  describe('OffsetCommit from outside of a group', () => {
    const outside = { generationId: -1, memberId: '', groupInstanceId: null }

    test('the offset and its metadata, at once; the next one replaces it', async () => {
      const { s, place, groupId } = await open()
      for (const [offset, metadata] of [
        [42, 'ünï "\\ ✓'],
        [7, ''],
      ] as const) {
        const request = { groupId, ...outside, partitions: [{ ...place, offset, metadata }] }
        const { partitions } = await s.retry('OffsetCommit', request)
        expect(partitions).toEqual([{ ...place, errorCode: CODE.NONE }])
        expect(await s.committedOffset(groupId, place)).toEqual({ errorCode: CODE.NONE, offset, metadata })
      }
    })

    test('a topic that is not there: 3, the others are stored', async () => {
      const { s, place, groupId } = await open()
      const gone = { topic: s.name('gone'), partition: 0 }
      const partitions = [place, gone].map((at) => ({ ...at, offset: 1, metadata: '' }))
      const answer = await s.retry('OffsetCommit', { groupId, ...outside, partitions })
      const codes = new Map(answer.partitions.map(({ topic, errorCode }) => [topic, errorCode]))
      expect(codes.get(gone.topic)).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
      expect(codes.get(place.topic)).toBe(CODE.NONE)
      expect((await s.committedOffset(groupId, place)).offset).toBe(1)
    })

    test('metadata of 4097 characters: 12', async () => {
      const { s, place, groupId } = await open()
      const partitions = [{ ...place, offset: 1, metadata: 'm'.repeat(4097) }]
      const answer = await s.retry('OffsetCommit', { groupId, ...outside, partitions })
      expect(answer.partitions[0]?.errorCode).toBe(CODE.OFFSET_METADATA_TOO_LARGE)
    })

    test('while a transaction has an offset pending: it is stored, and what was stored last wins', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 5)
      const partitions = [{ ...place, offset: 9, metadata: '' }]
      await s.retry('OffsetCommit', { groupId, ...outside, partitions })
      expect((await s.committedOffset(groupId, place, false)).offset).toBe(9)
      await s.finish(producer, true)
      expect((await s.committedOffset(groupId, place)).offset).toBe(9)
    })
  })

  describe('TxnOffsetCommit from outside of a group', () => {
    test('committed: the offset and its metadata, byte for byte', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      const metadata = 'ünï "\\ \u0000 ✓'
      expect(await s.commitOffset(producer, groupId, place, 42, { metadata })).toBe(CODE.NONE)
      await s.finish(producer, true)
      expect(await s.committedOffset(groupId, place)).toEqual({ errorCode: CODE.NONE, offset: 42, metadata })
    })

    test('aborted: nothing', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 42)
      await s.finish(producer, false)
      expect(await s.committedOffset(groupId, place)).toMatchObject({ errorCode: CODE.NONE, offset: -1 })
    })

    test('aborted: the offset from before', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 1, { metadata: 'first' })
      await s.finish(producer, true)
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 2)
      await s.finish(producer, false)
      expect(await s.committedOffset(groupId, place)).toEqual({ errorCode: 0, offset: 1, metadata: 'first' })
    })

    test('twice in a transaction: the later one', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 1)
      await s.commitOffset(producer, groupId, place, 2)
      await s.finish(producer, true)
      expect((await s.committedOffset(groupId, place)).offset).toBe(2)
    })

    test('two transactions with offsets for a partition: the one stored last wins, whichever ends last', async () => {
      const { s, place, groupId, producer: first } = await open()
      const second = await s.producer()
      await s.addOffsets(first, groupId)
      await s.addOffsets(second, groupId)
      await s.commitOffset(first, groupId, place, 10)
      await s.commitOffset(second, groupId, place, 20)
      await s.finish(second, true)
      await s.finish(first, true)
      expect((await s.committedOffset(groupId, place)).offset).toBe(20)
    })

    test('without AddOffsetsToTxn: 48', async () => {
      const { s, place, groupId, producer } = await open()
      await s.begin(producer, place)
      expect(await s.commitOffset(producer, groupId, place, 1)).toBe(CODE.INVALID_TXN_STATE)
      await s.finish(producer, false)
    })

    test('after the transaction has ended: 48', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      await s.finish(producer, true)
      expect(await s.commitOffset(producer, groupId, place, 1)).toBe(CODE.INVALID_TXN_STATE)
    })

    test('an unknown transactional id: 49', async () => {
      const { s, place, groupId, producer } = await open()
      const other = { ...producer, transactionalId: s.name('never') }
      expect(await s.commitOffset(other, groupId, place, 1)).toBe(CODE.INVALID_PRODUCER_ID_MAPPING)
    })

    test('an old epoch: 47', async () => {
      const { s, place, groupId, producer } = await open()
      const next = await s.producer(producer.transactionalId)
      await s.addOffsets(next, groupId)
      expect(await s.commitOffset(producer, groupId, place, 1)).toBe(CODE.INVALID_PRODUCER_EPOCH)
      await s.finish(next, false)
    })

    test('an old epoch, while the new one has offsets pending: 47', async () => {
      const { s, place, groupId, producer } = await open()
      const next = await s.producer(producer.transactionalId)
      await s.addOffsets(next, groupId)
      await s.commitOffset(next, groupId, place, 2)
      expect(await s.commitOffset(producer, groupId, place, 1)).toBe(CODE.INVALID_PRODUCER_EPOCH)
      await s.finish(next, true)
      const { offset } = await s.committedOffset(groupId, place)
      expect(offset).toBe(s.traits.losesPendingOfRefusedCommit ? -1 : 2)
    })

    test('metadata of 4096 characters: 0', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      const metadata = 'm'.repeat(4096)
      expect(await s.commitOffset(producer, groupId, place, 1, { metadata })).toBe(CODE.NONE)
      await s.finish(producer, true)
      expect((await s.committedOffset(groupId, place)).metadata).toBe(metadata)
    })

    test('metadata of 4097 characters: 12, the other partitions are stored', async () => {
      const { s, topic, groupId, producer } = await open(2)
      await s.addOffsets(producer, groupId)
      const { partitions } = await s.retry('TxnOffsetCommit', {
        ...producer,
        groupId,
        generationId: -1,
        memberId: '',
        groupInstanceId: null,
        partitions: [
          { topic, partition: 0, offset: 1, metadata: 'm'.repeat(4097) },
          { topic, partition: 1, offset: 2, metadata: '' },
        ],
      })
      const codes = new Map(partitions.map(({ partition, errorCode }) => [partition, errorCode]))
      expect(codes.get(0)).toBe(CODE.OFFSET_METADATA_TOO_LARGE)
      expect(codes.get(1)).toBe(CODE.NONE)
      await s.finish(producer, true)
      expect((await s.committedOffset(groupId, { topic, partition: 0 })).offset).toBe(-1)
      expect((await s.committedOffset(groupId, { topic, partition: 1 })).offset).toBe(2)
    })

    test('a topic that is not there: 3', async () => {
      const { s, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      const place = { topic: s.name('never'), partition: 0 }
      expect(await s.commitOffset(producer, groupId, place, 1)).toBe(CODE.UNKNOWN_TOPIC_OR_PARTITION)
      await s.finish(producer, false)
    })

    test('a generation of a group that is not there: 22 or 25', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      const member = { generationId: 1, memberId: 'nobody' }
      const code = await s.commitOffset(producer, groupId, place, 1, member)
      // Kafka 3.9 answers 25, Kafka 4 answers 22.
      expect([CODE.ILLEGAL_GENERATION, CODE.UNKNOWN_MEMBER_ID]).toContain(code)
      await s.finish(producer, false)
    })
  })

  describe('OffsetFetch', () => {
    test('of a group nobody has heard of: -1 and no error', async () => {
      const { s, place, groupId } = await open()
      expect(await s.committedOffset(groupId, place)).toEqual({ errorCode: 0, offset: -1, metadata: '' })
    })

    test('a pending offset, requireStable: 88, with neither offset nor metadata', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 42, { metadata: 'm' })
      expect(await s.committedOffset(groupId, place, true)).toEqual({
        errorCode: CODE.UNSTABLE_OFFSET_COMMIT,
        offset: -1,
        metadata: '',
      })
      await s.finish(producer, false)
    })

    test('a pending offset, not requireStable: what was committed before', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 1)
      await s.finish(producer, true)
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 2)
      expect(await s.committedOffset(groupId, place, false)).toMatchObject({ errorCode: 0, offset: 1 })
      await s.finish(producer, false)
    })

    test('a pending offset holds back its own partition only', async () => {
      const { s, topic, groupId, producer } = await open(2)
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, { topic, partition: 0 }, 1)
      const { errorCode } = await s.committedOffset(groupId, { topic, partition: 1 }, true)
      expect(errorCode).toBe(CODE.NONE)
      await s.finish(producer, false)
    })

    test('a pending offset holds back its own group only', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 1)
      const { errorCode } = await s.committedOffset(s.name('group'), place, true)
      expect(errorCode).toBe(CODE.NONE)
      await s.finish(producer, false)
    })

    test('after EndTxn: 88 at most until the transaction is complete, then the offset', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 7)
      await s.end(producer, true)
      const { offset } = await s.until(
        () => s.committedOffset(groupId, place, true),
        ({ errorCode }) => errorCode !== CODE.UNSTABLE_OFFSET_COMMIT,
      )
      expect(offset).toBe(7)
    })

    test('after the producer was fenced: stable again, with the offset from before', async () => {
      const { s, place, groupId, producer } = await open()
      await s.addOffsets(producer, groupId)
      await s.commitOffset(producer, groupId, place, 7)
      await s.producer(producer.transactionalId)
      expect(await s.committedOffset(groupId, place, true)).toMatchObject({ errorCode: 0, offset: -1 })
    })
  })
}
