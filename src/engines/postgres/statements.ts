/**
 * Runs single statements: tells reads from the rest, and has the core's executor send either where it belongs.
 */
import type pg from 'pg'
import { publish } from '../../core/events.js'
import type { Scope } from '../../core/execution/execution-context.js'
import type { Executor } from '../../core/execution/executor.js'
import type { ReadForm } from '../../core/execution/read-form.js'
import type { Sent, WritePlan } from '../../core/execution/writes.js'
import type { Node } from '../../core/node.js'
import { type ScopeId, scopeIds } from '../../core/scope.js'
import type { Session } from '../../core/session.js'
import { type Captured, capturedPosition, sendStatement } from './capture.js'
import type { Classified, Classifier } from './classifier.js'
import type { Lease } from './connections.js'
import type { Answer, QueryInput } from './driver.js'
import { rerouteReasonOf } from './driver-errors.js'
import { finished, Interrupt } from './interrupt.js'
import { ownRows } from './own-rows.js'
import type { PostgresNode } from './postgres-node.js'
import type { QueryOptions } from './query-options.js'
import { sendRead } from './read.js'
import { StatementTimes } from './read-lanes.js'
import { sendDurably } from './remote-apply.js'

/** A statement that was taken for a read must run on the primary, as a write. */
class NoRead {
  readonly reroutes: number
  constructor(reroutes: number) {
    this.reroutes = reroutes
  }
}

/** One statement, and what is known of it. */
interface Prepared {
  readonly input: QueryInput
  readonly values: readonly unknown[] | undefined
  readonly text: string | undefined
  readonly classified: Classified
  readonly options: QueryOptions
}

export interface StatementsOptions {
  readonly executor: Executor<Lease, PostgresNode>
  readonly classifier: Classifier
  /** Whether statements are scoped by the tables that they name. */
  readonly tableScopes: boolean
  readonly warn: (message: string) => void
}

export class Statements {
  readonly executor: Executor<Lease, PostgresNode>
  readonly classifier: Classifier
  readonly #tableScopes: boolean
  readonly #warn: (message: string) => void
  readonly #times = new StatementTimes()

  constructor({ executor, classifier, tableScopes, warn }: StatementsOptions) {
    this.executor = executor
    this.classifier = classifier
    this.#tableScopes = tableScopes
    this.#warn = warn
  }

  classify(text: string | undefined, options?: QueryOptions): Classified {
    const classified = this.classifier.classify(text)
    if (options?.on === undefined || (options.on === 'replica') === classified.standby) return classified
    const standby = options.on === 'replica'
    return { ...classified, standby, forced: standby }
  }

