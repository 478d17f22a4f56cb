/**
 * What an error of the driver or the server means for routing. SQLSTATE codes: PostgreSQL manual, appendix A.
 */
import type { RerouteReason } from '../../core/events.js'

interface CodedError {
  readonly code?: unknown
  readonly severity?: unknown
}

const SYSTEM_ERRORS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
])

/** The server says that a standby cannot do this. */
const NEEDS_PRIMARY = new Set([
  '25006', // read_only_sql_transaction
  '0A000', // feature_not_supported: unlogged and temporary relations during recovery
  '55000', // object_not_in_prerequisite_state: functions that need a server out of recovery
])

const RECOVERY_CONFLICT = new Set([
  '40001', // serialization_failure: "canceling statement due to conflict with recovery"
  '40P01', // deadlock_detected, with the startup process
])

const UNREACHABLE = new Set([
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '57P05', // idle_session_timeout
  '3D000', // invalid_catalog_name
  '28000', // invalid_authorization_specification
  '28P01', // invalid_password
])

const BUSY = new Set([
  '53300', // too_many_connections
  '53400', // configuration_limit_exceeded
])

const TIMED_OUT = new Set([
  '57014', // query_canceled: statement_timeout, or somebody cancelled it
  '25P04', // transaction_timeout
])

/** Whether the server itself answered with this error, as opposed to the connection or the driver. */
export function isServerError(error: unknown): boolean {
  return error instanceof Error && typeof (error as CodedError).severity === 'string'
}

/** Whether the connection is of no use any more after this error. */
export function breaksConnection(error: unknown): boolean {
  return !isServerError(error) || (error as CodedError).severity === 'FATAL' || (error as CodedError).severity === 'PANIC'
}

/** Why a *read* that failed with this error may be tried on another node; `undefined`: the error is the answer. */
export function rerouteReasonOf(error: unknown, onStandby: boolean): RerouteReason | undefined {
  if (!(error instanceof Error)) return undefined
  const code = String((error as CodedError).code ?? '')
  if (isServerError(error)) {
    if (UNREACHABLE.has(code)) return 'unreachable'
    if (BUSY.has(code)) return 'busy'
    if (TIMED_OUT.has(code)) return onStandby ? 'time-out' : undefined
    if (!onStandby) return undefined
    if (NEEDS_PRIMARY.has(code)) return 'needs-primary'
    if (RECOVERY_CONFLICT.has(code)) return 'recovery-conflict'
    return undefined
  }
  if (SYSTEM_ERRORS.has(code)) return 'unreachable'
  // The driver has no codes for these.
  if (/^Connection terminated|not queryable|^Client was closed|server closed the connection/.test(error.message))
    return 'unreachable'
  if (/^timeout exceeded when trying to connect/.test(error.message)) return 'busy'
  if (/^Query read timeout/.test(error.message)) return 'time-out'
  return undefined
}
