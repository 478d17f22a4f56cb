/**
 * What a seed decides before anything runs: the world, which stays as it is, and the steps, any part of which can be played
 * by itself. Plain data, so that a schedule can be shrunk, compared and printed.
 */
import type { Guarantee } from '../../core/outcome.js'
import type { PresetName } from '../../core/presets.js'

export interface Schedule {
  readonly seed: number
  readonly world: World
  /** In the order of time. */
  readonly steps: readonly Step[]
  /** When the last step has come; from here on all is mended and the devices read a last time. */
  readonly endMs: number
}

export type Topology = 'physical' | 'leaderless'

export interface World {
  /** One line for people. */
  readonly summary: string
  readonly topology: Topology
  readonly nodes: readonly NodePlan[]
  readonly routers: readonly RouterPlan[]
  readonly devices: readonly DevicePlan[]
  readonly keys: readonly string[]
  /** Commits are acknowledged before they are flushed. */
  readonly asyncCommit: boolean
  /** Users' positions are kept in a store that all routers share. */
  readonly store: StorePlan | undefined
  /** The replay position includes a record at most this long after readers see it. */
  readonly positionLagMs: number
  /** Promises of this world that go beyond the sessions'. */
  readonly quorums: boolean
}

export interface NodePlan {
  readonly id: string
  readonly region: string
}

/** `raises`: it also fails to take positions, so what one router has not stored another may not know. */
export interface StorePlan {
  readonly fails: 'never' | 'gets' | 'raises'
}

export interface RouterPlan {
  readonly region: string | undefined
  /** A preset, or a ladder of its own. */
  readonly strategy: PresetName | readonly RungPlan[]
  readonly writePolicy: PolicyPlan | undefined
  readonly lostWrites: 'error' | 'reissue'
  /** How far its wall clock is off, and how fast its clocks run. */
  readonly wallOffsetMs: number
  readonly rate: number
  readonly pollIntervalMs: number
  /** It also knows an address that leads to any of the servers but the first. */
  readonly balanced: boolean
  /** The servers let it read the record of earlier timelines. */
  readonly readsHistory: boolean
}

export type RungPlan =
  | { readonly rung: 'replica'; readonly own: boolean }
  | { readonly rung: 'wait'; readonly own: boolean; readonly budgetMs: number }
  | { readonly rung: 'primary'; readonly maxInFlight: number }
  | { readonly rung: 'pinned'; readonly to: 'node' | 'region'; readonly maxShare: number }
  | { readonly rung: 'quorum' }
  | { readonly rung: 'sessionCache'; readonly ttlMs: number }
  | { readonly rung: 'stale'; readonly maxLagMs: number }
  | { readonly rung: 'notReady' }

export interface PolicyPlan {
  /** `quorum`, or where `appliedOn` waits. */
  readonly where: string
  readonly timeoutMs: number
  readonly onTimeout: 'error' | 'return'
}

export interface DevicePlan {
  readonly id: string
  /** `undefined`: nobody in particular. */
  readonly user: string | undefined
  readonly carrier: 'cookie' | 'header'
  readonly guarantee: Guarantee
}

export type Step = RequestStep | FaultStep

/** One request of a device: one session, one to three actions in it. */
export interface RequestStep {
  readonly kind: 'request'
  /** Not before this; and not before the device's last one has been answered, unless `parallel`. */
  readonly at: number
  readonly device: string
  /** It comes from a device of the same user that nobody has seen before, and never will again. */
  readonly newDevice: boolean
  readonly router: number
  readonly parallel: boolean
  readonly actions: readonly ActionPlan[]
  /** On the way to the router, and back. */
  readonly requestMs: number
  readonly responseMs: number
  readonly fate: Fate
  /** A token that is sent along and must not be believed. */
  readonly forged: 'altered' | 'cut' | 'of-another-user' | undefined
}

/** What becomes of a request on its way. A response that is doubled comes again when others have come meanwhile. */
export type Fate = 'delivered' | 'request-lost' | 'response-lost' | 'response-doubled'