  /** Runs one statement outside any transaction of the caller's. */
  run(
    scope: Scope,
    input: QueryInput,
    values: readonly unknown[] | undefined,
    options: QueryOptions = NO_OPTIONS,
  ): Promise<pg.QueryResult> {
    const text = typeof input === 'string' ? input : input.text
    const classified = this.classify(text, options)
    const statement = { input, values, text, classified, options }
    if (scope === 'primary' || !classified.standby) return this.#onPrimary(scope, statement)
    return this.#read(scope, statement).catch((error: unknown) => {
      // It is no read after all: it leaves the ladder and runs once, as a write, with its position captured.
      if (error instanceof NoRead) return this.#onPrimary(scope, statement, error.reroutes)
      throw error
    })
  }

  /**
   * What a statement touches, as far as its author or its tables say; `undefined` is everything.
   *
   * Where tables are scopes, a scope that its author gave is one *within* its tables. Two such scopes are told apart; but a
   * statement whose author gave none may touch any of them, so the two kinds must meet: of a table T, a write with a scope
   * marks "T, in part", which only reads without a scope need; a write without one marks T, which all reads need.
   */
  scopesOf({ scopes, statement }: Classified, { scope }: QueryOptions): readonly ScopeId[] | undefined {
    const own = scopeIds(scope)
    if (!this.#tableScopes) return own
    if (scopes === undefined || scopes.length === 0) return undefined
    const inPart = scopes.map(table => `${table} in part`)
    if (statement.kind === 'read') return own === undefined ? scopeIds([...scopes, ...inPart]) : [...own, ...scopeIds(scopes)!]
    return own === undefined ? scopeIds(scopes) : [...own, ...scopeIds(inPart)!]
  }

  #read(scope: Session | 'eventual', statement: Prepared): Promise<pg.QueryResult> {
    const { text, classified, options } = statement
    const plain = text !== undefined && !mayBeCut(statement) && (scope === 'eventual' || scope.guarantee !== 'monotonic-reads')
    const read = {
      ladder: options.ladder,
      signal: options.signal,
      quick: plain ? this.#times.quick(text) : undefined,
      scopes: this.scopesOf(classified, options),
      own: ownRows(options.cache),
    }
    return this.executor.read(scope, read, (lease, node, form) => this.#sendRead(statement, lease, node, form, plain))
  }

  async #sendRead(
    { input, values, text, classified, options }: Prepared,
    lease: Lease,
    node: Node,
    form: ReadForm,
    timed: boolean,
  ) {
    const { clock, cluster, nodes } = this.executor.context
    if (classified.forced && node === cluster.primary) {
      lease.release()
      throw new NoRead(0)
    }
    const sentAt = clock.now()
    const interrupt = Interrupt.of(options.signal, lease, nodes.get(node)!)
    try {
      return await sendRead(lease, form, { input, values, interrupt })
    } catch (error) {
      if (rerouteReasonOf(error, node.role === 'replica') !== 'needs-primary') throw error
      if (text !== undefined) this.classifier.rememberPrimary(text)
      publish('tidemark:reroute', () => ({ db: cluster.name, node: node.id, reason: 'needs-primary', cause: error }))
      throw new NoRead(1)
    } finally {
      if (timed && text !== undefined) this.#times.note(text, lease.tookMs?.() ?? clock.now() - sentAt)
    }
  }

  #onPrimary(scope: Scope, statement: Prepared, reroutes = 0): Promise<pg.QueryResult> {
    const { classified, options } = statement
    const isRead = classified.statement.kind === 'read'
    const write = {
      signal: options.signal,
      writePolicy: options.writePolicy,
      // What a standby refused was said to be a read: what it writes, nobody has said.
      scopes: reroutes > 0 ? undefined : this.scopesOf(classified, options),
      isRead,
      // A function that may write makes a SELECT a write; so does a standby that has refused it.
      mayWrite: !isRead || classified.onlyReads !== true || reroutes > 0,
      reroutes,
      own: ownRows(options.cache),
    }
    return this.executor.write(scope, write, (lease, node, plan) => this.#sendWrite(statement, lease, node, plan))
  }

  #sendWrite({ input, values, classified, options }: Prepared, lease: Lease, node: Node, plan: WritePlan) {
    const { clock, nodes } = this.executor.context
    const target = nodes.get(node)!
    const interrupt = Interrupt.of(options.signal, lease, target)
    const sent = (answer: Answer, captured: Captured): Sent<pg.QueryResult> => {
      if (classified.statement.changesCatalog) this.classifier.invalidate()
      return {
        result: answer.result,
        error: answer.error,
        captured: capturedPosition(captured, lease),
        release: () => finished(interrupt, lease, answer.error, this.#isUnclean(lease, classified)),
      }
    }
    const { policy, capture } = plan
    if (!policy?.remoteApply) return sendStatement(lease, input, values, capture, sent)
    return sendDurably(lease, target, input, values, policy.timeoutMs, clock).then(({ answer, captured }) =>
      sent(answer, captured),
    )
  }

  /** Whether the statement left something behind on its connection that nobody owns. */
  #isUnclean({ connection }: Lease, { statement }: Classified): boolean {
    // After an error the server may not have said yet in which state it leaves the connection; the text tells enough.
    const inTransaction = statement.transactionAfter === 'open' || (connection.getTransactionStatus?.() ?? 'I') !== 'I'
    const unclean = inTransaction || (statement.ties && statement.kind !== 'unknown')
    if (unclean) this.#warn(UNOWNED_STATE)
    return unclean
  }
}

/** Whether it may be ended while it runs, which the driver's own time-out does by closing the connection. */
function mayBeCut({ input, options }: Prepared): boolean {
  return options.signal !== undefined || (typeof input === 'object' && 'query_timeout' in input)
}

const NO_OPTIONS: QueryOptions = Object.freeze({})

const UNOWNED_STATE =
  'a statement sent through query() left a transaction or session state behind; its connection was closed. Check a client out with pool.connect() for BEGIN, SET, LISTEN and the like.'
