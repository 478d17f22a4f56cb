import pg from 'pg'

/** Nothing that runs longer proves anything. */
const STATEMENT_TIMEOUT_MS = 500
const QUERY_TIMEOUT_MS = 10_000

/**
 * What a connection would carry on to its next user. Not seen: state of the server's that has no view (a seed), and settings with a
 * dot in their name, which appear when a language is loaded.
 */
const SESSION_STATE = `
select
  (select pg_catalog.md5(pg_catalog.string_agg(name || '=' || coalesce(setting, ''), ',' order by name))
   from pg_catalog.pg_settings where name !~ '[.]') as settings,
  pg_catalog.current_setting('fuzz.setting', true) as "a setting of one's own",
  current_user || ' ' || session_user as role,
  array(select name from pg_catalog.pg_prepared_statements order by name)::text as "prepared statements",
  array(select name from pg_catalog.pg_cursors order by name)::text as cursors,
  array(select pg_catalog.pg_listening_channels())::text as channels,
  array(select mode || ' ' || classid || ' ' || objid from pg_catalog.pg_locks
        where pid = pg_catalog.pg_backend_pid() and locktype = 'advisory' order by 1)::text as "advisory locks",
  pg_catalog.pg_my_temp_schema()::text as "temporary schema"`

/** Inside the transaction of the text, after it. */
const TRANSACTION_STATE = `
select
  pg_catalog.pg_current_xact_id_if_assigned()::text as "transaction id",
  array(select locktype || ' ' || mode from pg_catalog.pg_locks
        where pid = pg_catalog.pg_backend_pid() and mode <> 'AccessShareLock' and locktype <> 'virtualxid' order by 1)::text as locks`

export type State = Readonly<Record<string, string | null>>

/** How a server answered a text: the SQLSTATE of its error, or `undefined` when it ran. */
export interface Answer {
  readonly code: string | undefined
  readonly message: string
}

/** Runs texts on one server, and says what they have changed there. */
export class Observer {
  readonly #url: string
  /** What the data are; on a standby they are the primary's business. */
  readonly #dataQuery: string | undefined
  #client: pg.Client | undefined
  #before: State = {}

  private constructor(url: string, dataQuery: string | undefined) {
    this.#url = url
    this.#dataQuery = dataQuery
  }

  static async ofPrimary(url: string): Promise<Observer> {
    const client = await connected(url)
    try {
      return new Observer(url, await dataQuery(client))
    } finally {
      await client.end()
    }
  }

  static ofStandby(url: string): Observer {
    return new Observer(url, undefined)
  }

  /** Runs a text in a transaction of its own, and tells what that has left behind: by name, before and after. */
  async run(text: string, role: string): Promise<{ readonly answer: Answer; readonly changes: readonly string[] }> {
    const client = await this.#connected()
    try {
      return await this.#run(client, text, role)
    } catch (error) {
      // The connection broke: by the text, most likely.
      await this.close()
      throw error
    }
  }

  async #run(client: pg.Client, text: string, role: string) {
    await client.query(`begin; set local role ${role}`)
    const answer = await answerOf(client, text)
    const within = answer.code === undefined ? await stateOf(client, TRANSACTION_STATE) : {}
    await client.query(answer.code === undefined ? 'commit' : 'rollback')
    const after = await this.#state(client)
    const fresh: State = { 'transaction id': null, locks: '{}' }
    const changes = [...differences(fresh, { ...fresh, ...within }), ...differences(this.#before, after)]
    // What was left behind must not be laid to the next one's charge.
    if (changes.length > 0) await this.close()
    return { answer, changes }
  }

  async close(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(() => undefined)
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client === undefined) {
      this.#client = await connected(this.#url)
      this.#before = await this.#state(this.#client)
    }
    return this.#client
  }

  async #state(client: pg.Client): Promise<State> {
    const session = await stateOf(client, SESSION_STATE)
    return this.#dataQuery === undefined ? session : { ...session, ...(await stateOf(client, this.#dataQuery)) }
  }
}

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, query_timeout: QUERY_TIMEOUT_MS })
  // A text may end the connection; the next query tells.
  client.on('error', () => undefined)
  await client.connect()
  await client.query(
    `set statement_timeout = ${STATEMENT_TIMEOUT_MS}; set temp_file_limit = '64MB'; set search_path = public, app`,
  )
  return client
}

async function stateOf(client: pg.Client, query: string): Promise<State> {
  return (await client.query<State>(query)).rows[0]!
}

async function answerOf(client: pg.Client, text: string): Promise<Answer> {
  try {
    await client.query(text)
    return { code: undefined, message: '' }
  } catch (error) {
    if (error instanceof pg.DatabaseError) return { code: error.code ?? 'unknown', message: error.message }
    throw error
  }
}

function differences(before: State, after: State): string[] {
  return Object.keys(after)
    .filter(name => before[name] !== after[name])
    .map(name => `${name}: ${before[name]} became ${after[name]}`)
}

/**
 * One row of digests: every table's rows, every sequence's state, and the next transaction id. The last is the catch-all,
 * since nothing transactional is written without one; nobody else writes on this server.
 */
async function dataQuery(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ name: string; kind: string }>(`
    select pg_catalog.format('%I.%I', n.nspname, c.relname) as name, c.relkind as kind
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.oid >= 16384 and c.relkind in ('r', 'm', 'S') and c.relpersistence <> 't' and n.nspname !~ '^pg_toast' order by 1`)
  const columns = rows.map(({ name, kind }) =>
    kind === 'S'
      ? `(select last_value || ' ' || is_called from ${name}) as "${name}"`
      : `(select pg_catalog.md5(coalesce(pg_catalog.string_agg(t::text, ',' order by t::text), '')) from ${name} t) as "${name}"`,
  )
  return `select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text as "next transaction id", ${columns.join(', ')}`
}
