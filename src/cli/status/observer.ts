import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigurationError } from '../../core/errors.js'
import { nodeSpecs, type PostgresNodeSpec } from '../../engines/postgres/config.js'
import { loadDriver } from '../../engines/postgres/driver.js'
import { type NodeStatus, type Tidemark, type TidemarkConfig, tidemark } from '../../engines/postgres/index.js'
import { UsageError } from '../errors.js'
import { type Finding, findingsOf } from './findings.js'
import { inspect } from './inspect.js'

export interface StatusReport {
  /** Whether the guarantee can be given. */
  readonly ok: boolean
  readonly nodes: readonly (NodeStatus & { readonly version: string | undefined })[]
  readonly findings: readonly Finding[]
}

/** How long a replica may take to show how far behind it is. */
const SETTLE_MS = 1_000
const SETTLE_STEP_MS = 20
const TIMEOUT_MS = 5_000

/** Looks at a cluster through a Tidemark of its own, and asks each server besides. */
export class Observer {
  readonly #config: TidemarkConfig
  readonly #specs: readonly PostgresNodeSpec[]
  readonly #signal: AbortSignal
  /** `undefined` as long as not one node can be used. */
  #db: Tidemark | undefined

  /** Throws `UsageError` for URLs that cannot be used. */
  constructor(urls: readonly string[], signal: AbortSignal) {
    this.#config = {
      nodes: urls,
      secret: randomBytes(32).toString('base64url'),
      // One that asks nothing of the servers but this may take its time.
      pollTimeoutMs: TIMEOUT_MS,
      connectTimeoutMs: TIMEOUT_MS,
      onWarning: () => {}, // The report tells.
    }
    this.#signal = signal
    try {
      this.#specs = nodeSpecs(this.#config)
    } catch (error) {
      throw error instanceof ConfigurationError ? new UsageError(error.message, { cause: error }) : error
    }
  }

  /** Nodes that fail are part of the report. */
  async report(): Promise<StatusReport> {
    const driver = await loadDriver()
    const [statuses, inspections] = await Promise.all([
      this.#statuses(),
      Promise.all(this.#specs.map(spec => inspect(spec, driver))),
    ])
    const reports = this.#specs.map((spec, index) => ({
      status: statuses.find(({ node }) => node === spec.id)!,
      inspection: inspections[index]!,
    }))
    const findings = findingsOf(reports)
    return {
      ok: !findings.some(({ severity }) => severity === 'fatal'),
      nodes: reports.map(({ status, inspection }) => ({
        ...status,
        version: 'facts' in inspection ? inspection.facts.version : undefined,
      })),
      findings,
    }
  }

  async close(): Promise<void> {
    await this.#db?.close()
  }

  async #statuses(): Promise<readonly NodeStatus[]> {
    try {
      this.#db ??= await tidemark(this.#config)
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      return this.#specs.map(({ id }) => unheard(id, error.message))
    }
    // How stale a replica is can be told once it has applied something that the primary was seen to have.
    const isOpen = ({ usable, role, stalenessMs }: NodeStatus) => usable && role === 'replica' && stalenessMs === undefined
    const deadline = performance.now() + SETTLE_MS
    while (this.#db.status().some(isOpen) && performance.now() < deadline && !this.#signal.aborted) await sleep(SETTLE_STEP_MS)
    return this.#db.status()
  }
}

function unheard(node: string, problem: string): NodeStatus {
  return {
    node,
    role: undefined,
    usable: false,
    problem,
    region: undefined,
    balanced: false,
    timeline: undefined,
    applied: undefined,
    behindBytes: undefined,
    stalenessMs: undefined,
    inFlight: 0,
    latencyMs: undefined,
  }
}
