import type { Clock } from './clock.js'
import type { Cluster } from './cluster.js'
import { ConfigurationError } from './errors.js'
import { DEFAULT_NAME, publish } from './events.js'
import { translate } from './fence.js'
import {
  allWrites,
  EMPTY_HISTORY,
  type History,
  isHidden,
  joinHistories,
  mapHistory,
  sameHistory,
  someLineage,
  UNCERTAIN_HISTORY,
} from './history.js'
import type { Ladder } from './ladder.js'
import type { Guarantee, Outcome } from './outcome.js'
import { MAX_OFFSET, Position, type PositionEntry } from './position.js'
import type { ScopeId } from './scope.js'
import type { Author } from './session-cache.js'
import { shown } from './shown.js'
import type { StoredPositions } from './stored-positions.js'
import type { ConsistencyToken, TokenCodec } from './token/codec.js'
import { TokenRejectedError } from './token/layout.js'

/** What a client may carry: nothing, a token, or several to be joined. */
export type Tokens = ConsistencyToken | readonly ConsistencyToken[] | undefined

export interface SessionOptions {
  /**
   * The user or tenant: tokens are bound to it, and tokens bound to another are refused. A known user without an
   * acceptable token may have written elsewhere: the token store is asked, and when there is none or it does not know
   * the user, the first read goes to the primary, which gives a position to go on from.
   */
  readonly user?: string | undefined
  /** Default `read-your-writes`. */
  readonly guarantee?: Guarantee | undefined
  /** The ladder of this session's reads. Default: the database's. */
  readonly ladder?: Ladder | undefined
  /** @internal Its reads are nobody's who uses the application: they are no event and are not counted. Default false. */
  readonly quiet?: boolean | undefined
}

/** What the last write of a session came to. */
export interface LastWrite {
  /** `undefined` when the answer was lost: the session is uncertain then. */
  readonly position: string | undefined
  /** The write policy that held the acknowledgement; `undefined` when there was none. */
  readonly policy: string | undefined
  /** Whether the policy was reached; without a policy, whether the commit is certain. */
  readonly acknowledged: boolean
  /** Milliseconds for which the acknowledgement was held. */
  readonly waitedMs: number
}

/** What sessions of one database share. */
export interface SessionContext {
  /** The name of the database, in events. Default {@link DEFAULT_NAME}. */
  readonly db?: string | undefined
  readonly codec: TokenCodec
  readonly clock: Clock
  readonly stored?: StoredPositions | undefined
  /** Whether positions of the present history say all that the session's reads must see. Never rejects. */
  isCertain?(session: Session): Promise<boolean>
  /** What of a position still obliges: see `keptOf` in `fence.ts`. Default: all of it. Never rejects. */
  keptOf?(position: Position): Promise<Position>
}

/**
 * One author's causal history, and nothing else: which node serves is the router's business. Sessions of an engine
 * extend this with `query` and `transaction`.
 *
 * A session may be used by concurrent work; each read is fenced by what had been written when it began.
 */
export class Session {
  readonly user: string | undefined
  readonly guarantee: Guarantee
  readonly ladder: Ladder | undefined
  /** @internal See {@link SessionOptions}. */
  readonly quiet: boolean
  /** What the last write of this session came to; of concurrent ones, the one that ended last. */
  lastWrite: LastWrite | undefined
  /** @internal The tokens that it began with: its history includes what they say. */
  readonly accepted: readonly ConsistencyToken[]
  /** @internal Whose session cache this session sees: the user's, or its own and that of its forks. */
  readonly author: Author
  readonly #context: SessionContext
  #history: History
  /** What the session began with, to tell whether a carrier needs a new token. */
  readonly #received: History
  /** The store's answer is still under way; the first fenced read awaits it, nobody else does. */
  #arriving: Promise<void> | undefined
  /** The store does not know the user: what the primary's answer settles goes there, too. */
  #unknown = false
  #ended = false
  #lastOutcome: Outcome | undefined
  #gaveLess = false
  /** `null`: something was read at a position that is not known. */
  #readAt: Position | null | undefined
  #readStaleMs = 0
  /**
   * Counts what settling must not undo when it came after the read that settles: doubts, entries of other histories, and positions
   * that are hidden (see {@link isHidden}), which need a token of their own, as doubts do.
   */
  #doubts = 0
  #token: { readonly of: History; readonly text: ConsistencyToken } | undefined

