import { type IncomingMessage, ServerResponse } from 'node:http'
import fc from 'fast-check'
import { memoryCacheStore } from '../../core/cache-store.js'
import { type Clock, systemClock, type Timer } from '../../core/clock.js'
import { ConfigurationError } from '../../core/errors.js'
import { fencedCache } from '../../core/fenced-cache.js'
import { DEFAULT_LADDER, notReady, pinned, primary, replica, sessionCache, stale, wait } from '../../core/ladder.js'
import { quorum } from '../../core/quorum.js'
import { TokenCodec } from '../../core/token/codec.js'
import { memoryTokenStore } from '../../core/token-store.js'
import { appliedOn } from '../../core/write-policy.js'
import { tidemark } from '../../engines/postgres/database.js'
import { tokenExchange } from '../../http/exchange.js'
import { withConsistency } from '../../http/fetch.js'
import { hostileText } from './hostile-text.js'
import { FuzzDatabase } from './http-target.js'
import { type Finding, Tally, type Target } from './target.js'

type Options = Record<string, unknown>

/** Something that takes options; it works with them, or throws {@link ConfigurationError}. */
export interface EntryPoint {
  readonly options: Readonly<Record<string, fc.Arbitrary<unknown>>>
  use(options: Options, clock: CountingClock): unknown
}

/** Knows of every timer that was not cancelled and has not fired. */
export class CountingClock implements Clock {
  readonly pending = new Set<object>()
  readonly now = systemClock.now
  readonly wallNow = systemClock.wallNow
  readonly random = systemClock.random

  setTimer(callback: () => void, delayMs: number, options?: { readonly keepAlive?: boolean }): Timer {
    const key = {}
    this.pending.add(key)
    const timer = systemClock.setTimer(
      () => {
        this.pending.delete(key)
        callback()
      },
      delayMs,
      options,
    )
    const cancel = () => {
      this.pending.delete(key)
      timer.cancel()
    }
    return { cancel }
  }
}

const number = fc.oneof(
  fc.constantFrom(0, -0, -1, 1, 0.5, 1e9, 2 ** 31, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
  fc.integer({ min: 1, max: 10_000 }),
  fc.double(),
)
const anything = fc.oneof(
  number,
  hostileText.filter(text => text.length < 1_000),
  fc.anything({ withBigInt: true, withNullPrototype: true, withDate: true, withMap: true, withTypedArray: true }),
  fc.constantFrom<unknown>(null, true, false, 5n, Symbol('x'), () => 1, [], {}, [null], Object.create(null), new Proxy({}, {})),
)
/** Mostly what is meant to be given, so that what comes after the first check is reached, too. */
const mostly = (...good: unknown[]) => fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...good) }, anything)
const someNumber = fc.oneof({ weight: 2, arbitrary: number }, anything)
const text = fc.oneof(
  hostileText.filter(each => each.length < 1_000),
  anything,
)

/** Nobody listens on port 1; asking is refused at once. */
const URLS = [
  'postgres://a@127.0.0.1:1/a',
  'postgres://a:b@127.0.0.1:1/b',
  'postgres://127.0.0.1:1',
  'postgresql://127.0.0.1:1?x=%',
  'http://x',
  'postgres:',
  '',
]
const node = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom<unknown>(...URLS) },
  fc.record(
    {
      url: mostly(...URLS),
      config: mostly({ host: '127.0.0.1', port: 1 }, {}),
      pool: mostly(undefined, {}),
      name: mostly('a', 'b', undefined),
      region: mostly('eu'),
      weight: someNumber,
      balanced: mostly(true, false),
    },
    { requiredKeys: [] },
  ),
  anything,
)
const nodes = fc.oneof({ weight: 4, arbitrary: fc.array(node, { maxLength: 3 }) }, anything)
const rungs = [replica(), wait(), primary(), quorum(2), stale({ maxLagMs: 1 }), pinned(), sessionCache(), notReady()]
const ladder = fc.oneof(
  fc.constant<unknown>(DEFAULT_LADDER),
  fc.subarray<unknown>(rungs),
  fc.array(fc.oneof(fc.constantFrom<unknown>(...rungs), anything), { maxLength: 3 }),
  anything,
)
const fixed = { nodes: ['postgres://a@127.0.0.1:1/a'], secret: 'a secret of the fuzzer' }

