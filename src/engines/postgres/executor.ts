/**
 * Runs single statements: a read wherever the router says, anything else on the primary with its position captured.
 */
import type pg from 'pg'
import type { Cluster } from '../../core/cluster.js'
import { lineageOf } from '../../core/engine.js'
import { TidemarkError } from '../../core/errors.js'
import { publish } from '../../core/events.js'
import { type Fence, fenceOf, NO_FENCE } from '../../core/fence.js'
import type { Ladder, Rung } from '../../core/ladder.js'
import type { Monitor } from '../../core/monitor.js'
import type { Node } from '../../core/node.js'
import type { Outcome } from '../../core/outcome.js'
import type { Position } from '../../core/position.js'
import { Reroute, type Router } from '../../core/router.js'
import type { Session } from '../../core/session.js'
import { CAPTURE_QUERY, capturedPosition, enterWrite } from './capture.js'
import type { Classified, Classifier } from './classifier.js'
import { type Answer, type QueryInput, send, sendTogether } from './driver.js'
import { breaksConnection, rerouteReasonOf } from './driver-errors.js'
import { Interrupt } from './interrupt.js'
import { CHECK_QUERY, type CheckRow, identityOf, observationOf, POSITION_QUERY, type PositionRow } from './position-query.js'
import type { Lease, PostgresNode } from './postgres-node.js'
import { upperBoundOf } from './read-bound.js'

/** On whose behalf a statement runs: a session; nobody in particular, so any replica; or with no session in scope, so the primary. */
export type Scope = Session | 'eventual' | 'primary'

export interface QueryOptions {
  /** Overrides the classification (and a hint in the text): `replica` runs it as a read, `primary` on the primary. */
  readonly on?: 'primary' | 'replica' | undefined
  /** Overrides the session's ladder for this read. */
  readonly ladder?: Ladder | undefined
  /** Ends waiting, and asks the server to cancel the statement if it is running. */
  readonly signal?: AbortSignal | undefined
}

/** There is no node to write to. */
export class NoPrimaryError extends TidemarkError {
  declare readonly code: 'TIDEMARK_NO_PRIMARY'
  constructor(nodes: readonly Node[]) {
    const said = nodes.map(node => `${node.id}: ${node.problem?.reason ?? node.role ?? 'not heard of yet'}`)
    super(
      'TIDEMARK_NO_PRIMARY',
      `no primary is known, so there is nowhere to write. ${said.join('; ')}. Promote a standby or start the primary.`,
    )
  }
}

export interface ExecutorContext {
  readonly cluster: Cluster
  readonly router: Router
  readonly monitor: Monitor
  readonly classifier: Classifier
  readonly nodes: ReadonlyMap<Node, PostgresNode>
  readonly ladder: Ladder
  readonly warn: (message: string, cause?: unknown) => void
}

export class Executor {
  readonly context: ExecutorContext

  constructor(context: ExecutorContext) {
    this.context = context
  }

  classify(text: string | undefined, options?: QueryOptions): Classified {
    const classified = this.context.classifier.classify(text)
    if (options?.on === undefined || (options.on === 'replica') === classified.standby) return classified
    return { ...classified, standby: options.on === 'replica' }
  }

  /** Runs one statement outside any transaction of the caller's. */
  run(
    scope: Scope,
    input: QueryInput,
    values: readonly unknown[] | undefined,
    options: QueryOptions = {},
  ): Promise<pg.QueryResult> {
    const text = typeof input === 'string' ? input : input.text
    const classified = this.classify(text, options)
    if (scope !== 'primary' && classified.standby) return this.#read(scope, input, values, text, options)
    return this.#onPrimary(scope, input, values, classified, options)
  }

