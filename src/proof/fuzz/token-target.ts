import fc from 'fast-check'
import type { Clock } from '../../core/clock.js'
import { Cluster } from '../../core/cluster.js'
import { fenceOf } from '../../core/fence.js'
import { sameHistory } from '../../core/history.js'
import { DEFAULT_LADDER } from '../../core/ladder.js'
import type { Outcome } from '../../core/outcome.js'
import { Router } from '../../core/router.js'
import { Session, type Tokens } from '../../core/session.js'
import { TokenCodec, type TokenCodecOptions } from '../../core/token/codec.js'
import { TokenRejectedError } from '../../core/token/layout.js'
import { VirtualClock } from '../../core/virtual-clock.js'
import { WaitingRoom } from '../../core/waiting-room.js'
import { ACCEPTED_ISSUERS, forge, type Issued, issued, SECRETS, user } from './forged-tokens.js'
import { type Finding, Tally, type Target } from './target.js'

interface TokenCase {
  readonly user: string | undefined
  /** The tokens among the texts that this user may use. */
  readonly valid: readonly string[]
  readonly texts: readonly unknown[]
  /** What a careless application passes on: a query parameter that was a list, or an object. */
  readonly anything: unknown
}

const cases: fc.Arbitrary<TokenCase> = fc
  .record({
    user,
    issued: fc.array(issued, { minLength: 1, maxLength: 3 }),
    forges: fc.array(forge, { minLength: 1, maxLength: 4 }),
    anything: fc.option(fc.anything({ withBigInt: true, withNullPrototype: true }), { freq: 8, nil: undefined }),
  })
  .map(({ user, issued, forges, anything }) => ({
    user,
    valid: issued.filter(token => isAcceptable(token, user)).map(({ text }) => text),
    texts: forges.map(make => make(issued)),
    anything,
  }))

export interface TokenTargetOptions {
  readonly createCodec?: (options: TokenCodecOptions) => TokenCodec
}

/**
 * Tokens that were never issued to this user: a session made with them is the very session of a client that sent none, so
 * that its reads go where those would go; and no error comes of them.
 */
export function tokenTarget({ createCodec = options => new TokenCodec(options) }: TokenTargetOptions = {}): Target<TokenCase> {
  const clock = new VirtualClock()
  const codec = createCodec({ secret: SECRETS, clock })
  const routes = new Routes(clock)
  const seen = new Tally()

  return {
    name: 'tokens',
    seen,
    cpuBoundMs: 50,
    deadlineMs: 5_000,
    cases,
    async check({ user, valid, texts, anything }) {
      const unforged: string[] = []
      for (const text of texts) {
        const isValid = typeof text === 'string' && valid.includes(text)
        if (isValid) unforged.push(text)
        const accepted = accepts(codec, text, user, seen)
        if (accepted && !isValid) return { kind: 'accepted', message: `the codec accepts ${JSON.stringify(text)}` }
        if (!accepted && isValid) return { kind: 'crash', message: `the codec refuses a good token: ${JSON.stringify(text)}` }
      }
      const context = { codec, clock }
      const honest = new Session(context, unforged, { user })
      const forged = new Session(context, [...texts, anything] as Tokens, { user })
      if (!sameHistory(forged.history, honest.history))
        return { kind: 'accepted', message: 'the session knows more than its good tokens say' }
      new Session(context, anything as Tokens, { user })
      return routes.compare(forged, honest, seen)
    },
    async close() {},
  }
}

function isAcceptable({ issuer, owner }: Issued, user: string | undefined): boolean {
  return ACCEPTED_ISSUERS.has(issuer) && (owner === undefined || owner === user)
}

/** Throws what is not the declared error. */
function accepts(codec: TokenCodec, text: unknown, user: string | undefined, seen: Tally): boolean {
  try {
    codec.decode(text as string, { boundTo: user })
    seen.count('accepted, rightly')
    return true
  } catch (error) {
    if (!(error instanceof TokenRejectedError)) throw error
    seen.count(error.reason)
    return false
  }
}

/** Where reads go, by the real router; replicas are behind what tokens ask for. */
class Routes {
  readonly #clock: VirtualClock
  readonly #cluster = new Cluster([{ id: 'primary' }, { id: 'replica-1' }, { id: 'replica-2' }])
  readonly #router: Router

  constructor(clock: VirtualClock) {
    this.#clock = clock
    this.#router = new Router(this.#cluster, new WaitingRoom(this.#cluster, clock as Clock), clock)
    const said = { sentAt: 0, receivedAt: 1, system: '7000000000000000001', epoch: 1, incarnation: 'life 1' }
    for (const node of this.#cluster.nodes) {
      const isPrimary = node.id === 'primary'
      this.#cluster.observe(node, { ...said, role: isPrimary ? 'primary' : 'replica', applied: isPrimary ? 1_000n : 500n })
    }
  }

  async compare(forged: Session, honest: Session, seen: Tally): Promise<Finding | undefined> {
    const [got, expected] = [await this.#outcomeOf(forged), await this.#outcomeOf(honest)]
    seen.count(expected === undefined ? 'reads that wait' : `reads by ${expected.rung}`)
    if ((got === undefined) !== (expected === undefined)) return { kind: 'wait', message: 'the forged tokens make a read wait' }
    if (got?.rung !== expected?.rung) {
      return { kind: 'wait', message: `the read is served by ${got?.rung}, without the forged tokens by ${expected?.rung}` }
    }
    return undefined
  }

  /** `undefined` while it waits for a replica; time does not move, so it would for ever. */
  async #outcomeOf(session: Session): Promise<Outcome | undefined> {
    const fence = fenceOf(session.history, session.guarantee, this.#cluster)
    const calledOff = new AbortController()
    const request = { fence, ladder: DEFAULT_LADDER, guarantee: session.guarantee, signal: calledOff.signal }
    let outcome: Outcome | undefined
    const served = this.#router.read(request, { onNode: async () => undefined }).then(
      ({ outcome: got }) => {
        outcome = got
      },
      error => {
        if (!calledOff.signal.aborted) throw error
      },
    )
    await this.#clock.advance(0)
    calledOff.abort()
    await served
    return outcome
  }
}
