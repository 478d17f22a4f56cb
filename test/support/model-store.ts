/**
 * A small replicated store, and clients that use it: one log, replicas that lag, failovers that cut the log, fences that are kept. With a
 * fault it breaks one rule and keeps the others, so it tells whether a checker blames the right one.
 */
import type { HistoryRecord, RuleName } from '../../src/testing/index.js'
import { Script } from './histories.js'

export const KEYS = ['x', 'y', 'z'] as const
export const SESSIONS = ['ada', 'bob', 'cleo'] as const
const REPLICAS = 2

/** What happens next; which parts matter depends on the fault. */
export interface Step {
  readonly action: 'write' | 'read' | 'snapshot' | 'apply' | 'fail over'
  readonly session: number
  readonly key: number
  readonly replica: number
  /** How many entries of the log a replica applies, or lags behind. */
  readonly count: number
  /** Whether this step is one of those that go wrong: by the fault, or by an answer that is lost. */
  readonly unlucky: boolean
}

/** The rule that is to be broken. */
export type Fault = Exclude<RuleName, 'bounds-kept'>

/** These are shown by snapshots whose keys lag each by itself. */
const TORN: readonly (Fault | undefined)[] = ['monotonic-writes', 'writes-follow-reads', 'atomic-visibility']

export function play(steps: readonly Step[], fault?: Fault): HistoryRecord[] {
  const store = new ModelStore(fault)
  for (const step of steps) store.step(step)
  return store.end()
}

interface Client {
  readonly name: string
  wrote: number
  seen: number
  toTell: boolean
}

type Commit = ReadonlyMap<string, string>

class ModelStore {
  readonly #script = new Script()
  readonly #fault: Fault | undefined
  readonly #clients: readonly Client[] = SESSIONS.map(name => ({ name, wrote: 0, seen: 0, toTell: false }))
  readonly #applied: number[] = Array(REPLICAS).fill(0)
  #log: Commit[] = []
  #values = 0

  constructor(fault: Fault | undefined) {
    this.#fault = fault
  }

  step(step: Step): void {
    const { action, replica } = step
    if (action === 'apply') this.#applied[replica] = Math.min(this.#log.length, this.#applied[replica]! + step.count)
    else if (action === 'fail over') this.#failOver(replica, step.unlucky)
    else if (action === 'write') this.#write(step)
    else if (TORN.includes(this.#fault) && (action === 'snapshot' || step.unlucky || this.#fault !== 'writes-follow-reads'))
      this.#torn(step)
    else this.#read(step)
  }

  end(): HistoryRecord[] {
    for (const key of KEYS) this.#script.final(key, this.#at(key, this.#log.length))
    return this.#script.records
  }

  #at(key: string, position: number): string | null {
    return (
      this.#log
        .slice(0, position)
        .findLast(commit => commit.has(key))
        ?.get(key) ?? null
    )
  }

  #write({ session, key, unlucky }: Step): void {
    const client = this.#clients[session]!
    const fault = this.#fault
    // One key of its own, or several keys but only once: then other rules have nothing to say.
    const first = fault === 'writes-follow-reads' ? session : key
    const several = fault === 'atomic-visibility' || (unlucky && !TORN.includes(fault))
    const keys = several ? [KEYS[first]!, KEYS[(first + 1) % KEYS.length]!] : [KEYS[first]!]
    const name = fault === 'atomic-visibility' ? `once ${this.#values}` : client.name
    const writes = keys.map(each => [each, `v${++this.#values}`, this.#at(each, this.#log.length)] as const)
    this.#log.push(new Map(writes.map(([each, value]) => [each, value])))
    const status = unlucky ? (fault === 'failed-writes-invisible' ? 'failed' : 'unknown') : 'ok'
    this.#script.transaction(name, { writes }, { status, ...this.#report(client) })
    if (status === 'ok') client.wrote = this.#log.length
  }

  #read({ session, action, key, replica, unlucky }: Step): void {
    const client = this.#clients[session]!
    const fault = this.#fault
    const fences = [fault === 'read-your-writes' ? 0 : client.wrote, fault === 'monotonic-reads' ? 0 : client.seen]
    // What is read on the primary is the likeliest to be missing where keys lag.
    const applied = fault === 'writes-follow-reads' ? this.#log.length : this.#applied[replica]!
    const position = Math.max(applied, ...fences)
    const keys = action === 'snapshot' ? KEYS : [KEYS[key]!]
    const reads = keys.map(each => [each, this.#at(each, position)] as const)
    if (unlucky && this.#misread(client, KEYS[key]!)) return
    const slow = unlucky && fault === 'deadlines-kept'
    const extra = { deadlineMs: slow ? 0.5 : 1, ...this.#report(client) }
    this.#script.snapshot(client.name, reads, extra)
    client.seen = Math.max(client.seen, position)
  }

  /** Reads without any guarantee that show what they must not. Whether the fault is of that kind. */
  #misread(client: Client, key: string): boolean {
    const latest = this.#at(key, this.#log.length)
    const read = (value: string | null, extra = {}, session = 'observer') => {
      this.#script.snapshot(session, [[key, value]], { asked: 'eventual', ...extra })
      return true
    }
    const { length } = this.#script.records
    if (this.#fault === 'no-silent-downgrade') return read(null, { asked: 'read-your-writes', achieved: 'eventual' })
    if (this.#fault === 'no-value-from-nowhere') return read('garbage')
    if (this.#fault === 'no-value-of-another-key') return read(this.#at(KEYS.find(other => other !== key)!, this.#log.length))
    if (this.#fault === 'no-read-from-the-future') return read(latest, { start: -2, end: -1 })
    if (this.#fault === 'own-cache-isolated') return read(latest, { fromOwnCache: true }, `${client.name} ${length}`)
    return false
  }

  #torn({ count, key, replica }: Step): void {
    const reads = KEYS.map((each, index) => {
      const lag = (count + index * key + replica) % 6
      return [each, this.#at(each, Math.max(0, this.#log.length - lag))] as const
    })
    this.#script.snapshot('observer', reads, { asked: 'eventual' })
  }

  /** The replica becomes the primary; what it has not applied is lost, and who wrote or read that is told with the next answer. */
  #failOver(replica: number, unlucky: boolean): void {
    // What was lost would hide tearing, and stale reads before it look as if one had looked again after it.
    if (!unlucky || TORN.includes(this.#fault) || this.#fault === 'read-your-writes') return
    const end = this.#applied[replica]!
    this.#log = this.#log.slice(0, end)
    for (const [other, applied] of this.#applied.entries()) this.#applied[other] = Math.min(applied, end)
    for (const client of this.#clients) {
      if (Math.max(client.wrote, client.seen) > end) client.toTell = true
      client.wrote = Math.min(client.wrote, end)
      client.seen = Math.min(client.seen, end)
    }
  }

  #report(client: Client): { readonly reportsLoss?: boolean } {
    if (!client.toTell || this.#fault === 'lost-writes-reported') return {}
    client.toTell = false
    return { reportsLoss: true }
  }
}