  /** Chooses a node for a read and runs `attempt` on a lease of it; `attempt` owns the lease and releases it. */
  async route<R>(
    scope: Session | 'eventual',
    options: QueryOptions,
    attempt: (lease: Lease, node: Node, fence: Fence, rung: Rung) => Promise<R>,
  ): Promise<R> {
    const session = scope === 'eventual' ? undefined : scope
    if (session?.arriving !== undefined) await session.arriving
    const { cluster, router, ladder, nodes } = this.context
    const fence = session === undefined ? NO_FENCE : fenceOf(session.history, session.guarantee, cluster)
    if (fence.kind === 'possibly-lost') {
      publish('tidemark:possibly-lost', () => ({ position: fence.position.toString(), lineage: cluster.lineage }))
    }
    const request = {
      fence,
      ladder: options.ladder ?? session?.ladder ?? ladder,
      guarantee: session?.guarantee,
      signal: options.signal,
    }
    const { result, outcome } = await router.read(request, (node, rung) => {
      const target = nodes.get(node)!
      return new Promise<R>((resolve, reject) => {
        target.acquire((error, lease) => {
          if (lease === undefined) return reject(this.#reroute(error, node, true))
          if (lease.fresh && !stillServes(cluster, node, rung, fence)) {
            lease.release()
            return reject(new Reroute('new-incarnation'))
          }
          attempt(lease, node, fence, rung).then(resolve, reject)
        })
      })
    })
    if (session !== undefined) session.lastOutcome = outcome
    return result
  }

  /** A lease of the primary. Rejects with the driver's error, or {@link NoPrimaryError}. */
  async acquirePrimary(): Promise<{ readonly lease: Lease; readonly node: Node }> {
    const { cluster, nodes } = this.context
    // Nothing has been sent yet, so looking again when a connection finds itself elsewhere repeats no write.
    for (let tries = 0; tries < 3; tries++) {
      const node = cluster.primary ?? this.#declaredPrimary()
      if (node === undefined) break
      const lease = await new Promise<Lease>((resolve, reject) => {
        nodes
          .get(node)!
          .acquire((error, granted) => (granted === undefined ? reject(this.#noted(error, node)) : resolve(granted)))
      })
      if (node === cluster.primary && lease.writes !== undefined && lease.writes === cluster.lineage) return { lease, node }
      lease.release()
    }
    this.context.monitor.nudge()
    throw new NoPrimaryError(cluster.nodes)
  }

  /** Takes note of what an error says about a node, and gives the reroute it stands for, or the error itself. */
  #reroute(error: unknown, node: Node, connecting: boolean): unknown {
    const reason = rerouteReasonOf(error, node.role === 'replica')
    this.#noted(error, node, connecting)
    // Whatever kept a connection from being had, another node may do better.
    if (reason === undefined) return connecting ? new Reroute('unreachable', error) : error
    return new Reroute(reason, error)
  }

  #noted(error: unknown, node: Node, connecting = true): unknown {
    const reason = rerouteReasonOf(error, false)
    if (reason === 'unreachable' && connecting) {
      this.context.cluster.lose(node, { reason: error instanceof Error ? error.message : String(error), cause: error })
    } else if (reason === 'unreachable') this.context.monitor.nudge()
    return error
  }

  #declaredPrimary(): Node | undefined {
    for (const [node, { spec }] of this.context.nodes) if (spec.declaredPrimary && node.role !== 'replica') return node
    return undefined
  }

  #read(
    scope: Session | 'eventual',
    input: QueryInput,
    values: readonly unknown[] | undefined,
    text: string | undefined,
    options: QueryOptions,
  ): Promise<pg.QueryResult> {
    const session = scope === 'eventual' ? undefined : scope
    return this.route(scope, options, async (lease, node, fence) => {
      const doubts = session?.doubts ?? 0
      try {
        const answers = await this.#sendRead(lease, node, fence, session, input, values, options.signal)
        if (session !== undefined) enterRead(session, answers, lease, doubts)
        return answers.result
      } catch (error) {
        const rerouted = error instanceof Reroute ? error : this.#reroute(error, node, false)
        if (rerouted instanceof Reroute && rerouted.reason === 'needs-primary' && text !== undefined) {
          this.context.classifier.rememberPrimary(text)
        }
        throw rerouted
      }
    })
  }

