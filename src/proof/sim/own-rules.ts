/**
 * Rules that a history alone cannot be held against, since clients do not see what they are about: judged with the truth of
 * the simulated servers at hand. Names and words are printed like the checker's.
 */
import {
  comesBetween,
  hasLeftBeyondToken,
  isInDoubtElsewhere,
  isLeftBehind,
  isMissedByTransaction,
  isUnderWay,
  type LogsOfWorld,
} from './exclusions.js'
import type { Noted } from './recorder.js'
import type { Violation } from './seed-report.js'
import type { Truth } from './truth.js'

export const OWN_RULES = Object.freeze({
  'known-user-without-token': 'A known user who carries no token sees what he wrote on his other devices',
  'doubt-settled': 'After a COMMIT whose answer was lost, the device is shown what became of it',
  'quorums-meet': 'A quorum read shows every write that a quorum had acknowledged before, whoever wrote it',
  'newest-primary':
    'A router that has heard of a new primary, or has a session that has, writes to no older one; unless it has asked for it in vain',
  'pins-hold': 'A pin lets go of a session only when every replica has applied what it wrote',
  'fills-stay-behind': 'A value that was read before an invalidation does not enter the shared cache after it',
  'forged-tokens-refused': 'A token that was altered, cut, or issued to somebody else is not believed',
  'fences-open': 'When nothing happens any more and every replica has everything, a replica serves every session',
  'fence-true': 'A node that serves a fenced read has applied what the session wrote, as the servers know it',
  'own-cache-of-its-author': "An author's cache shows nothing that this author has neither written nor read",
  'everything-ends': 'Every request is answered, whatever broke, and nothing is left behind when a router has closed',
})

export type OwnRule = keyof typeof OWN_RULES

/** Collects violations; a few of each rule are enough. */
export class Violations {
  readonly #found: Violation[] = []
  readonly #perRule = new Map<string, number>()

  add(rule: string, words: string, operations: readonly number[] = []): void {
    const before = this.#perRule.get(rule) ?? 0
    this.#perRule.set(rule, before + 1)
    if (before < MAX_PER_RULE) this.#found.push({ rule, words, operations })
  }

  get all(): readonly Violation[] {
    return this.#found
  }
}

const MAX_PER_RULE = 3

interface Write {
  readonly by: Noted
  readonly key: string
  readonly value: string
}

/** What a world is like, as far as its operations are judged by it. */
export interface Circumstances {
  /** All acknowledged writes are at a quorum of nodes. */
  readonly quorums: boolean
  /** Two servers have written at a time, each a history of its own. */
  readonly rivals: boolean
}

/** Judges what the operations of all clients show, together. */
export function judgeOperations(
  operations: readonly Noted[],
  truth: Truth,
  { quorums, rivals }: Circumstances,
  violations: Violations,
): void {
  const reads = operations.filter(({ status, reads }) => status === 'ok' && reads !== undefined)
  const kept = writesOf(operations).filter(({ key, value }) => truth.isKept(key, value))
  const acknowledged = kept.filter(({ by }) => by.status === 'ok' && by.end !== undefined)
  const doubted = kept.filter(
    write => write.by.doubted === true && write.by.end !== undefined && !isUnderWay(write, write.by, truth),
  )
  for (const { id, session, overlooked } of operations) {
    if (!overlooked) continue
    const words = `${OWN_RULES['newest-primary']}; but an old one acknowledged operation ${id} of ${session}`
    violations.add('newest-primary', words, [id])
  }
  const leavingBehind = operations.filter(({ outOfReach }) => outOfReach !== undefined)
  for (const read of reads) {
    const expect = (rule: OwnRule, writes: readonly Write[], isOwed: (write: Write) => boolean) => {
      const missing = writes.find(write => write.by.end! <= read.start && isOwed(write) && !shows(read, write, truth))
      if (missing !== undefined) violations.add(rule, wordsOf(rule, read, missing), [read.id, missing.by.id])
    }
    if (read.unpinnedBehind !== undefined && read.unpinnedBehind.length > 0) {
      const words = `${OWN_RULES['pins-hold']}; but operation ${read.id} was let go of while ${read.unpinnedBehind.join()} had not`
      violations.add('pins-hold', words, [read.id])
    }
    if (read.achieved === 'eventual') continue
    if (read.tokenless) {
      const isOwed = ({ by, value }: Write) => by.user === read.user && !isLeftBehind(value, [read])
      expect('known-user-without-token', acknowledged, isOwed)
    }
    // A doubt has no position that a store could keep: the device that was told of it carries it.
    if (doubted.length > 0) {
      const since = (by: Noted) => leavingBehind.filter(each => comesBetween(each, by, read))
      const isOwed = ({ by, value }: Write) =>
        by.device === read.device &&
        !isLeftBehind(value, since(by)) &&
        !isMissedByTransaction(value, read) &&
        !isInDoubtElsewhere(read, by, operations, truth, rivals)
      expect('doubt-settled', doubted, isOwed)
    }
    if (quorums && read.path === 'quorum(majority)') expect('quorums-meet', acknowledged, ({ by }) => by.error === undefined)
  }
}

