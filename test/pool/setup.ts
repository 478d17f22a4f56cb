import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import pg from 'pg'
import { expect } from 'vitest'
import type { TidemarkConfig } from '../../src/engines/postgres/config.js'
import { type Tidemark, tidemark } from '../../src/engines/postgres/index.js'
import type { Outcome } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { until } from '../../src/testing/until.js'

export interface Setup {
  readonly cluster: Cluster
  readonly db: Tidemark
  /** A plain pool of each node, for looking behind Tidemark's back. */
  readonly plain: Readonly<Record<string, pg.Pool>>
  /** The name of the node that answers `inet_server_port()` with this. */
  nodeAt(port: number): string
  /** The node on which this queryable's next read runs. */
  nodeOf(queryable: { query(text: string): Promise<pg.QueryResult> }): Promise<string>
  /** Resolves when all of Tidemark's connections are idle: nothing is checked out behind the facade. */
  nothingLeased(): Promise<void>
  /** Rejects when a connection of Tidemark's to the primary stays in a transaction. */
  nobodyInTransaction(): Promise<void>
  terminate(processId: number): Promise<void>
  close(): Promise<void>
}

/** A cluster of a primary and two replicas, and a Tidemark on it whose nodes are called as the cluster's. */
export async function setUp(config: Partial<TidemarkConfig> = {}): Promise<Setup> {
  const cluster = await startCluster({ replicas: 2 })
  const node = (name: string) => ({ url: cluster.url(name), name })
  const db = await tidemark({
    primary: node('primary'),
    replicas: cluster.replicas.map(node),
    secret: 'only for tests, sixteen bytes and more',
    pool: { max: 5 },
    onWarning: () => {},
    ...config,
  })
  const plain = Object.fromEntries(
    cluster.nodes.map(name => [name, new pg.Pool({ connectionString: cluster.url(name), max: 5 })] as const),
  )
  const nodeAt = (port: number) => cluster.nodes.find(name => new URL(cluster.url(name)).port === String(port))!
  const leased = () => db.pool.totalCount - db.pool.idleCount + db.pool.waitingCount
  return {
    cluster,
    db,
    plain,
    nodeAt,
    nodeOf: async queryable => nodeAt((await queryable.query('select inet_server_port() as port')).rows[0].port),
    nothingLeased: () =>
      until(() => leased() === 0, { timeoutMs: 3_000, describe: () => `${leased()} leased connections came back` }),
    nobodyInTransaction: () => {
      const none = async () => {
        const open = "application_name = 'tidemark' and state like 'idle in transaction%'"
        return (await plain.primary!.query(`select from pg_stat_activity where ${open}`)).rowCount === 0
      }
      // A connection that is being closed is there for a moment; one that is kept in a pool stays longer than this.
      return until(none, { timeoutMs: 3_000, describe: () => 'no connection was left in a transaction' })
    },
    terminate: async processId => void (await plain.primary!.query('select pg_terminate_backend($1)', [processId])),
    close: async () => {
      await Promise.all(Object.values(plain).map(pool => pool.end()))
      await db.close()
      await cluster.close()
    },
  }
}

/** Tables, functions and a trigger for notes, known to all nodes. */
export async function createNotes({ cluster, db }: Setup): Promise<void> {
  await db.pool.query('create table notes (id serial primary key, text text not null unique)')
  await db.pool.query('create table parents (id int primary key)')
  await db.pool.query('create table children (parent int references parents deferrable initially deferred)')
  await db.pool.query(`
    create table slow (id int);
    create function sleep() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return null; end $$;
    create constraint trigger sleep after insert on slow deferrable initially deferred for each row execute function sleep()`)
  await db.pool.query(
    'create function add_note(note text) returns int language sql as $$ insert into notes (text) values (note) returning id $$',
  )
  await cluster.caughtUp()
  await knowsTable(db, 'notes')
}

/** Checks a client out and gives it back whatever happens. */
export async function withClient<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  try {
    return await work(client)
  } finally {
    client.release()
  }
}

/** The rows that a callback was given. */
export function called<R = unknown>(ask: (done: (error: Error, result: pg.QueryResult) => void) => void): Promise<R[]> {
  return new Promise((resolve, reject) => {
    ask((error, result) => (error ? reject(error) : resolve(result.rows as R[])))
  })
}

/** DDL is noticed a moment later: until then a new table is unknown, and read from the primary. */
export async function knowsTable(db: Tidemark, table: string): Promise<void> {
  const isReadFromReplica = async () => {
    const session = db.session()
    await session.query(`select count(*) from ${table}`)
    return session.lastOutcome?.node !== 'primary'
  }
  await until(isReadFromReplica, { timeoutMs: 10_000, describe: () => `${table} was read from a replica` })
}

/** The nodes that served the reads which Tidemark routed while `work` ran. */
export async function nodesServing(work: () => Promise<unknown>): Promise<string[]> {
  const nodes: string[] = []
  const listener = (message: unknown) => void nodes.push((message as Outcome).node)
  subscribe('tidemark:read', listener)
  try {
    await work()
  } finally {
    unsubscribe('tidemark:read', listener)
  }
  return nodes
}

/** How a library writes and reads one row. */
export interface Library<Orm> {
  /** The library on top of a pool. */
  on(pool: pg.Pool): Orm
  write(orm: Orm, key: string): Promise<unknown>
  /** Whether a read sees what was written. */
  sees(orm: Orm, key: string): Promise<boolean>
}

/**
 * Eight authors at once, each in a session of its own, write and read back at once, again and again, while the replicas
 * are half a second behind: not one read may miss its write. Read from the same replicas without Tidemark, they do miss.
 * Whoever has not written is served by the replicas, and so are the authors when those have caught up.
 */
export async function expectReadYourWrites<Orm>({ cluster, db, plain }: Setup, library: Library<Orm>): Promise<void> {
  const routed = library.on(db.pool)
  const unrouted = cluster.replicas.map(name => library.on(plain[name]!))
  await Promise.all(cluster.replicas.map(name => cluster.lag(name, 500)))

  let misses = 0
  let missesWithout = 0
  const author = async (name: number) => {
    for (let turn = 0; turn < 10; turn++) {
      const key = `author ${name}, write ${turn}`
      await library.write(routed, key)
      if (!(await library.sees(routed, key))) misses++
      if (!(await library.sees(unrouted[turn % unrouted.length]!, key))) missesWithout++
    }
  }
  const sessions = Array.from({ length: 8 }, () => db.session())
  await Promise.all(sessions.map((session, name) => session.run(() => author(name))))
  expect(misses).toBe(0)
  expect(missesWithout).toBeGreaterThan(0)

  const look = (session = db.session()) => session.run(() => library.sees(routed, 'author 0, write 0'))
  expect(new Set(await nodesServing(() => Promise.all(Array.from({ length: 20 }, () => look()))))).toEqual(
    new Set(cluster.replicas),
  )
  await Promise.all(cluster.replicas.map(name => cluster.lag(name, 0)))
  await cluster.caughtUp()
  const caughtUp = async () => {
    const nodes = await nodesServing(() => look(sessions[0]))
    return nodes.every(node => node !== 'primary')
  }
  await until(caughtUp, { timeoutMs: 10_000, describe: () => 'an author was served by a replica again' })
}
