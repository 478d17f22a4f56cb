import { TidemarkError } from '../core/errors.js'

/** A PostgreSQL server of the test cluster did not start, or `initdb` failed. The end of its log is in the message. */
export class ClusterStartError extends TidemarkError {
  declare readonly code: 'TIDEMARK_CLUSTER_START'
  /** The node that did not start. */
  readonly node: string
  /** The end of what the server (or `initdb`) printed. */
  readonly log: string
  constructor(node: string, problem: string, log: string, options?: ErrorOptions) {
    super('TIDEMARK_CLUSTER_START', `The test server "${node}" ${problem}. Its log ends with:\n${log || '(nothing)'}`, options)
    this.node = node
    this.log = log
  }
}

/** Something that the test cluster was asked to wait for did not happen within its deadline. */
export class ClusterTimeoutError extends TidemarkError {
  declare readonly code: 'TIDEMARK_CLUSTER_TIMEOUT'
  readonly waitedMs: number
  constructor(waitedFor: string, waitedMs: number, options?: ErrorOptions) {
    super('TIDEMARK_CLUSTER_TIMEOUT', `Waited ${Math.round(waitedMs)} ms in vain until ${waitedFor}.`, options)
    this.waitedMs = waitedMs
  }
}
