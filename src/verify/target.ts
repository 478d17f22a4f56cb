/** What is verified: a cluster, and what may be done to it. */
export interface VerifiedNode {
  /** As outcomes name it. */
  readonly name: string
  readonly url: string
}

export interface Target {
  /** The primary first, as far as is known. */
  readonly nodes: readonly VerifiedNode[]
  /** An address in front of the replicas. `undefined`: there is none to verify. */
  readonly balancedUrl: string | undefined
  /** `undefined`: the lag that is there. */
  readonly lag: LagControl | undefined
  /** Kills the primary and promotes a replica. `undefined`: not to be done here. */
  readonly failOver: (() => Promise<void>) | undefined
  /** What was changed so far of what is not ours, in words; `close` puts it back. */
  readonly changed: readonly string[]
  /** Undoes all that was changed, and ends what was started. Throws when something stays changed, and says what. */
  close(): Promise<void>
}

/** Makes replicas lag. Each method resolves when what was asked for is in force. */
export interface LagControl {
  /** Each commit is applied so many milliseconds after the primary made it. */
  delay(node: string, ms: number): Promise<void>
  /** Nothing is applied. */
  pause(node: string): Promise<void>
  resume(node: string): Promise<void>
}
