/**
 * Everything Tidemark has to say about itself is published on Node's `diagnostics_channel`, under the names below.
 * Publishing costs nothing when nobody has subscribed, and a subscriber that throws cannot fail a query.
 *
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel'
 * subscribe('tidemark:read', outcome => histogram.record(outcome.waitedMs))
 * ```
 */
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Verdict } from './ancestry.js'
import type { Outcome } from './outcome.js'
import type { TokenRejection } from './token/layout.js'

/** What every message says: the name of the database that it is about (`name` of its configuration). */
interface About {
  readonly db: string
}

export interface Events {
  /** A read was served. One message a read. */
  'tidemark:read': About & Outcome
  /** A read ended without an answer: no rung of its ladder served it, or there was no primary for it; or it told of a lost write. */
  'tidemark:refused': About & { readonly code: string; readonly wait?: Outcome['wait']; readonly waitedMs: number }
  /** A read was moved to another node, or its ladder found none. */
  'tidemark:reroute': About & { readonly node: string; readonly reason: RerouteReason; readonly cause?: unknown }
  /** A write was done (or its answer was lost: `position` is then undefined and the session is uncertain). */
  'tidemark:write': About & { readonly node: string; readonly position: string | undefined }
  /** A node became usable, or unusable for the reason given. */
  'tidemark:node': About & { readonly node: string; readonly usable: boolean; readonly reason?: string; readonly cause?: unknown }
  /** A node is the primary now; `previous` was it last, which may be the same one after a time without any. */
  'tidemark:primary': About & { readonly node: string; readonly previous: string | undefined; readonly lineage: string }
  /** Tokens were issued, accepted, or, beyond the first of one request, merged with it. */
  'tidemark:token': About & { readonly issued: number; readonly accepted: number; readonly merged: number }
  /** A token was refused and counts as no token. */
  'tidemark:token-rejected': About & { readonly reason: TokenRejection }
  /** A session's writes belong to a history that the cluster does not continue, as far as is known: possibly lost. */
  'tidemark:possibly-lost': About & { readonly position: string; readonly verdict: Verdict; readonly lineage: string | undefined }
  /** The acknowledgement of a write was held until its policy was reached, or in vain. */
  'tidemark:acknowledged': About & { readonly policy: string; readonly reached: boolean; readonly waitedMs: number }
  /** A read of a quorum had its answers: from how many nodes. */
  'tidemark:quorum': About & { readonly size: number }
  /**
   * What came of a read of a fenced cache, or of an author's own values (`session`): `refused` is an entry that was older than the
   * session's fence; `bypassed`: no entry could have served, or a replica that has the author's own value did.
   */
  'tidemark:cache': About & {
    readonly cache: 'fenced' | 'session'
    readonly result: 'hit' | 'miss' | 'refused' | 'failed' | 'bypassed'
  }
  /** The canary wrote and read back by one path, or could not. */
  'tidemark:canary': About & CanaryResult
  /** An objective is not met, or is again: see `errorBudget()` of tidemark/observe. */
  'tidemark:alert': About & {
    readonly name: string
    readonly state: 'firing' | 'resolved'
    readonly severity: 'page' | 'ticket'
    readonly message: string
  }
  /** Something an operator should mend. */
  'tidemark:warning': About & { readonly message: string; readonly cause?: unknown }
}

export interface CanaryResult {
  /** `ladder` is the database's own, `primary`, `replica <name>` that one alone; `write`, only when it failed, the write. */
  readonly path: string
  /** The read missed the canary's own write, and its answer claimed that it would not. */
  readonly violated: boolean
  /** Of a replica: so long after its acknowledgement the write was read there. */
  readonly lagMs?: number
  /** Milliseconds until the answer came, or the failure. */
  readonly waitedMs: number
  /** Why there was no answer, in words. Absent when there was one. */
  readonly failed?: string
}

export type RerouteReason =
  | 'new-incarnation'
  | 'not-caught-up'
  | 'unreachable'
  | 'busy'
  | 'recovery-conflict'
  | 'needs-primary'
  | 'time-out'

const channels = new Map<keyof Events, ReturnType<typeof channel>>()

function of(name: keyof Events): ReturnType<typeof channel> {
  const known = channels.get(name)
  if (known !== undefined) return known
  const created = channel(name)
  channels.set(name, created)
  return created
}

/** Publishes; `message` is only made when somebody listens. */
export function publish<K extends keyof Events>(name: K, message: () => Events[K]): void {
  const target = of(name)
  if (target.hasSubscribers) target.publish(message())
}

/** What of one database's events is listened to. */
export type Listeners = { readonly [K in keyof Events]?: (message: Events[K]) => void }

/** Listens to the events of the database of that name, until the function that comes back is called. */
export function listen(db: string, listeners: Listeners): () => void {
  const added = Object.entries(listeners).map(([name, listener]) => {
    const own = (message: unknown) => {
      if ((message as About).db === db) (listener as (message: unknown) => void)(message)
    }
    subscribe(name, own)
    return [name, own] as const
  })
  return () => {
    for (const [name, own] of added) unsubscribe(name, own)
  }
}

/** The name of a database that was given none. */
export const DEFAULT_NAME = 'default'