  /** Sends the read with whatever has to travel with it, and releases the lease. */
  #sendRead(
    lease: Lease,
    node: Node,
    fence: Fence,
    session: Session | undefined,
    input: QueryInput,
    values: readonly unknown[] | undefined,
    signal: AbortSignal | undefined,
  ): Promise<ReadAnswers> {
    const settles = fence.kind === 'primary' || fence.kind === 'possibly-lost'
    const bounds = session?.guarantee === 'monotonic-reads'
    const interrupt = Interrupt.of(signal, lease, this.context.nodes.get(node)!)
    return new Promise((resolve, reject) => {
      const done = (
        answers: Omit<ReadAnswers, 'result'>,
        error: Error | null | undefined,
        result: pg.QueryResult | undefined,
      ) => {
        finish(interrupt, lease, error, outcome =>
          outcome === undefined ? resolve({ ...answers, result: result! }) : reject(outcome),
        )
      }
      const { connection } = lease
      if (node.balanced && (fence.kind === 'at' || bounds)) {
        sendTogether(
          connection,
          [['BEGIN READ ONLY'], [CHECK_QUERY.text], [input, values], [CHECK_QUERY.text], ['COMMIT']],
          answers => {
            const failed = answers.find(answer => answer.error !== undefined)?.error
            const declined = failed === undefined && fence.kind === 'at' && !covers(answers[1], fence)
            if (!declined) return done({ bound: answers[3] }, failed, answers[2]!.result)
            finish(interrupt, lease, undefined, outcome => reject(outcome ?? new Reroute('not-caught-up')))
          },
        )
      } else if (settles) {
        sendTogether(connection, [[input, values], [CAPTURE_QUERY]], ([read, capture]) =>
          done({ capture }, read!.error, read!.result),
        )
      } else if (bounds) {
        sendTogether(connection, [[input, values], [{ ...POSITION_QUERY }]], ([read, bound]) =>
          done({ bound }, read!.error, read!.result),
        )
      } else send(connection, input, values, (error, result) => done({}, error, result))
    })
  }

  async #onPrimary(
    scope: Scope,
    input: QueryInput,
    values: readonly unknown[] | undefined,
    { statement }: Classified,
    options: QueryOptions,
  ): Promise<pg.QueryResult> {
    options.signal?.throwIfAborted()
    const { lease, node } = await this.acquirePrimary()
    const session = typeof scope === 'object' ? scope : undefined
    const interrupt = Interrupt.of(options.signal, lease, this.context.nodes.get(node)!)
    const sentAt = performance.now()
    node.inFlight++
    const answer = await new Promise<{ write: Answer; capture?: Answer | undefined }>(resolve => {
      if (session === undefined) {
        send(lease.connection, input, values, (error, result) => resolve({ write: error ? { error } : { result } }))
      } else {
        sendTogether(lease.connection, [[input, values], [CAPTURE_QUERY]], ([write, capture]) =>
          resolve({ write: write!, capture }),
        )
      }
    })
    node.inFlight--
    if (statement.changesCatalog) this.context.classifier.invalidate()
    const stored = session && this.entered(session, answer.capture, lease, node, sentAt)
    const { error } = answer.write
    if (statement.kind === 'read' && error === undefined) this.#noteRead(session, node)
    const unclean = statement.ties || (lease.connection.getTransactionStatus?.() ?? 'I') !== 'I'
    if (unclean) this.context.warn(UNOWNED_STATE)
    if (error !== undefined && breaksConnection(error)) this.#noted(error, node, false)
    if (stored !== undefined) await stored
    return new Promise((resolve, reject) => {
      const spoiled = error ?? (unclean ? new Error(UNOWNED_STATE) : undefined)
      finish(
        interrupt,
        lease,
        spoiled,
        outcome => (error === undefined ? resolve(answer.write.result!) : reject(outcome)),
        unclean,
      )
    })
  }

  /** A read that only the primary could serve has an outcome too. */
  #noteRead(session: Session | undefined, node: Node): void {
    const outcome: Outcome = {
      node: node.id,
      rung: 'primary',
      waitedMs: 0,
      guarantee: session?.guarantee ?? 'read-your-writes',
      possiblyLost: false,
      stalenessMs: 0,
      reroutes: 0,
    }
    if (session !== undefined) session.lastOutcome = outcome
    publish('tidemark:read', () => outcome)
  }

  /** Enters a captured commit into its session and tells the rest of the router. Never throws. */
  entered(session: Session, capture: Answer | undefined, lease: Lease, node: Node, sentAt: number): Promise<void> | undefined {
    const position = capturedPosition(capture, lease)
    if (position !== undefined) {
      const entry = position.entries[0]!
      this.context.cluster.primaryAt(entry.lineage, entry.offset, sentAt)
      this.context.monitor.nudge()
    }
    publish('tidemark:write', () => ({ node: node.id, position: position?.toString() }))
    return enterWrite(session, position)
  }
}

