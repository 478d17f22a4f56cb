import type { Clock, Timer } from './clock.js'
import { publish } from './events.js'
import { EMPTY_HISTORY, type History, joinHistories, sameHistory, UNCERTAIN_HISTORY } from './history.js'
import type { Ladder } from './ladder.js'
import type { Guarantee, Outcome } from './outcome.js'
import { Position } from './position.js'
import { type ConsistencyToken, isBound, type TokenCodec } from './token/codec.js'
import { TokenRejectedError } from './token/layout.js'
import type { TokenStore } from './token-store.js'

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
}

/** What sessions of one database share. */
export interface SessionContext {
  readonly codec: TokenCodec
  readonly clock: Clock
  readonly store?: TokenStore | undefined
  /** The store is waited for at most this long, by reads and by writes. */
  readonly storeTimeoutMs: number
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
  /** What the last read of this session got; of concurrent reads, the one that ended last. */
  lastOutcome: Outcome | undefined
  readonly #context: SessionContext
  #history: History
  /** What the session began with, to tell whether a carrier needs a new token. */
  readonly #received: History
  /** The store's answer is still under way; the first fenced read awaits it, nobody else does. */
  #arriving: Promise<void> | undefined
  /** Counts what settling must not undo when it came after the read that settles: doubts, and entries of other histories. */
  #doubts = 0
  #token: { readonly of: History; readonly text: ConsistencyToken } | undefined

  constructor(context: SessionContext, tokens: Tokens, options: SessionOptions) {
    this.#context = context
    this.user = options.user
    this.guarantee = options.guarantee ?? 'read-your-writes'
    this.ladder = options.ladder
    const { history, ofUser } = this.#accept(tokens)
    this.#history = history
    if (this.user !== undefined) {
      if (context.store !== undefined) this.#arriving = this.#lookUp(context.store, this.user, ofUser)
      else if (!ofUser) this.#history = joinHistories(history, UNCERTAIN_HISTORY)
    }
    this.#received = this.#history
  }

  get history(): History {
    return this.#history
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
    if (history.uncertain || lineageCount(joined) > lineageCount(this.#history)) this.#doubts++
    this.#history = joined
  }

  /** @internal Resolves when all that is known elsewhere of this session's user has arrived. Never rejects. */
  get arriving(): Promise<void> | undefined {
    return this.#arriving
  }

  /**
   * @internal A write of this session is included in `position`. When a promise comes back, the write must not be
   * acknowledged before it has settled: only then can the user's other devices know of it. It never rejects.
   */
  wrote(position: Position): Promise<void> | undefined {
    this.join({ ...EMPTY_HISTORY, writes: position })
    return this.#store(position)
  }

  /** @internal Everything a read of this session has shown is included in `position`. */
  saw(position: Position): void {
    this.join({ ...EMPTY_HISTORY, reads: position })
  }

  /** @internal A write may have happened and its position is not known. */
  doubt(): void {
    this.join(UNCERTAIN_HISTORY)
  }

  /** @internal To be passed to {@link settle}. */
  get doubts(): number {
    return this.#doubts
  }

  /**
   * @internal The primary served a read that began at `doubts`, and was then at `position`: that includes every write of
   * this session that is not lost. What belonged to other histories then is dropped: it has been reported as possibly lost.
   */
  settle(position: Position, doubts: number): void {
    const current = doubts === this.#doubts
    const { writes, reads, uncertain } = this.#history
    const left = (old: Position) => Position.of(old.entries.filter(e => current && position.offsetIn(e.lineage) === undefined))
    const lost = left(writes)
    this.#history = {
      writes: writes.without(lost).join(position),
      reads: reads.without(left(reads)),
      uncertain: uncertain && !current,
    }
    if (!lost.isZero) void this.#store(position, lost)
  }

  #store(position: Position, settled?: Position): Promise<void> | undefined {
    const { user } = this
    const { store } = this.#context
    if (store === undefined || user === undefined) return undefined
    return this.#bounded('raise', () => store.raise(user, position, settled)).then(() => {})
  }

  /**
   * The history of the acceptable tokens, joined; a refused one counts as none, with an event. `ofUser`: one of them is
   * bound to the session's user. One that was issued before the user was known says nothing of what that user did elsewhere.
   */
  #accept(tokens: Tokens): { readonly history: History; readonly ofUser: boolean } {
    let history = EMPTY_HISTORY
    let ofUser = false
    for (const token of typeof tokens === 'string' ? [tokens] : (tokens ?? [])) {
      try {
        const carried = this.#context.codec.decode(token, { boundTo: this.user })
        history = joinHistories(history, carried)
        ofUser ||= this.user !== undefined && isBound(token)
      } catch (error) {
        if (!(error instanceof TokenRejectedError)) throw error
        publish('tidemark:token-rejected', () => ({ reason: error.reason }))
      }
    }
    return { history, ofUser }
  }

  async #lookUp(store: TokenStore, user: string, ofUser: boolean): Promise<void> {
    const answer = await this.#bounded('get', () => store.get(user))
    if (answer?.value) this.join({ ...EMPTY_HISTORY, writes: answer.value })
    // The store failed, or knows nothing and neither does the client: the user may have written anywhere.
    else if (answer === undefined || !ofUser) this.doubt()
    this.#arriving = undefined
  }

  /** A store that is slow or down costs at most its time-out and never fails a query. */
  async #bounded<T>(what: string, work: () => Promise<T>): Promise<{ readonly value: T } | undefined> {
    const { clock, storeTimeoutMs } = this.#context
    let timer: Timer | undefined
    const timeout = new Promise<never>((_, reject) => {
      timer = clock.setTimer(() => reject(new Error(`no answer within ${storeTimeoutMs} ms`)), storeTimeoutMs, {
        keepAlive: true,
      })
    })
    try {
      return { value: await Promise.race([work(), timeout]) }
    } catch (cause) {
      publish('tidemark:warning', () => ({ message: `the token store failed (${what})`, cause }))
      return undefined
    } finally {
      timer?.cancel()
    }
  }
}

function lineageCount({ writes, reads }: History): number {
  return writes.entries.length + reads.entries.length
}