/** What caches of known users have shown. */
export function judgeOwnCaches(operations: readonly Noted[], violations: Violations): void {
  const known = new Map<string, number>()
  const name = (user: string, key: string, value: string | null) => `${user} ${key} ${value}`
  for (const { user, start, reads = [], unheard = [], writes = [], fromOwnCache } of operations) {
    if (user === undefined || fromOwnCache) continue
    for (const [key, value] of [...reads, ...unheard, ...writes]) {
      const sight = name(user, key, value)
      known.set(sight, Math.min(start, known.get(sight) ?? Number.POSITIVE_INFINITY))
    }
  }
  for (const { id, user, end = Number.POSITIVE_INFINITY, reads = [], fromOwnCache } of operations) {
    if (user === undefined || !fromOwnCache) continue
    const foreign = reads.find(([key, value]) => !((known.get(name(user, key, value)) ?? Number.POSITIVE_INFINITY) <= end))
    if (foreign === undefined) continue
    const words = `${OWN_RULES['own-cache-of-its-author']}; but operation ${id} of ${user} shows ${foreign.join(' = ')}`
    violations.add('own-cache-of-its-author', words, [id])
  }
}

/** Whether servers that served fenced reads had what the sessions had written, of all keys, not only of those that were read. */
export function judgeServers(operations: readonly Noted[], truth: Truth, logs: LogsOfWorld, violations: Violations): void {
  const reports = operations.filter(({ reportsLoss }) => reportsLoss)
  const kept = new Map<string, Write[]>()
  for (const write of writesOf(operations)) {
    const { by, key, value } = write
    if (by.status !== 'ok' || !truth.isKept(key, value)) continue
    const writes = kept.get(by.session) ?? []
    writes.push(write)
    kept.set(by.session, writes)
  }
  for (const { id, session, asked, start, end = start, served, achieved } of operations) {
    if (served === undefined || achieved === 'eventual') continue
    // Who was told of a loss meanwhile has let go of the write, though it may be there again.
    const wasTold = ({ by }: Write) =>
      reports.some(report => report.session === session && report.start <= end && report.end! >= by.start)
    const lacks = (write: Write) => {
      const { by, key, value } = write
      if (by.end! > start || truth.includes(key, served.get(key) ?? null, value)) return false
      return !wasTold(write) && !hasLeftBeyondToken(key, asked === 'monotonic-reads', logs)
    }
    const missing = kept.get(session)?.find(lacks)
    if (missing === undefined) continue
    const words = `${OWN_RULES['fence-true']}; but operation ${id} was served by one without ${missing.value}, which operation ${missing.by.id} had written`
    violations.add('fence-true', words, [id, missing.by.id])
  }
}

function writesOf(operations: readonly Noted[]): Write[] {
  return operations.flatMap(by => (by.writes ?? []).map(([key, value]) => ({ by, key, value })))
}

function shows(read: Noted, { key, value }: Write, truth: Truth): boolean {
  const shown = read.reads!.find(([each]) => each === key)
  return shown === undefined || truth.includes(key, shown[1], value)
}

function wordsOf(rule: OwnRule, read: Noted, { by, key, value }: Write): string {
  const shown = read.reads!.find(([each]) => each === key)?.[1] ?? null
  return `${OWN_RULES[rule]}; but operation ${read.id} of ${read.session} shows ${key} = ${shown}, without ${value}, which operation ${by.id} of ${by.session} had written until ${by.end}`
}
