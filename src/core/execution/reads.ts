/** Runs reads wherever the router says: the order of events between choosing a node and having its answer. */
import { type Fence, NO_FENCE } from '../fence.js'
import type { Gather, Ladder, Rung } from '../ladder.js'
import type { Node, QuickKind } from '../node.js'
import { Reroute, type Served } from '../router.js'
import type { ScopeId } from '../scope.js'
import type { Session } from '../session.js'
import type { CacheEntry } from '../session-cache.js'
import { untilAborted } from '../until-aborted.js'
import type { EngineNode, Lease } from './engine.js'
import type { ExecutionContext } from './execution-context.js'
import type { Fences } from './fences.js'
import { gatherFreshest } from './gather.js'
import { rerouted } from './node-errors.js'
import { type OwnValue, ownResult, readOwn } from './own-values.js'
import { covers, enterRead, formOf, type ReadAnswer, type ReadForm, readFloor } from './read-form.js'
import { ReadsInFlight } from './reads-in-flight.js'
import { stillServes } from './still-serves.js'

export interface RouteOptions {
  /** Overrides the session's ladder for this read. */
  readonly ladder?: Ladder | undefined
  /** Ends waiting for a replica or for a connection. What has been sent is the sender's to end. */
  readonly signal?: AbortSignal | undefined
  /** Of which kind it is when it may share a connection with others. Default: it has one to itself. */
  readonly quick?: QuickKind | undefined
  /** What is read, and nothing else. Default: everything. */
  readonly scopes?: readonly ScopeId[] | undefined
}

export interface ReadOptions<R> extends RouteOptions {
  /** The read may be served from the author's own value in the session cache. For sessions only. */
  readonly own?: OwnValue<R> | undefined
}

/** Runs a read on a lease that it owns: it releases it. Throws a `Reroute` when that node could not serve it. */
export type ReadAttempt<L extends Lease, R> = (lease: L, node: Node, fence: Fence) => Promise<R>

/**
 * Sends one read as `form` says, and releases the lease when it has ended. Rejects with what it failed with, whatever that is:
 * the engine's `rerouteReasonOf` tells whether another node is to be tried.
 */
export type SendRead<L extends Lease, R> = (lease: L, node: Node, form: ReadForm) => Promise<ReadAnswer<R>>

export class Reads<L extends Lease, N extends EngineNode<L>> {
  readonly #context: ExecutionContext<L, N>
  readonly #fences: Fences<L, N>
  readonly #inFlight: ReadsInFlight<L>

  constructor(context: ExecutionContext<L, N>, fences: Fences<L, N>) {
    this.#context = context
    this.#fences = fences
    this.#inFlight = new ReadsInFlight(context.cluster, (node, lease) => context.nodes.get(node)!.cut(lease))
  }

  /** One read, down its ladder or from the author's own values. */
  read<R>(scope: Session | 'eventual', options: ReadOptions<R>, send: SendRead<L, R>): Promise<R> {
    const session = scope === 'eventual' ? undefined : scope
    const attempt: ReadAttempt<L, R> = (lease, node, fence) => this.#send(session, lease, node, fence, send)
    const { own } = options
    if (own === undefined || session === undefined) return this.#route(scope, options, attempt, resultOf)
    const fromCache = (entry: CacheEntry) => ownResult(own, entry)
    const read = (cached?: CacheEntry) => this.#route(scope, options, attempt, asServed, { cached, fromCache })
    return readOwn(session, own, options.scopes, this.#context, read, options.signal)
  }

  /** Chooses a node for a read, or for several on one lease, and runs `attempt` there. */
  route<R>(scope: Session | 'eventual', options: RouteOptions, attempt: ReadAttempt<L, R>): Promise<Served<R>> {
    return this.#route(scope, options, attempt, asServed)
  }

  #route<R, T>(
    scope: Session | 'eventual',
    options: RouteOptions,
    attempt: ReadAttempt<L, R>,
    as: (served: Served<R>) => T,
    cache?: { readonly cached: CacheEntry | undefined; readonly fromCache: (entry: CacheEntry) => R },
  ): Promise<T> {
    const session = scope === 'eventual' ? undefined : scope
    const fence = session === undefined ? NO_FENCE : this.#fences.of(session, options.scopes, options.signal)
    const walk = (fence: Fence) => this.#walk(session, fence, options, attempt, as, cache)
    // At once, unless it has to be judged: promises are the greater part of what a read costs here.
    return fence instanceof Promise ? untilAborted(fence, options.signal).then(walk) : walk(fence)
  }

