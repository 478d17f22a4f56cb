/** The other ways to use a session: behind `db.pool`, in transactions, with monotonic reads, on another device. */
import type pg from 'pg'
import { postgresTokenStore, type Tidemark } from '../../engines/postgres/index.js'
import type { Client, Path } from '../path.js'
import type { PathContext } from './path-context.js'
import { readBy, sessionClient, type Way, writeBy } from './session-client.js'

export async function sessionPaths(context: PathContext): Promise<Path[]> {
  const { routers, scratch } = context
  const { shared } = routers
  const storing = await routers.add({ store: postgresTokenStore({ table: `${scratch.schema}.positions` }) })
  return [
    { name: 'pool facade', client: () => poolClient(shared, context) },
    { name: 'transaction read-only', client: () => transactionClient(shared, context) },
    {
      name: 'monotonic reads',
      asked: 'monotonic-reads',
      readers: true,
      client: () => sessionClient(shared.session(undefined, { guarantee: 'monotonic-reads' }), scratch),
    },
    { name: 'second device, token store', client: index => devicesClient(storing, `stored user ${index}`, context) },
    { name: 'second device, primary first', client: index => devicesClient(shared, `user ${index}`, context) },
    await reconnectPath(context),
  ]
}

/** As an ORM does it: the pool is the application's, the session is in scope. */
function poolClient(db: Tidemark, { scratch }: PathContext): Client {
  const session = db.session()
  const way: Way = { session, query: (sql, values) => session.run(() => db.pool.query(sql, [...values])) }
  return { write: (key, value) => writeBy(way, scratch, key, value), read: key => readBy(way, scratch, key) }
}

/** Writes in a transaction, reads in one that is READ ONLY and may run on a replica. */
function transactionClient(db: Tidemark, { scratch }: PathContext): Client {
  const session = db.session()
  const way = (readOnly: boolean): Way => ({
    session,
    query: (sql, values) => session.transaction(tx => tx.query(sql, values), { readOnly }),
  })
  return { write: (key, value) => writeBy(way(false), scratch, key, value), read: key => readBy(way(true), scratch, key) }
}

/** One user: what the one device writes, the other reads, which carries nothing. */
function devicesClient(db: Tidemark, user: string, { scratch }: PathContext): Client {
  let token: string | undefined
  return {
    async write(key, value) {
      const session = db.session(token, { user })
      const written = await sessionClient(session, scratch).write(key, value)
      token = session.token()
      return written
    },
    read: key => sessionClient(db.session(undefined, { user }), scratch).read(key),
  }
}

/** Between a client's write and its read, the server ends every idle connection of its router's pools. */
async function reconnectPath({ routers, scratch, raw }: PathContext): Promise<Path> {
  const applicationName = `${scratch.schema} reconnecting`
  const db = await routers.add({ pool: { application_name: applicationName } })
  const backends = new Set<number>()
  const pidOf = (client: pg.PoolClient) => (client as { readonly processID?: number }).processID ?? 0
  db.pool.on('connect', client => backends.add(pidOf(client)))
  db.pool.on('remove', client => backends.delete(pidOf(client)))
  const sql = `select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = $1 and pid = any($2) and state = 'idle' and usename = current_user`
  const cut = () => Promise.all(raw.names.map(node => raw.query(node, sql, [applicationName, [...backends]]).catch(() => [])))
  return {
    name: 'after reconnect',
    client: () => {
      const plain = sessionClient(db.session(), scratch)
      let written = false
      return {
        async write(key, value) {
          written = true
          return plain.write(key, value)
        },
        async read(key) {
          if (written) await cut()
          written = false
          return plain.read(key)
        },
      }
    },
  }
}