export interface ActionPlan {
  readonly action: 'read' | 'write' | 'transaction' | 'snapshot' | 'cached'
  readonly keys: readonly string[]
  /** It says which scopes it touches. */
  readonly scoped: boolean
  /** Reads with the author's own cache. */
  readonly cache: boolean
  /** A write's commit is acknowledged before it is on disk. */
  readonly asyncCommit: boolean
  /** It and the next one are under way at the same time. */
  readonly withNext: boolean
  /** Overrides the router's ladder. */
  readonly ladder: readonly RungPlan[] | undefined
  /** The caller gives up after this long. */
  readonly abortMs: number | undefined
}

export interface FaultStep {
  readonly kind: 'fault'
  readonly at: number
  readonly fault: Fault
}

/** Whom a fault hits, by what it is when the fault comes: the primary, or the how-manieth of the others. */
export type Target = 'primary' | number

/** Its process dies; its host loses its power, so that nobody hears of it; or it is stopped in order. */
export type Death = 'crashes' | 'loses power' | 'stops'

/** Each mends itself after `ms`: so any part of a schedule leaves the cluster whole. */
export type Fault =
  | { readonly name: 'crash'; readonly target: Target; readonly how: Death; readonly behind: number; readonly ms: number }
  | { readonly name: 'freeze'; readonly target: Target; readonly ms: number }
  | { readonly name: 'cut'; readonly router: number; readonly target: Target; readonly oneWay: boolean; readonly ms: number }
  | { readonly name: 'cut-replication'; readonly target: Target; readonly ms: number }
  | {
      readonly name: 'slow-link'
      readonly router: number
      readonly target: Target
      readonly delayMs: number
      readonly ms: number
    }
  | { readonly name: 'slow-replication'; readonly target: Target; readonly delayMs: number; readonly ms: number }
  | { readonly name: 'delay-replay'; readonly target: Target; readonly delayMs: number; readonly ms: number }
  | { readonly name: 'pause-replay'; readonly target: Target; readonly ms: number }
  /** Messages break their connections: requests are not carried out, or are and nobody hears. */
  | {
      readonly name: 'lose-answers'
      readonly router: number
      readonly target: Target
      readonly chance: number
      readonly ms: number
    }
  | { readonly name: 'reset'; readonly router: number; readonly target: Target }
  /** At the same address, from a copy that is `ageMs` old; `ms` later it catches up, or (`detached`) hears of anybody at all. */
  | { readonly name: 'rebuild'; readonly target: Target; readonly ageMs: number; readonly detached: boolean; readonly ms: number }
  /** The primary dies, and `afterMs` later others are promoted; the old one comes back, as what it was or as a standby. */
  | {
      readonly name: 'failover'
      readonly promote: readonly number[]
      readonly afterMs: number
      readonly comesBack: 'as-primary' | 'as-standby'
      readonly ms: number
    }
  /** Another node is promoted while the primary goes on, seen by some routers only; some standbys stay with the old one. */
  | {
      readonly name: 'split'
      readonly promote: number
      readonly cutRouters: readonly number[]
      readonly loyal: readonly number[]
      readonly ms: number
    }
  | { readonly name: 'clock-jump'; readonly router: number; readonly byMs: number }
  /** The clock of a peer's host goes wrong, and is set right. */
  | {
      readonly name: 'peer-clock-jump'
      readonly target: number
      readonly byMs: number
      readonly restarts: boolean
      /** Meanwhile it and its peers do not hear of each other. */
      readonly alone: boolean
      readonly ms: number
    }
  | { readonly name: 'clock-drift'; readonly router: number; readonly rate: number; readonly ms: number }
  /** It applies what it gets so much later. */
  | { readonly name: 'join'; readonly applyDelayMs: number; readonly ms: number }
  | { readonly name: 'leave'; readonly target: number; readonly ms: number }
  | { readonly name: 'store-fails'; readonly how: 'fails' | 'hangs' | 'slow'; readonly ms: number }
  | { readonly name: 'cache-fails'; readonly how: 'fails' | 'hangs' | 'forgets'; readonly ms: number }
  | { readonly name: 'router-restart'; readonly router: number }
