/**
 * Everything Tidemark has to say about itself is published on Node's `diagnostics_channel`, under the names below.
 * Publishing costs nothing when nobody has subscribed, and a subscriber that throws cannot fail a query.
 *
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel'
 * subscribe('tidemark:read', outcome => histogram.record(outcome.waitedMs))
 * ```
 */
import { channel } from 'node:diagnostics_channel'
import type { Verdict } from './ancestry.js'
import type { Outcome } from './outcome.js'
import type { TokenRejection } from './token/layout.js'

export interface Events {
  /** A read was served. One message a read. */
  'tidemark:read': Outcome
  /** A read was moved to another node, or its ladder found none. */
  'tidemark:reroute': { readonly node: string; readonly reason: RerouteReason; readonly cause?: unknown }
  /** A write was done (or its answer was lost: `position` is then undefined and the session is uncertain). */
  'tidemark:write': { readonly node: string; readonly position: string | undefined }
  /** A node became usable, or unusable for the reason given. */
  'tidemark:node': { readonly node: string; readonly usable: boolean; readonly reason?: string; readonly cause?: unknown }
  /** Another node is the primary now. */
  'tidemark:primary': { readonly node: string; readonly previous: string | undefined; readonly lineage: string }
  /** A token was refused and counts as no token. */
  'tidemark:token-rejected': { readonly reason: TokenRejection }
  /** A session's writes belong to a history that the cluster does not continue, as far as is known: possibly lost. */
  'tidemark:possibly-lost': { readonly position: string; readonly verdict: Verdict; readonly lineage: string | undefined }
  /** The acknowledgement of a write was held until its policy was reached, or in vain. */
  'tidemark:acknowledged': { readonly policy: string; readonly reached: boolean; readonly waitedMs: number }
  /** The canary wrote and read back by one path, or could not. */
  'tidemark:canary': CanaryResult
  /** Something an operator should mend. */
  'tidemark:warning': { readonly message: string; readonly cause?: unknown }
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
