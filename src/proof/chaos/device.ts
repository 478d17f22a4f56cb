/** One device of a user, or of nobody in particular: it sends requests to any router, several at a time, and carries the tokens. */
import { setTimeout as sleep } from 'node:timers/promises'
import { withConsistency } from '../../http/fetch.js'
import type { AskedGuarantee, OperationRecord } from '../../testing/history/record.js'
import type { Random } from '../random.js'
import { withCookies } from './cookie-jar.js'
import { DEADLINE_MS, type Done, type Failed, USER_HEADER, WAYS, type WorkRequest } from './protocol.js'
import type { Trace } from './trace.js'

/** Requests of one device under way at once. */
const AT_ONCE = 2
const MOST_PAUSE_MS = 500
/** Whoever has waited for so long goes away; what was promised is over by then. */
const PATIENCE_MS = 2 * DEADLINE_MS

export interface DeviceOptions {
  readonly name: string
  /** Default: nobody in particular. */
  readonly user?: string | undefined
  readonly guarantee: Exclude<AskedGuarantee, 'eventual'>
  readonly carrier: 'cookie' | 'header'
  /** Which it reads and writes. */
  readonly keys: readonly string[]
  readonly fetch: typeof globalThis.fetch
  /** Of the routers. */
  readonly origins: readonly string[]
  readonly random: Random
  readonly trace: Trace
}

/** What came of a request, and when. */
interface Answer {
  readonly start: number
  readonly end: number
  readonly body: Done | Failed | 'refused' | 'none'
}

export class Device {
  readonly #options: DeviceOptions
  readonly #fetch: typeof globalThis.fetch
  #written = 0

  constructor(options: DeviceOptions) {
    this.#options = options
    const { carrier, fetch, origins } = options
    this.#fetch = carrier === 'cookie' ? withCookies(fetch) : withConsistency(fetch, { origins })
  }

  /** Until the signal aborts; what is under way then is waited for. */
  async use(signal: AbortSignal): Promise<void> {
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (!signal.aborted) {
          await this.#next()
          await sleep(this.#options.random.next() * MOST_PAUSE_MS)
        }
      }),
    )
  }

  /** Everything that this device can have written, once more: a loss that has not been told is told now. */
  async lookOnceMore(): Promise<void> {
    const { guarantee, keys } = this.#options
    await this.#do(guarantee, { way: 'session', reads: keys })
  }

  async #next(): Promise<void> {
    const { random } = this.#options
    // Some users go away while they wait, or wait for less than they were promised.
    const goesAwayMs = random.chance(0.06) ? random.whole(0, 60) : random.chance(0.03) ? random.whole(200, 1_000) : undefined
    await this.#do(...this.#choose(), goesAwayMs)
  }

  async #do(guarantee: AskedGuarantee, request: WorkRequest, goesAwayMs?: number): Promise<void> {
    const { trace, user } = this.#options
    const answer = await this.#send(guarantee, request, AbortSignal.timeout(goesAwayMs ?? PATIENCE_MS))
    const { start, end, body } = answer
    const waitedMs = goesAwayMs === undefined || body !== 'none' ? end - start : undefined
    const everywhere = typeof body === 'object' && 'everywhere' in body && body.everywhere === true
    trace.add(this.#record(guarantee, request, answer, waitedMs), { user, everywhere, waitedMs })
  }

  #choose(): readonly [AskedGuarantee, WorkRequest] {
    const { random, keys, guarantee } = this.#options
    const [key, another] = random.shuffled(keys).slice(0, 2).sort()
    const some = random.chance(0.3) ? [key!, another!] : [key!]
    const way = random.pick(WAYS)
    if (random.chance(0.35)) return [guarantee, { way, writes: some.map(each => [each, this.#value(each)]) }]
    return [random.chance(0.08) ? 'eventual' : guarantee, { way, reads: some }]
  }

  /** No value is ever written twice. */
  #value(key: string): string {
    return `${key}=${this.#options.name}.${++this.#written}`
  }

  async #send(guarantee: AskedGuarantee, request: WorkRequest, signal: AbortSignal): Promise<Answer> {
    const { origins, random, user } = this.#options
    const headers = { 'content-type': 'application/json', ...(user !== undefined && { [USER_HEADER]: user }) }
    const url = `${random.pick(origins)}/${guarantee}`
    // Before the tokens are looked at: what is answered until then, this request knows.
    const start = performance.now()
    const answered = (body: Answer['body']): Answer => ({ start, end: performance.now(), body })
    try {
      const response = await this.#fetch(url, { method: 'POST', headers, body: JSON.stringify(request), signal })
      return answered((await response.json()) as Done | Failed)
    } catch (error) {
      return answered((error as { readonly code?: unknown }).code === 'ECONNREFUSED' ? 'refused' : 'none')
    }
  }

  /**
   * `waitedMs`: absent when it went away by itself. A request that got no answer obliges to nothing but not to be late: what it would
   * have written may be there or not, and what it would have been told, it has not been told.
   */
  #record(
    asked: AskedGuarantee,
    { way, writes }: WorkRequest,
    { start, end, body }: Answer,
    waitedMs: number | undefined,
  ): Omit<OperationRecord, 'id'> {
    const { carrier, name, user } = this.#options
    const path = `${way}, ${carrier}${user === undefined ? '' : ', user'}`
    const common = { type: 'op', session: name, start, asked, path, ...(writes && { writes }) } as const
    const late = waitedMs !== undefined && waitedMs > DEADLINE_MS
    if (body === 'none') return { ...common, status: 'unknown', ...(late && { end, deadlineMs: DEADLINE_MS }) }
    const answered = { ...common, end, deadlineMs: DEADLINE_MS }
    if (body === 'refused') return { ...answered, status: 'failed', error: 'connection refused' }
    if ('error' in body) {
      const { certain, error, possiblyLost } = body
      return { ...answered, status: certain ? 'failed' : 'unknown', error, ...(possiblyLost && { reportsLoss: true }) }
    }
    const { reads, replaced, achieved, possiblyLost } = body
    return {
      ...answered,
      status: 'ok',
      ...(reads && { reads }),
      ...(writes && { writes: writes.map(([key, value], i) => [key, value, replaced?.[i] ?? null] as const) }),
      // Of an answer that tells of a loss, it is said that it guarantees nothing. But it must show all that is not lost.
      ...(possiblyLost ? { reportsLoss: true } : achieved && { achieved }),
    }
  }
}