const numbers = (...names: string[]) => Object.fromEntries(names.map(name => [name, someNumber]))
const acknowledge = { timeoutMs: someNumber, onTimeout: mostly('error', 'return') }
const cookie = fc.oneof(
  fc.record(
    {
      name: text,
      domain: text,
      path: text,
      sameSite: mostly('lax', 'none'),
      secure: mostly(true, 'auto'),
      maxAgeSeconds: someNumber,
    },
    { requiredKeys: [] },
  ),
  anything,
)

const TIDEMARK_OPTIONS = {
  primary: node,
  replicas: nodes,
  nodes,
  secret: mostly('a secret of the fuzzer', ['a secret of the fuzzer', 'another one of sixteen'], undefined),
  region: mostly('eu', undefined),
  preset: mostly('two-level', 'quorum', 'leader-reads', '__proto__', 'toString'),
  ladder,
  writePolicy: mostly(quorum(2), appliedOn('any'), appliedOn('eu'), undefined),
  scopes: mostly('tables', undefined),
  lostWrites: mostly('error', 'reissue'),
  sessionCache: fc.oneof(fc.record(numbers('maxSessions', 'maxEntries'), { requiredKeys: [] }), anything),
  guarantee: mostly('read-your-writes', 'monotonic-reads'),
  store: mostly(memoryTokenStore(), undefined),
  pool: mostly({ max: 2 }, undefined),
  onWarning: mostly(() => {}, undefined),
  ...numbers('storeTimeoutMs', 'pollIntervalMs', 'pollTimeoutMs', 'connectTimeoutMs', 'maxWaiting'),
}

/** The doors through which a configuration comes in. */
export const ENTRY_POINTS: Readonly<Record<string, EntryPoint>> = {
  tidemark: {
    options: TIDEMARK_OPTIONS,
    use: (options, clock) => opened({ onWarning: () => {}, secret: fixed.secret, ...options, clock }),
  },
  'tidemark, with good nodes': {
    options: Object.fromEntries(Object.entries(TIDEMARK_OPTIONS).filter(([name]) => !/^(primary|replicas|nodes)$/.test(name))),
    use: (options, clock) => opened({ onWarning: () => {}, ...fixed, ...options, clock }),
  },
  session: {
    options: { user: mostly('ann', undefined), guarantee: mostly('monotonic-reads', undefined) },
    use: options => new FuzzDatabase().session(undefined, options).token(),
  },
  replica: { options: { region: mostly('own', 'any') }, use: options => replica(options) },
  wait: { options: { budgetMs: someNumber, region: mostly('own', 'any') }, use: options => wait(options) },
  primary: { options: numbers('maxInFlight'), use: options => primary(options) },
  pinned: { options: { to: mostly('node', 'region'), ...numbers('maxShare', 'maxInFlight') }, use: options => pinned(options) },
  sessionCache: { options: numbers('ttlMs'), use: options => sessionCache(options) },
  stale: { options: numbers('maxLagMs'), use: options => stale(options as never) },
  notReady: { options: numbers('retryAfterMs'), use: options => notReady(options) },
  quorum: {
    options: { size: mostly('majority', 1, 2), allowPartial: mostly(true, false), remoteApply: mostly(true), ...acknowledge },
    use: ({ size, ...options }) => quorum(size as never, options),
  },
  appliedOn: {
    options: { where: text, ...acknowledge },
    use: ({ where, ...options }) => appliedOn(where as never, options as never),
  },
  TokenCodec: {
    options: { secret: mostly(fixed.secret, [fixed.secret]), maxClockSkewMs: someNumber },
    use: options => used(new TokenCodec(options as never)),
  },
  memoryTokenStore: { options: numbers('maxUsers', 'retainMs'), use: options => memoryTokenStore(options) },
  memoryCacheStore: { options: numbers('maxEntries'), use: options => memoryCacheStore(options) },
  fencedCache: {
    options: numbers('ttlMs', 'jitter', 'tombstoneMs', 'storeTimeoutMs', 'maxLoads'),
    use: options => fencedCache(memoryCacheStore(), options),
  },
  tokenExchange: {
    options: { carrier: mostly('auto', 'cookie', 'both'), header: text, cookie, guarantee: mostly('monotonic-reads'), ladder },
    use: options => answered(options),
  },
  withConsistency: {
    options: { origins: fc.oneof(fc.array(text), mostly(['http://a'])), header: text, storage: mostly(undefined) },
    use: options => withConsistency(fetch, options as never),
  },
}