  #walk<R, T>(
    session: Session | undefined,
    fence: Fence,
    options: RouteOptions,
    attempt: ReadAttempt<L, R>,
    as: (served: Served<R>) => T,
    cache: { readonly cached: CacheEntry | undefined; readonly fromCache: (entry: CacheEntry) => R } | undefined,
  ): Promise<T> {
    const { signal, quick } = options
    const request = {
      fence,
      ladder: options.ladder ?? session?.ladder ?? this.#context.ladder,
      guarantee: session?.guarantee,
      signal,
      quiet: session?.quiet,
      quick,
      cached: cache?.cached,
    }
    const attempts = {
      onNode: (node: Node, rung: Rung) => this.#attempt(node, rung, fence, attempt, quick, signal),
      gather: (step: Gather, rung: Rung) => this.#gather(step, rung, fence, attempt, signal),
      ...(cache && { fromCache: cache.fromCache }),
    }
    return this.#context.router.read(request, attempts, served => {
      if (session !== undefined) session.lastOutcome = served.outcome
      return as(served)
    })
  }

  #attempt<R>(
    node: Node,
    rung: Rung,
    fence: Fence,
    attempt: ReadAttempt<L, R>,
    quick: QuickKind | undefined,
    signal: AbortSignal | undefined,
  ): Promise<R> {
    const target = this.#context.nodes.get(node)!
    const run = (lease: L) => {
      // The picture may have changed while a connection was waited for: by this read's own check of a new connection, or by
      // another read's, which then left a connection of the node's new life in the pool.
      if (stillServes(this.#context.cluster, node, lease, rung, fence)) return attempt(lease, node, fence)
      lease.release()
      throw new Reroute('new-incarnation')
    }
    const atHand = target.take(quick)
    // At once, since most are.
    if (atHand !== undefined) return run(atHand)
    return target.acquired(quick, signal).then(run, error => {
      throw signal?.aborted ? error : rerouted(error, node, true, this.#context)
    })
  }

  /** Reads from the freshest of several nodes, on the connection that said where it is. */
  async #gather<R>(
    step: Gather,
    rung: Rung,
    fence: Fence,
    attempt: ReadAttempt<L, R>,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly result: R; readonly node: Node }> {
    // Said to be partial, it serves what it finds, and the outcome says so.
    const required = rung.fenced ? fence : NO_FENCE
    const { node, lease } = await gatherFreshest(step, required, this.#context, signal)
    node.inFlight++
    try {
      return { result: await attempt(lease, node, required), node }
    } finally {
      node.inFlight--
    }
  }

  async #send<R>(session: Session | undefined, lease: L, node: Node, fence: Fence, send: SendRead<L, R>): Promise<R> {
    const { clock, cluster } = this.#context
    // Before it is sent: what the node has applied meanwhile, the read need not have seen.
    const floor = session && readFloor(node, cluster)
    const staleMs = session && cluster.stalenessMs(node, clock.now())
    const doubts = session?.doubts ?? 0
    const form = formOf(fence, session, node.balanced, node === cluster.primary)
    const { lineage } = node
    const leave = this.#inFlight.enter(node, lease)
    try {
      const answer = await send(lease, node, form)
      if (form === 'checked' && !covers(answer.checked, fence)) throw new Reroute('not-caught-up')
      if (session !== undefined) {
        enterRead(session, { form, fence, doubts, lineage }, answer)
        session.readFrom(floor, staleMs)
      }
      return answer.result
    } catch (error) {
      throw rerouted(error, node, false, this.#context)
    } finally {
      leave()
    }
  }
}

function resultOf<R>({ result }: Served<R>): R {
  return result
}

function asServed<R>(served: Served<R>): Served<R> {
  return served
}
