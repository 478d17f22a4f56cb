// What Tidemark costs over the raw driver: same server, same pool settings, same prepared statements, interleaved.
import pg from 'pg'
import { Cluster } from '../dist/core/cluster.js'
import { fenceOf } from '../dist/core/fence.js'
import { Position } from '../dist/core/position.js'
import { tidemark } from '../dist/engines/postgres/index.js'
import { DEFAULT_LADDER, replica, TokenCodec, wait } from '../dist/index.js'
import { startCluster } from '../dist/testing/index.js'
import { nanoseconds, ratios, round } from './measure.mjs'

const POOL = { max: 16, pipeline: true }
const READ = { name: 'bench_read', text: 'SELECT id, author, caption FROM photos WHERE id = $1' }
const WRITE = { name: 'bench_write', text: 'UPDATE photos SET caption = $2 WHERE id = $1' }
const ROWS = 1_000
const WAITING = 10_000

export async function run({ quick, progress }) {
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
    await untilKnown(db)
    const result = {
      ratios: await measureRatios(db, raw, { quick, progress }),
      ns: measureDecisions(),
      parked: await measureParked(db, cluster, progress),
    }
    return { result, table: print(result) }
  } finally {
    await Promise.all(Object.values(raw).map(pool => pool.end()))
    await db.close()
    await cluster.close()
  }
}

/** The catalog snapshot knows the new table once a read of it is served by a replica. */
async function untilKnown(db) {
  const session = db.session()
  await session.query(WRITE, [1, 'known'])
  for (;;) {
    await session.query(READ, [1])
    if (session.lastOutcome?.node !== 'primary') return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

async function measureRatios(db, raw, { quick, progress }) {
  const replicas = Object.keys(raw)
    .filter(name => name !== 'primary')
    .map(name => raw[name])
  const session = db.session()
  await session.query(WRITE, [1, 'fence'])
  await session.query(READ, [1])
  let turn = 0
  const id = () => (turn++ % ROWS) + 1
  const cases = {
    fencedRead: [() => replicas[turn % replicas.length].query(READ, [id()]), () => session.query(READ, [id()])],
    unfencedRead: [() => replicas[turn % replicas.length].query(READ, [id()]), () => db.eventual.query(READ, [id()])],
    write: [() => raw.primary.query(WRITE, [id(), 'raw']), () => db.session().query(WRITE, [id(), 'tidemark'])],
    transaction: [
      () => rawTransaction(raw.primary, id()),
      () => db.session().transaction(tx => tx.query(WRITE, [id(), 'tidemark'])),
    ],
  }
  const result = {}
  for (const [name, [baseline, work]] of Object.entries(cases)) {
    result[name] = {}
    for (const inFlight of [1, 16]) {
      const settings = { inFlight, rounds: quick ? 7 : 21, roundMs: quick ? 200 : 300, progress }
      result[name][inFlight] = (await ratios({ raw: baseline, [name]: work }, settings))[name]
    }
  }
  return { ...result, scopedRead: await measureScopes(db, { quick, progress }) }
}

/** What a scope costs: a fenced read that says its scope, of a session whose write said it, against one without scopes. */
async function measureScopes(db, { quick, progress }) {
  const scope = { scope: 'a' }
  const [plain, scoped] = [db.session(), db.session()]
  await plain.query(WRITE, [1, 'fence'])
  await scoped.query(WRITE, [1, 'fence'], scope)
  for (const [session, options] of [[plain], [scoped, scope]]) {
    do await session.query(READ, [1], options)
    while (session.lastOutcome?.node === 'primary')
  }
  let turn = 0
  const id = () => (turn++ % ROWS) + 1
  const variants = { fencedRead: () => plain.query(READ, [id()]), scopedRead: () => scoped.query(READ, [id()], scope) }
  const result = {}
  for (const inFlight of [1, 16]) {
    const settings = { inFlight, rounds: quick ? 7 : 21, roundMs: quick ? 200 : 300, progress }
    result[inFlight] = (await ratios(variants, settings)).scopedRead
  }
  return result
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

function measureDecisions() {
  const cluster = new Cluster(['a', 'b', 'c', 'd'].map(id => ({ id })))
  cluster.nodes.forEach((node, i) => {
    cluster.observe(node, {
      sentAt: 1,
      receivedAt: 2,
      role: i === 0 ? 'primary' : 'replica',
      system: '7',
      epoch: 1,
      incarnation: node.id,
      applied: 1000n,
    })
  })
  const history = { writes: Position.at('7/1', 900n), reads: Position.zero, uncertain: false }
  const codec = new TokenCodec({ secret: 'a secret for benchmarks only' })
  const token = codec.encode(history, { boundTo: 'user 1' })
  return {
    decide: nanoseconds(turn => {
      const fence = fenceOf(history, 'read-your-writes', cluster)
      DEFAULT_LADDER[0].step({ cluster, fence, now: 3, excluded: undefined, fallbacksInFlight: 0, turn })
    }),
    tokenEncode: nanoseconds(() => codec.encode(history, { boundTo: 'user 1' }), { batch: 5_000 }),
    tokenVerify: nanoseconds(() => codec.decode(token, { boundTo: 'user 1' }), { batch: 5_000 }),
  }
}

/** Ten thousand reads wait on one paused replica; then it resumes. */
async function measureParked(db, cluster, progress) {
  const [waitedFor, other] = cluster.replicas
  await cluster.stop(other)
  await cluster.pause(waitedFor)
  const session = db.session(undefined, { ladder: [replica(), wait({ budgetMs: 120_000 })] })
  await session.query(WRITE, [1, 'parked'])
  let served = 0
  const reads = Array.from({ length: WAITING }, (_, i) => session.query(READ, [(i % ROWS) + 1]).then(() => served++))
  progress(`${WAITING} reads wait on a paused replica`)
  await new Promise(resolve => setTimeout(resolve, 1_000))
  const held = db.pool.totalCount - db.pool.idleCount
  const asking = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'tidemark' AND query LIKE '%received_tli%'`
  const pollers = (await cluster.query(waitedFor, asking))[0].n
  if (served !== 0) throw new Error(`${served} reads were served while the replica was paused`)
  await cluster.resume(waitedFor)
  await cluster.caughtUp(waitedFor)
  const caughtUpAt = performance.now()
  await Promise.all(reads)
  const drainMs = round(performance.now() - caughtUpAt, 1)
  await cluster.start(other)
  return { reads: WAITING, connectionsHeld: held, pollers, drainMs }
}

function print({ ratios: measured, ns, parked }) {
  const lines = ['throughput relative to the raw driver (1 = the same; higher is better)', '']
  lines.push(`${''.padEnd(16)}${['in flight', 'median', 'min', 'max'].map(text => text.padStart(11)).join('')}`)
  for (const [name, byConcurrency] of Object.entries(measured)) {
    for (const [inFlight, { median, min, max }] of Object.entries(byConcurrency)) {
      lines.push(`${name.padEnd(16)}${[inFlight, median, min, max].map(value => String(value).padStart(11)).join('')}`)
    }
  }
  lines.push('scopedRead is relative to fencedRead, not to the raw driver')
  lines.push('', `decide ${ns.decide} ns, token encode ${ns.tokenEncode} ns, token decode and verify ${ns.tokenVerify} ns`)
  lines.push(
    `${parked.reads} reads waiting on one paused replica: ${parked.connectionsHeld} connections held, ${parked.pollers} poller, ` +
      `all served ${parked.drainMs} ms after it had caught up`,
  )
  return lines.join('\n')
}
