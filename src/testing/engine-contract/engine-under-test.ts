/** What the author of an engine writes so that the contract can be held against it. */
import type { Clock } from '../../core/clock.js'
import type { Engine, EngineNode, Lease, NodeSpec } from '../../core/execution/engine.js'
import type { Executor } from '../../core/execution/executor.js'
import type { Ladder } from '../../core/ladder.js'
import type { Session } from '../../core/session.js'

/** What not every engine can do, or not every adapter. */
export interface Capabilities {
  /** `restart`: a node stops and comes back, as it was. */
  readonly restart: Capability
  /** `rebuild`: a node comes back from an older copy of itself. */
  readonly rebuild: Capability
  /** `promote` and `isolate`: another node becomes the primary. */
  readonly promotion: Capability
  /** `Engine.history` is there: the record of older histories can be read. */
  readonly history: Capability
  /** A commit may return before it is durable: `write` takes `asynchronous`. */
  readonly asynchronousCommit: Capability
  /** `toBoundary`: there are places where the primary reports a position that no record ends at. */
  readonly boundary: Capability
  /** `unsay`: a replica may not know in which history it is. */
  readonly unknownPosition: Capability
  /** `balanced`: one address leads to several servers. */
  readonly balanced: Capability
  /** `deafen` and `disconnect`: the answer to a commit can be lost. */
  readonly lostAnswer: Capability
  /** `freeze` and `thaw`: a node accepts and never answers. */
  readonly silence: Capability
  /** `connections`: servers tell how many connections they have. */
  readonly connectionCount: Capability
}

/** It can; or why not, in words. */
export type Capability = true | string

export interface EngineUnderTest<
  L extends Lease = Lease,
  S extends NodeSpec = NodeSpec,
  N extends EngineNode<L> & { readonly spec: S } = EngineNode<L> & { readonly spec: S },
> {
  readonly name: string
  readonly capabilities: Capabilities
  /** A primary and two replicas that have caught up, with nothing in them. */
  start(): Promise<ContractCluster<L, S, N>>
}

/** A real (or simulated) cluster of the engine. What belongs to a capability that is declared to be missing may be left out. */
export interface ContractCluster<
  L extends Lease = Lease,
  S extends NodeSpec = NodeSpec,
  N extends EngineNode<L> & { readonly spec: S } = EngineNode<L> & { readonly spec: S },
> {
  readonly primary: string
  readonly replicas: readonly [string, string]
  readonly engine: Engine<S, N>
  /** Whose time the engine lives in. Default: the real one. */
  readonly clock?: Clock
  /** How the node is configured; its `id` is the node's name here. */
  spec(node: string): S
  /** How a program sends through the engine. */
  client(executor: Executor<L, N>): ContractClient
  /** What somebody sees who asks that very node, past the engine. */
  show(node: string, key: string): Promise<string | undefined>
  /** On return the replica applies nothing more. */
  pause(replica: string): Promise<void>
  /** Ends a pause. Does not wait for anything to be applied. */
  resume(replica: string): Promise<void>
  /** Resolves when the replica, or each that is not paused, has applied all that was written before. */
  caughtUp(replica?: string): Promise<void>
  /** Runs something on the lease that does not end by itself. Rejects when it is cut. */
  hang(lease: L): Promise<unknown>
  /** Ends everything, also what is paused or frozen. */
  close(): Promise<void>

  restart?(node: string): Promise<void>
  /** Copies the replica, does `meanwhile`, and has it come back from the copy, paused. */
  rebuild?(replica: string, meanwhile: () => Promise<void>): Promise<void>
  /** From here on nothing of what the primary writes arrives there. */
  isolate?(replica: string): Promise<void>
  /** The replica becomes the primary, and the other replica follows it. The old primary runs on, and takes writes. */
  promote?(replica: string): Promise<void>
  /** Brings the primary's log to such a place. */
  toBoundary?(): Promise<void>
  /** From here on the replica does not know in which history it is. Until `resay`. */
  unsay?(replica: string): Promise<void>
  resay?(replica: string): Promise<void>
  /** One address for these nodes: connections go to each in turn. */
  balanced?(nodes: readonly string[]): S
  /** From here on what the node is sent arrives, and what it answers does not, on its present connections. */
  deafen?(node: string): Promise<void>
  /** Breaks the connections to the node; new ones are as they should be. */
  disconnect?(node: string): Promise<void>
  freeze?(node: string): Promise<void>
  thaw?(node: string): Promise<void>
  /** How many connections the engine has open to the node. */
  connections?(node: string): Promise<number>
}

/** Sends writes and reads of single keys, as a program that uses the engine would. */
export interface ContractClient {
  write(session: Session, key: string, value: string, options?: { readonly asynchronous?: boolean }): Promise<void>
  /** The value, or `undefined` where there is none. */
  read(scope: Session | 'eventual', key: string, options?: { readonly ladder?: Ladder }): Promise<string | undefined>
}
