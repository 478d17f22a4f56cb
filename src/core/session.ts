import type { Clock, Timer } from './clock.js'
import { publish } from './events.js'
import { EMPTY_HISTORY, type History, joinHistories, sameHistory, UNCERTAIN_HISTORY } from './history.js'
import type { Ladder } from './ladder.js'
import type { Guarantee, Outcome } from './outcome.js'
import { Position } from './position.js'
import type { ConsistencyToken, TokenCodec } from './token/codec.js'
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
  /** Counts the times something became uncertain: settling one doubt must not settle a later one. */
  #doubts = 0
  #token: { readonly of: History; readonly text: ConsistencyToken } | undefined

  constructor(context: SessionContext, tokens: Tokens, options: SessionOptions) {
    this.#context = context
    this.user = options.user
    this.guarantee = options.guarantee ?? 'read-your-writes'
    this.ladder = options.ladder
    const received = this.#accept(tokens)
    this.#history = received ?? EMPTY_HISTORY
    if (this.user !== undefined) {
      if (context.store !== undefined) this.#arriving = this.#lookUp(context.store, this.user, received !== undefined)
      else if (received === undefined) this.#history = UNCERTAIN_HISTORY
    }
    this.#received = this.#history
  }

  get history(): History {
    return this.#history
  }

  /** Whether the history differs from the one the session began with: its carrier then needs a new token. */
  get changed(): boolean {
    return !sameHistory(this.#history, this.#received)
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
    if (history.uncertain) this.#doubts++
    this.#history = joinHistories(this.#history, history)
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
    this.#history = { ...this.#history, writes: this.#history.writes.join(position) }
    const { store } = this.#context
    if (store === undefined || this.user === undefined) return undefined
    return this.#bounded('raise', store.raise(this.user, position)).then(() => {})
  }

  /** @internal Everything a read of this session has shown is included in `position`. */
  saw(position: Position): void {
    this.#history = { ...this.#history, reads: this.#history.reads.join(position) }
  }

  /** @internal A write may have happened and its position is not known. */
  doubt(): void {
    this.#doubts++
    this.#history = { ...this.#history, uncertain: true }
  }

  /** @internal To be passed to {@link settle}. */
  get doubts(): number {
    return this.#doubts
  }

  /**
   * @internal The primary served a read that began at `doubts`, and was then at `position`: that includes every write of
   * this session that is not lost. What belongs to other histories is dropped: it has been reported as possibly lost.
   */
  settle(position: Position, doubts: number): void {
    const lineages = new Set(position.entries.map(e => e.lineage))
    const kept = (old: Position) => Position.of(old.entries.filter(e => lineages.has(e.lineage)))
    const { writes, reads, uncertain } = this.#history
    this.#history = {
      writes: kept(writes).join(position),
      reads: kept(reads),
      uncertain: uncertain && doubts !== this.#doubts,
    }
  }

  /** The history of the acceptable tokens, joined; `undefined` when there is none. A refused token counts as none, with an event. */
  #accept(tokens: Tokens): History | undefined {
    let history: History | undefined
    for (const token of typeof tokens === 'string' ? [tokens] : (tokens ?? [])) {
      try {
        const carried = this.#context.codec.decode(token, { boundTo: this.user })
        history = history === undefined ? carried : joinHistories(history, carried)
      } catch (error) {
        if (!(error instanceof TokenRejectedError)) throw error
        publish('tidemark:token-rejected', () => ({ reason: error.reason }))
      }
    }
    return history
  }

  async #lookUp(store: TokenStore, user: string, hasToken: boolean): Promise<void> {
    const answer = await this.#bounded('get', store.get(user))
    if (answer?.value !== undefined) this.join({ ...EMPTY_HISTORY, writes: answer.value })
    // The store failed, or knows nothing and neither does the client: the user may have written anywhere.
    else if (answer === undefined || !hasToken) this.doubt()
    this.#arriving = undefined
  }

  /** A store that is slow or down costs at most its time-out and never fails a query. */
  async #bounded<T>(what: string, work: Promise<T>): Promise<{ readonly value: T } | undefined> {
    const { clock, storeTimeoutMs } = this.#context
    let timer: Timer | undefined
    const timeout = new Promise<never>((_, reject) => {
      timer = clock.setTimer(() => reject(new Error(`no answer within ${storeTimeoutMs} ms`)), storeTimeoutMs, {
        keepAlive: true,
      })
    })
    try {
      return { value: await Promise.race([work, timeout]) }
    } catch (cause) {
      publish('tidemark:warning', () => ({ message: `the token store failed (${what})`, cause }))
      return undefined
    } finally {
      timer?.cancel()
    }
  }
}
