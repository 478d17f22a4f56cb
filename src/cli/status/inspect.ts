import type pg from 'pg'
import type { PostgresNodeSpec } from '../../engines/postgres/config.js'
import type { Driver } from '../../engines/postgres/driver.js'
import { describeError } from '../errors.js'

/** What a server says about itself, as far as it concerns Tidemark. */
export interface ServerFacts {
  readonly version: string
  readonly versionNumber: number
  readonly recovering: boolean
  readonly system: string
  readonly user: string
  /** May see where the WAL receiver is. */
  readonly maySeeReceiver: boolean
  /** `undefined`: there is none, or it may not be seen. */
  readonly receiver: string | undefined
  readonly replayPaused: boolean
  /** By name; times in milliseconds, as `pg_settings` has them. */
  readonly settings: Readonly<Record<string, string>>
}

/** Why there are no facts. */
export interface InspectionFailure {
  readonly message: string
  /** A standby that refuses connections as long as it is one. */
  readonly hotStandbyOff: boolean
}

export type Inspection = { readonly facts: ServerFacts } | { readonly failure: InspectionFailure }

const TIMEOUT_MS = 5_000
/** From here on all functions and columns that are asked for exist. */
const MIN_VERSION = 100_000

const FACTS = `
select current_setting('server_version') as version,
  pg_is_in_recovery() as recovering,
  (select system_identifier::text from pg_control_system()) as system,
  current_user as "user",
  pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') as may_see,
  case when pg_is_in_recovery() then (select status from pg_stat_wal_receiver) end as receiver,
  case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end as paused,
  (select json_object_agg(name, setting) from pg_settings where name in ('synchronous_commit', 'fsync', 'full_page_writes',
    'hot_standby', 'hot_standby_feedback', 'max_standby_streaming_delay', 'recovery_min_apply_delay', 'restore_command',
    'recovery_target_timeline', 'default_transaction_read_only')) as settings`

interface FactsRow {
  readonly version: string
  readonly recovering: boolean
  readonly system: string
  readonly user: string
  readonly may_see: boolean
  readonly receiver: string | null
  readonly paused: boolean
  readonly settings: Readonly<Record<string, string>>
}

/** Asks a server on a connection of its own, as the user that Tidemark would be. Never rejects. */
export async function inspect(spec: PostgresNodeSpec, driver: Driver): Promise<Inspection> {
  const client = new driver.Client({
    ...spec.clientConfig,
    application_name: 'tidemark status',
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: TIMEOUT_MS,
  })
  client.on('error', () => {}) // What broke fails the query as well.
  try {
    await client.connect()
    return { facts: await ask(client) }
  } catch (error) {
    return { failure: { message: describeError(error), hotStandbyOff: isHotStandbyOff(error) } }
  } finally {
    client.end().catch(() => {})
  }
}

async function ask(client: pg.Client): Promise<ServerFacts> {
  const { rows: versions } = await client.query<{ number: number }>(`select current_setting('server_version_num')::int as number`)
  const versionNumber = versions[0]!.number
  if (versionNumber < MIN_VERSION) throw new Error(`PostgreSQL ${Math.floor(versionNumber / 10_000)} is too old`)
  const row = (await client.query<FactsRow>(FACTS)).rows[0]!
  return {
    version: row.version.split(' ', 1)[0]!,
    versionNumber,
    recovering: row.recovering,
    system: row.system,
    user: row.user,
    maySeeReceiver: row.may_see,
    receiver: row.receiver ?? undefined,
    replayPaused: row.paused,
    settings: row.settings,
  }
}

function isHotStandbyOff(error: unknown): boolean {
  const { code, detail } = error as { readonly code?: unknown; readonly detail?: unknown }
  return code === '57P03' && /hot standby mode is disabled/i.test(String(detail))
}