const UNOWNED_STATE =
  'a statement sent through pool.query() left a transaction or session state behind; its connection was closed. Check a client out with pool.connect() for BEGIN, SET, LISTEN and the like.'

interface ReadAnswers {
  readonly result: pg.QueryResult
  readonly capture?: Answer | undefined
  readonly bound?: Answer | undefined
}

/** Gives the connection back, once it is quiet, and calls back with the error that the caller should see. */
function finish(
  interrupt: Interrupt | undefined,
  lease: Lease,
  error: Error | null | undefined,
  callback: (error: unknown) => void,
  discard = false,
): void {
  const spoiled = discard || (error != null && breaksConnection(error)) ? error : undefined
  if (interrupt === undefined) {
    lease.release(spoiled ?? undefined)
    callback(error ?? undefined)
  } else interrupt.settle(spoiled ?? undefined, error ?? undefined, callback)
}

/** What a read has shown, and what the primary's answer settles. */
function enterRead(session: Session, answers: ReadAnswers, lease: Lease, doubts: number): void {
  if (answers.capture !== undefined) {
    const position = capturedPosition(answers.capture, lease)
    if (position !== undefined) session.settle(position, doubts)
    if (position !== undefined && session.guarantee === 'monotonic-reads') session.saw(position)
  } else if (session.guarantee === 'monotonic-reads') {
    const bound = boundOf(answers.bound, lease)
    // What it has shown cannot be bounded: only the primary is certain not to go back from there.
    if (bound === undefined) session.doubt()
    else session.saw(bound)
  }
}

function boundOf(answer: Answer | undefined, lease: Lease): Position | undefined {
  const row = answer?.result?.rows[0] as CheckRow | PositionRow | undefined
  try {
    return row && upperBoundOf(row, 'system' in row ? identityOf(row) : lease.identity)
  } catch {
    return undefined
  }
}

/** Whether the server that answered, on this very connection and before the read, has applied the fence. */
function covers(answer: Answer | undefined, fence: { readonly lineage: string; readonly offset: bigint }): boolean {
  const row = answer?.result?.rows[0] as CheckRow | undefined
  if (row === undefined) return false
  try {
    const { system, epoch, applied } = observationOf(row, identityOf(row), 0, 0)
    return epoch !== undefined && applied !== undefined && lineageOf(system, epoch) === fence.lineage && applied >= fence.offset
  } catch {
    // Unparsable is "not caught up".
    return false
  }
}

/** Whether what the router decided still holds after the node was asked anew. */
function stillServes(cluster: Cluster, node: Node, rung: Rung, fence: Fence): boolean {
  if (!node.usable) return false
  if (node === cluster.primary) return true
  if (rung.fallback) return false
  if (!rung.fenced || node.balanced || fence.kind === 'none') return node.role === 'replica'
  return fence.kind === 'at' && node.hasApplied(fence.lineage, fence.offset)
}
