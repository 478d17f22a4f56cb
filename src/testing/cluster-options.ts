import { ConfigurationError } from '../core/errors.js'

/** How long each operation of a cluster may take by default. */
export const OPERATION_TIMEOUT_MS = 30_000
/** The longest time that PostgreSQL and timers know. */
export const MAX_MS = 2_147_483_647

export interface TimeoutOption {
  /** Default: 30000. */
  readonly timeoutMs?: number | undefined
}

export interface UrlOptions {
  /** Whether to go to the server itself, past its network link. Default: false. Changes nothing without `links`. */
  readonly direct?: boolean | undefined
}

export interface PromoteOptions extends TimeoutOption {
  /** Whether the other replicas are made to follow the new primary. Default: true. */
  readonly repoint?: boolean | undefined
}

export interface AddReplicaOptions extends TimeoutOption {
  /** Whom the new replica streams from: the primary or a running replica. Default: the primary. */
  readonly from?: string | undefined
}

export function timeoutOf(options: TimeoutOption): number {
  return options.timeoutMs ?? OPERATION_TIMEOUT_MS
}

/** Throws unless `value` is a whole number in the range. */
export function checkWhole(method: string, value: number, unit: string, [least, most]: readonly [number, number]): void {
  if (Number.isInteger(value) && value >= least && value <= most) return
  throw new ConfigurationError(
    `${method}: ${value} is not a number of ${unit}; expected a whole number from ${least} to ${most}.`,
  )
}
