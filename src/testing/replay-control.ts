/** What a replica replays: holding it up, with proof that it is held up, and telling how far it is. */
import type { AdminConnection } from './admin-connection.js'
import { parseLsn } from './last-record-end.js'
import { until } from './until.js'

/**
 * Pauses replay and waits until nothing more will be applied.
 *
 * That is so in state `paused`. It is also so while the startup process sits out the delay before a commit: it looks for a pause
 * once more between the end of the delay and applying the commit, so the state becomes `paused` only then.
 */
export async function pauseReplay(replica: AdminConnection, node: string, timeoutMs: number): Promise<void> {
  await replica.query('select pg_wal_replay_pause()')
  const held = `select pg_get_wal_replay_pause_state() = 'paused' or exists (
    select from pg_stat_activity where backend_type = 'startup' and wait_event = 'RecoveryApplyDelay') as held`
  const isHeld = async () => (await replica.query<{ held: boolean }>(held))[0]?.held === true
  await until(isHeld, { timeoutMs, describe: () => `"${node}" had paused replay` })
}

export async function resumeReplay(replica: AdminConnection): Promise<void> {
  await replica.query('select pg_wal_replay_resume()')
}

/**
 * Waits until the replay process works with a delay that is already in the reloaded configuration file.
 *
 * That our own session sees the new value does not say that the replay process does. A pause does: the process reads its
 * configuration before it reports one, and before each round of a delay. A replica that is paused already is left paused; its replay
 * process reads the configuration within a second.
 */
export async function confirmDelay(replica: AdminConnection, node: string, ms: number, timeoutMs: number): Promise<void> {
  const current = `select setting::int = $1 as loaded, pg_get_wal_replay_pause_state() <> 'not paused' as paused
    from pg_settings where name = 'recovery_min_apply_delay'`
  let paused = false
  const isLoaded = async () => {
    const [row] = await replica.query<{ loaded: boolean; paused: boolean }>(current, [ms])
    paused = row?.paused === true
    return row?.loaded === true
  }
  await until(isLoaded, { timeoutMs, describe: () => `"${node}" had read its configuration` })
  if (paused) return
  await pauseReplay(replica, node, timeoutMs)
  await resumeReplay(replica)
}

/** A place in one history of the log. */
export interface LogPosition {
  readonly lsn: bigint
  readonly timeline: number
}

/**
 * Whether a replica has applied the log up to `target`, and streams from `upstream`, which is on the target's history. The LSN alone
 * would not do: after a promotion a replica can have applied as many bytes of the old history. One that streams the target's timeline
 * from this upstream is on its history; the timeline is asked for too, since a standby goes on sending the old one for a moment after
 * it has switched itself.
 */
export async function hasReplayed(
  upstream: AdminConnection,
  replica: AdminConnection,
  name: string,
  target: LogPosition,
): Promise<boolean> {
  const [position] = await replica.query<{ lsn: string | null }>('select pg_last_wal_replay_lsn() as lsn')
  if (!position?.lsn || parseLsn(position.lsn) < target.lsn) return false
  const receiving = 'select from pg_stat_wal_receiver where received_tli = $1'
  if ((await replica.query(receiving, [target.timeline])).length === 0) return false
  const streaming = `select from pg_stat_replication where application_name = $1 and state = 'streaming'`
  return (await upstream.query(streaming, [name])).length > 0
}