async function opened(options: Options): Promise<void> {
  const db = await tidemark(options as never)
  await db.close()
}

/** A codec that was made must work. */
function used(codec: TokenCodec): void {
  codec.decode(codec.encode(new FuzzDatabase().session().history))
}

/** An exchange that was made must answer with headers that are some. */
function answered(options: Options): void {
  const open = tokenExchange(new FuzzDatabase(), options)
  const exchange = open({ get: () => null }, { user: 'ann' })
  exchange.session.doubt()
  const response = new ServerResponse({ method: 'GET' } as IncomingMessage)
  exchange.apply({ append: (name, value) => response.appendHeader(name, value) })
}

interface ConfigurationCase {
  readonly entryPoint: string
  readonly options: Options
}

/** Options that nobody should give: each is refused in words, or works; and nothing is left behind. */
export function configurationTarget(entryPoints = ENTRY_POINTS): Target<ConfigurationCase> {
  const seen = new Tally()
  const cases = Object.entries(entryPoints).map(([entryPoint, { options }]) =>
    fc.record({
      entryPoint: fc.constant(entryPoint),
      options: fc.record(options, { requiredKeys: [] }) as fc.Arbitrary<Options>,
    }),
  )
  return {
    name: 'configuration',
    seen,
    deadlineMs: 10_000,
    cases: fc.oneof(...cases),
    async check({ entryPoint, options }) {
      const clock = new CountingClock()
      const before = held()
      const finding = await refusal(() => entryPoints[entryPoint]!.use(options, clock), entryPoint, seen)
      if (finding !== undefined) return finding
      if (clock.pending.size > 0) return { kind: 'crash', message: `${entryPoint} leaves ${clock.pending.size} timers behind` }
      const left = await leftBehind(before)
      return left.length === 0 ? undefined : { kind: 'crash', message: `${entryPoint} leaves behind: ${left.join(', ')}` }
    },
    async close() {},
  }
}

async function refusal(use: () => unknown, entryPoint: string, seen: Tally): Promise<Finding | undefined> {
  try {
    await use()
    seen.count(`${entryPoint}: works`)
    return undefined
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    seen.count(`${entryPoint}: refused`)
    if (error.message.length >= 20) return undefined
    return { kind: 'crash', message: `${entryPoint} says too little: ${error.message}` }
  }
}

/** What keeps this process alive, sockets and servers. */
function held(): string[] {
  return process.getActiveResourcesInfo().filter(name => /TCP|Pipe|TLS|DNS|GetAddrInfo/i.test(name))
}

/** A socket that has been destroyed is gone a turn of the loop later. */
async function leftBehind(before: readonly string[]): Promise<string[]> {
  for (let turn = 0; turn < 50 && held().length > before.length; turn++) await new Promise(resolve => setTimeout(resolve, 1))
  return held().slice(before.length)
}
