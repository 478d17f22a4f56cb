// The paths whose cost over the raw driver is measured (overhead.mjs) and looked into (profile.mjs): each as a pair, the raw
// driver's way and ours, with the same server, pool settings and prepared statements.
import pg from 'pg'
import { tidemark } from '../dist/engines/postgres/index.js'
import { startCluster } from '../dist/testing/index.js'

export const POOL = { max: 16, pipeline: true }
export const READ = { name: 'bench_read', text: 'SELECT id, author, caption FROM photos WHERE id = $1' }
export const WRITE = { name: 'bench_write', text: 'UPDATE photos SET caption = $2 WHERE id = $1' }
export const ROWS = 1_000

let turn = 0
/** The next row, in turn. */
export const id = () => (turn++ % ROWS) + 1

/** A cluster with a table, a database on it that knows the table, and raw pools; calls `use` with all of them. */
export async function withBench(use) {
  // As in production, commits are flushed to disk.
  const cluster = await startCluster({ replicas: 2, durable: true })
  const names = ['primary', ...cluster.replicas]
  const db = await tidemark({
    nodes: names.map(name => ({ name, url: cluster.url(name) })),
    pool: POOL,
    secret: 'a secret for benchmarks only',
  })
  const raw = Object.fromEntries(names.map(name => [name, new pg.Pool({ ...POOL, connectionString: cluster.url(name) })]))
  try {
    await cluster.query('primary', 'CREATE TABLE photos (id int PRIMARY KEY, author text, caption text)')
    await cluster.query('primary', `INSERT INTO photos SELECT i, 'author ' || i, 'caption' FROM generate_series(1, ${ROWS}) i`)
    await fencedSession(db)
    return await use({ cluster, db, raw })
  } finally {
    await Promise.all(Object.values(raw).map(pool => pool.end()))
    await db.close()
    await cluster.close()
  }
}

/** A session that has written, once a replica serves its reads: the catalog's snapshot knows the table by then. */
export async function fencedSession(db, options) {
  const session = db.session()
  await session.query(WRITE, [1, 'fence'], options)
  for (;;) {
    await session.query(READ, [1], options)
    if (session.lastOutcome?.node !== 'primary') return session
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

/** `{ name: [the raw driver's way, ours] }`. */
export async function pathsOf({ db, raw }) {
  const replicas = Object.keys(raw)
    .filter(name => name !== 'primary')
    .map(name => raw[name])
  const session = await fencedSession(db)
  const rawRead = () => replicas[turn % replicas.length].query(READ, [id()])
  return {
    fencedRead: [rawRead, () => session.query(READ, [id()])],
    unfencedRead: [rawRead, () => db.eventual.query(READ, [id()])],
    write: [() => raw.primary.query(WRITE, [id(), 'raw']), () => db.session().query(WRITE, [id(), 'tidemark'])],
    // The floor of a write with capture: the raw driver, with the same question pipelined behind the write.
    capturedWrite: [() => rawCapturedWrite(raw.primary, id()), () => db.session().query(WRITE, [id(), 'tidemark'])],
    transaction: [
      () => rawTransaction(raw.primary, id()),
      () => db.session().transaction(tx => tx.query(WRITE, [id(), 'tidemark'])),
    ],
  }
}

const CAPTURE = { name: 'bench_capture', text: 'SELECT pg_current_wal_insert_lsn()', rowMode: 'array' }

async function rawCapturedWrite(pool, id) {
  const client = await pool.connect()
  try {
    const { stream } = client.connection
    stream.cork()
    const answers = [client.query(WRITE, [id, 'raw']), client.query(CAPTURE)]
    stream.uncork()
    await Promise.all(answers)
  } finally {
    client.release()
  }
}

async function rawTransaction(pool, id) {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query(WRITE, [id, 'raw'])
    await client.query('COMMIT')
  } finally {
    client.release()
  }
}
