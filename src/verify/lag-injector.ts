/**
 * Makes replicas of a running cluster lag, and puts everything back. Two things are changed, each by the server's own means: the
 * setting `recovery_min_apply_delay`, by ALTER SYSTEM and a reload; and replay, which is paused and resumed.
 */
import type pg from 'pg'
import type { Driver } from '../engines/postgres/driver.js'
import { confirmDelay, pauseReplay, resumeReplay } from '../testing/replay-control.js'
import { despiteConflicts } from './despite-conflicts.js'
import { VerifyError } from './errors.js'
import type { LagControl, VerifiedNode } from './target.js'

const TIMEOUT_MS = 15_000

/** A replica, and how it was before. */
interface Replica {
  readonly name: string
  readonly url: string
  /** Replay was paused already. It is left so. */
  readonly paused: boolean
  /** As ALTER SYSTEM had set it; `undefined`: it had not. */
  readonly setByAlterSystem: string | undefined
  touched: boolean
}

interface StateRow {
  readonly user: string
  readonly recovering: boolean
  readonly paused: boolean | null
  readonly may_pause: boolean
  readonly may_set: boolean
  readonly setting: string
  readonly unit: string
  readonly auto: boolean
}

/** A setting that may be altered by a user who is no superuser exists from 15 on. */
const MAY_SET = `case when current_setting('server_version_num')::int >= 150000
  then has_parameter_privilege('recovery_min_apply_delay', 'alter system') else usesuper end`
const FUNCTIONS = ['pg_wal_replay_pause()', 'pg_wal_replay_resume()', 'pg_reload_conf()']
const STATE = `select current_user::text as user, pg_is_in_recovery() as recovering,
  case when pg_is_in_recovery() then pg_get_wal_replay_pause_state() <> 'not paused' end as paused,
  ${FUNCTIONS.map(each => `has_function_privilege('${each}', 'execute')`).join(' and ')} as may_pause,
  SET as may_set, setting, coalesce(unit, '') as unit, coalesce(sourcefile, '') like '%postgresql.auto.conf' as auto
  from pg_settings, pg_user where name = 'recovery_min_apply_delay' and usename = current_user`

export class LagInjector implements LagControl {
  readonly #driver: Driver
  readonly #replicas: readonly Replica[]

  /** Remembers how the replicas are. Throws {@link VerifyError} when one of them may not be changed; nothing has been changed then. */
  static async open(nodes: readonly VerifiedNode[], driver: Driver): Promise<LagInjector> {
    const replicas: Replica[] = []
    for (const node of nodes) {
      const replica = await connected(node.url, driver, client => stateOf(client, node))
      if (replica !== undefined) replicas.push(replica)
    }
    return new LagInjector(replicas, driver)
  }

  private constructor(replicas: readonly Replica[], driver: Driver) {
    this.#replicas = replicas
    this.#driver = driver
  }

  async delay(node: string, ms: number): Promise<void> {
    await this.#change(node, client => setDelay(client, node, `'${ms}ms'`, ms))
  }

  async pause(node: string): Promise<void> {
    await this.#change(node, client => pauseReplay(adminOf(client), node, TIMEOUT_MS))
  }

  async resume(node: string): Promise<void> {
    await this.#change(node, client => resumeReplay(adminOf(client)))
  }

  get changed(): readonly string[] {
    return this.#replicas
      .filter(({ touched }) => touched)
      .map(({ name, setByAlterSystem: before }) => {
        return `${name}: replay was paused and resumed, and recovery_min_apply_delay set (${before === undefined ? 'before: not by ALTER SYSTEM' : `before: ${before}`})`
      })
  }

  /** Puts back what was changed. Throws {@link VerifyError} with the statements to run when it cannot. */
  async close(): Promise<void> {
    const problems = await Promise.all(this.#replicas.filter(({ touched }) => touched).map(each => this.#restore(each)))
    const left = problems.filter(problem => problem !== undefined)
    if (left.length > 0) throw new VerifyError(left.join(' '))
  }

  async #change(node: string, action: (client: pg.Client) => Promise<void>): Promise<void> {
    const replica = this.#replicas.find(({ name }) => name === node)
    // A pause that was there before stays, and holds up more than any delay of ours.
    if (replica === undefined || replica.paused) return
    replica.touched = true
    await connected(replica.url, this.#driver, action)
  }

  async #restore(replica: Replica): Promise<string | undefined> {
    const before = replica.setByAlterSystem
    try {
      await connected(replica.url, this.#driver, async client => {
        // First of all, and also when the rest fails. A replica that was promoted meanwhile has nothing to resume.
        const { rows } = await client.query<{ standby: boolean }>('select pg_is_in_recovery() as standby')
        if (rows[0]!.standby) await resumeReplay(adminOf(client))
        await client.query(alterSystem(before))
        await client.query('select pg_reload_conf()')
      })
      return undefined
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      return (
        `${replica.name} could not be put back as it was (${reason}). Run there, as a user who may: ` +
        `SELECT pg_wal_replay_resume(); ${alterSystem(before)}; SELECT pg_reload_conf();`
      )
    }
  }
}

function alterSystem(value: string | undefined): string {
  return value === undefined
    ? 'ALTER SYSTEM RESET recovery_min_apply_delay'
    : `ALTER SYSTEM SET recovery_min_apply_delay = ${value}`
}

async function setDelay(client: pg.Client, node: string, value: string, ms: number): Promise<void> {
  await client.query(alterSystem(value))
  await client.query('select pg_reload_conf()')
  await confirmDelay(adminOf(client), node, ms, TIMEOUT_MS)
}

/** `undefined`: it is the primary. */
async function stateOf(client: pg.Client, { name, url }: VerifiedNode): Promise<Replica | undefined> {
  const row = (await client.query<StateRow>(STATE.replace('SET', MAY_SET))).rows[0]!
  if (!row.recovering) return undefined
  if (!row.may_pause || !row.may_set) {
    const user = `"${row.user}"`
    throw new VerifyError(
      `--inject: the user ${row.user} may not make ${name} lag. Run on the primary, as a superuser: ` +
        `GRANT EXECUTE ON FUNCTION ${FUNCTIONS.join(', ')} TO ${user}; ` +
        `GRANT ALTER SYSTEM ON PARAMETER recovery_min_apply_delay TO ${user}; (before PostgreSQL 15 it takes a superuser). ` +
        'Or leave out --inject: the lag that is there is used then.',
    )
  }
  const setByAlterSystem = row.auto ? `'${row.setting}${row.unit}'` : undefined
  return { name, url, paused: row.paused === true, setByAlterSystem, touched: false }
}

function adminOf(client: pg.Client) {
  return {
    query: async <Row extends object>(sql: string, values: readonly unknown[] = []) =>
      (await client.query(sql, [...values])).rows as Row[],
  }
}

/** On a connection of its own: it holds none while nothing is to be changed. What is done here can be done again. */
function connected<R>(url: string, driver: Driver, action: (client: pg.Client) => Promise<R>): Promise<R> {
  return despiteConflicts(() => connectedOnce(url, driver, action))
}

async function connectedOnce<R>(url: string, driver: Driver, action: (client: pg.Client) => Promise<R>): Promise<R> {
  const client = new driver.Client({
    connectionString: url,
    application_name: 'tidemark verify',
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: TIMEOUT_MS,
  })
  client.on('error', () => {}) // What broke fails the query as well.
  try {
    await client.connect()
    return await action(client)
  } finally {
    client.end().catch(() => {})
  }
}