  constructor(context: SessionContext, tokens: Tokens, options: SessionOptions, origin?: Session) {
    if (options.user !== undefined && typeof options.user !== 'string') {
      throw new ConfigurationError(`user must be a text, or left out when nobody is known, not ${shown(options.user)}`)
    }
    this.#context = context
    this.user = options.user
    this.guarantee = options.guarantee ?? 'read-your-writes'
    this.ladder = options.ladder
    this.quiet = options.quiet ?? false
    this.author = origin?.author ?? (this.user === undefined ? {} : `user ${this.user}`)
    if (origin !== undefined) {
      this.accepted = origin.accepted
      this.#history = this.#received = origin.history
      // What is still under way for the other is for this one, too; nobody looks it up twice.
      this.#arriving = origin.arriving?.then(() => {
        this.join(origin.history)
        this.#arriving = undefined
      })
      return
    }
    const { history, accepted, ofUser } = this.#accept(tokens)
    this.accepted = accepted
    this.#history = history
    if (this.user !== undefined) {
      if (context.stored !== undefined) this.#arriving = this.#lookUp(context.stored, this.user)
      else if (!ofUser) this.#history = joinHistories(history, UNCERTAIN_HISTORY)
    }
    this.#received = this.#history
  }

  /** The name of the database that it is of. */
  get db(): string {
    return this.#context.db ?? DEFAULT_NAME
  }

  get history(): History {
    return this.#history
  }

  /**
   * What the last read of this session got; of concurrent reads, the one that ended last. Statements of a transaction on the
   * primary have none, and leave it as it is.
   */
  get lastOutcome(): Outcome | undefined {
    return this.#lastOutcome
  }

  /** @internal */
  set lastOutcome(outcome: Outcome | undefined) {
    this.#lastOutcome = outcome
    this.#gaveLess ||= outcome?.guarantee === 'eventual'
  }

  /** @internal Whether some read of this session gave less than it had asked for. */
  get gaveLess(): boolean {
    return this.#gaveLess
  }

  /** Whether the history differs from the one the session began with: its carrier then needs a new token. */
  get changed(): boolean {
    // A new doubt in a session that began uncertain looks the same and is not: what carries it must outlive the old token.
    return !sameHistory(this.#history, this.#received) || (this.#history.uncertain && this.#doubts > 0)
  }

  /** The token that carries this session's history to its next request, device, process or job. */
  token(): ConsistencyToken {
    if (this.#token?.of !== this.#history) {
      this.#token = { of: this.#history, text: this.#context.codec.encode(this.#history, { boundTo: this.user }) }
      publish('tidemark:token', () => ({ db: this.db, issued: 1, accepted: 0, merged: 0 }))
    }
    return this.#token.text
  }

  /** Takes in the histories of other sessions (forks that have finished, a job's result). */
  merge(...others: readonly Session[]): this {
    for (const other of others) this.join(other.history)
    return this
  }

  /** @internal */
  join(history: History): void {
    const joined = joinHistories(this.#history, history)
    const isNew = lineageCount(joined) > lineageCount(this.#history)
    if (history.uncertain || isNew || isHidden(history, joined)) this.#doubts++
    this.#history = joined
  }

  /** @internal Resolves when all that is known elsewhere of this session's user has arrived. Never rejects. */
  get arriving(): Promise<void> | undefined {
    return this.#arriving
  }

  /** @internal What this session writes is kept for the user's other devices. */
  get isStored(): boolean {
    return this.user !== undefined && this.#context.stored !== undefined
  }

  /**
   * @internal A write of this session is included in `position`. When a promise comes back, the write must not be
   * acknowledged before it has settled: only then can the user's other devices know of it. It never rejects.
   */
  wrote(position: Position, scopes?: readonly ScopeId[]): Promise<void> | undefined {
    if (scopes === undefined || scopes.length === 0) this.join({ ...EMPTY_HISTORY, writes: position })
    else this.join({ ...EMPTY_HISTORY, marks: new Map(scopes.map(scope => [scope, position])) })
    return this.#store(position)
  }

  /** @internal Everything a read of this session has shown is included in `position`. */
  saw(position: Position): void {
    this.join({ ...EMPTY_HISTORY, reads: position })
  }

  /**
   * @internal What a read of this session has shown cannot be bounded: only the primary is certain not to go back from there, and
   * should a failover leave the history that was shown before that is settled, it may be lost, and that must be told.
   */
  sawUnbounded(lineage: string | undefined): void {
    const reads = lineage === undefined ? Position.zero : Position.at(lineage, MAX_OFFSET)
    this.join({ ...UNCERTAIN_HISTORY, reads })
  }

  /**
   * @internal A read of this session showed what was there at `position` or later, on a node that was at most `staleMs`
   * behind; `undefined` when nothing tells.
   */
  readFrom(position: Position | undefined, staleMs = Number.POSITIVE_INFINITY): void {
    this.#readStaleMs = Math.max(this.#readStaleMs, staleMs)
    if (position === undefined || this.#readAt === null) this.#readAt = null
    else if (this.#readAt === undefined || this.#readAt.includes(position)) this.#readAt = position
    else if (!position.includes(this.#readAt)) this.#readAt = null
  }

  /**
   * A position that every read of this session has seen at least; `undefined` when it has read nothing, or from a node of
   * which nothing is proven.
   */
  get readAt(): Position | undefined {
    return this.#readAt ?? undefined
  }

  /** How far behind the primary the furthest of the nodes was at most that this session has read from. Infinity: not known. */
  get readStaleMs(): number {
    return this.#readStaleMs
  }

  /**
   * @internal A write may have happened and its position is not known; `lineage`, the history that it was sent to, often is. If it was
   * acknowledged, it is somewhere in there: should a failover leave that history before the doubt is settled, the write may be lost, and
   * that must be told. If it was not, nothing is said but that there is such a history: a router that has not heard of it would let an
   * older primary settle the doubt, which cannot show the write, and go on writing there.
   */
  doubt(lineage?: string, acknowledged = false): void {
    if (lineage === undefined) this.join(UNCERTAIN_HISTORY)
    else this.join({ ...UNCERTAIN_HISTORY, writes: Position.at(lineage, acknowledged ? MAX_OFFSET : 0n) })
  }

  /** @internal To be passed to {@link settle}. */
  get doubts(): number {
    return this.#doubts
  }

  /**
   * @internal The primary served a read that began at `doubts`, and was then at `position`: that includes every write of
   * this session that is not lost. What has been `told` to be possibly lost is dropped; the rest of other histories stays, for
   * the next read to judge.
   */
  settle(position: Position, doubts: number, told = Position.zero): void {
    const current = doubts === this.#doubts
    const isLeft = ({ lineage, offset }: PositionEntry) =>
      current &&
      (position.offsetIn(lineage) === undefined
        ? offset <= (told.offsetIn(lineage) ?? -1n)
        : // Somewhere in this history: now it is known where at most.
          offset === MAX_OFFSET)
    const before = this.#history
    const lost = Position.of(allWrites(before).entries.filter(isLeft))
    const kept = mapHistory(before, old => Position.of(old.entries.filter(entry => !isLeft(entry))))
    this.#history = joinHistories({ ...kept, uncertain: before.uncertain && !current }, { ...EMPTY_HISTORY, writes: position })
    // Of this history the store keeps real positions only, of other devices too, and maybe beyond this one: none is dropped.
    const left = Position.of(lost.entries.filter(({ lineage }) => position.offsetIn(lineage) === undefined))
    if (!lost.isZero || this.#unknown) void this.#store(position, left)
  }

  /**
   * @internal What was written in older histories and is preserved is said in the terms of the present one, which the next
   * promotion then goes on from.
   */
  migrate(cluster: Cluster): void {
    const { lineage } = cluster
    if (lineage === undefined || !someLineage(this.#history, each => each !== lineage)) return
    this.#history = mapHistory(this.#history, position => translate(position, cluster))
  }

  /** @internal Writes of which the caller has been told that they may be lost. The next read goes to the primary. */
  letGo(lost: Position): void {
    this.#drop(lost)
    this.doubt()
  }

  /** @internal Takes in what `fork`, which began with `before`, has learnt and was told to let go of. */
  reconcile(fork: Session, before: History): void {
    const left = allWrites(fork.history)
    this.#drop(Position.of(allWrites(before).entries.filter(entry => left.offsetIn(entry.lineage) === undefined)))
    this.join(fork.history)
  }

  #drop(lost: Position): void {
    const stays = ({ lineage, offset }: PositionEntry) => offset > (lost.offsetIn(lineage) ?? -1n)
    if (lost.isZero) return
    this.#history = mapHistory(this.#history, position => Position.of(position.entries.filter(stays)))
  }

  /**
   * Resolves when all that is known elsewhere of this session has arrived, to whether positions say all that its reads must
   * see: not when it is uncertain, or has a write of which it has yet to be told that it may be lost.
   */
  async ready(): Promise<boolean> {
    if (this.#arriving !== undefined) await this.#arriving
    return !this.#history.uncertain && ((await this.#context.isCertain?.(this)) ?? true)
  }

  /** @internal What of the position still obliges in the present history: without what that has lost. Never rejects. */
  async keptOf(position: Position): Promise<Position> {
    return (await this.#context.keptOf?.(position)) ?? position
  }

  /**
   * The user logs out: the answer to this request takes the tokens away that it brought, and brings none. Nothing of the
   * user's writes is forgotten by that, only what this client carried of them.
   */
  end(): void {
    this.#ended = true
  }

  /** Whether {@link end} was called. */
  get ended(): boolean {
    return this.#ended
  }

  #store(position: Position, settled?: Position): Promise<void> | undefined {
    const { user } = this
    const { stored } = this.#context
    return stored === undefined || user === undefined ? undefined : stored.raise(user, position, settled)
  }

  /**
   * The history of the acceptable tokens, joined; a refused one counts as none, with an event. `ofUser`: one of them is
   * bound to the session's user. One that was issued before the user was known says nothing of what that user did elsewhere.
   */
  #accept(tokens: Tokens) {
    let history = EMPTY_HISTORY
    let ofUser = false
    const accepted: ConsistencyToken[] = []
    // Whatever is no list counts as one token: what a client sent may be anything, and must not throw here.
    for (const token of Array.isArray(tokens) ? tokens : tokens == null ? [] : [tokens]) {
      try {
        const carried = this.#context.codec.open(token, { boundTo: this.user })
        history = accepted.length === 0 ? carried.history : joinHistories(history, carried.history)
        accepted.push(token)
        ofUser ||= this.user !== undefined && carried.binding !== undefined
      } catch (error) {
        if (!(error instanceof TokenRejectedError)) throw error
        publish('tidemark:token-rejected', () => ({ db: this.db, reason: error.reason }))
      }
    }
    const { length } = accepted
    if (length > 0) publish('tidemark:token', () => ({ db: this.db, issued: 0, accepted: length, merged: length - 1 }))
    return { history, accepted, ofUser }
  }

  async #lookUp(stored: StoredPositions, user: string): Promise<void> {
    const position = await stored.get(user)
    if (position !== undefined) this.join({ ...EMPTY_HISTORY, writes: position })
    // The store failed, or does not know the user (any more): the user may have written anywhere. Also when the client
    // carries a token: that one may be older than what another device wrote.
    else {
      this.#unknown = true
      this.doubt()
    }
    this.#arriving = undefined
  }
}

function lineageCount(history: History): number {
  return allWrites(history).entries.length + history.reads.entries.length
}
