// What Tidemark costs over the raw driver: same server, same pool settings, same prepared statements, interleaved.
import { Cluster } from '../dist/core/cluster.js'
import { fenceOf } from '../dist/core/fence.js'
import { Position } from '../dist/core/position.js'
import { DEFAULT_LADDER, replica, TokenCodec, wait } from '../dist/index.js'
import { fencedSession, id, pathsOf, READ, ROWS, WRITE, withBench } from './cases.mjs'
import { measureHttpExchange } from './http-exchange.mjs'
import { nanoseconds, ratios, round } from './measure.mjs'
import { measureMetrics, recordListeners } from './metrics.mjs'

const WAITING = 10_000
/** More than a codec remembers. */
const TOKENS = 3_000

export async function run({ quick, progress }) {
  recordListeners()
  return await withBench(async ({ cluster, db, raw }) => {
    const paths = await pathsOf({ db, raw })
    const measured = await measureRatios(paths, { quick, progress })
    const result = {
      ratios: { ...measured, scopedRead: await measureScopes(db, { quick, progress }) },
      metrics: await measureMetrics(db, paths.fencedRead[1], { quick, progress }),
      httpExchange: await measureHttpExchange(db, { quick, progress }),
      ns: measureDecisions(),
      parked: await measureParked(db, cluster, progress),
    }
    return { result, table: print(result) }
  })
}

async function measureRatios(paths, { quick, progress }) {
  const result = {}
  for (const [name, [baseline, work]] of Object.entries(paths)) {
    result[name] = {}
    for (const inFlight of [1, 16]) {
      const settings = { inFlight, rounds: quick ? 7 : 21, roundMs: quick ? 200 : 300, progress }
      result[name][inFlight] = (await ratios({ raw: baseline, [name]: work }, settings))[name]
    }
  }
  return result
}

/** What a scope costs: a fenced read that says its scope, of a session whose write said it, against one without scopes. */
async function measureScopes(db, { quick, progress }) {
  const scope = { scope: 'a' }
  const [plain, scoped] = [await fencedSession(db), await fencedSession(db, scope)]
  const variants = { fencedRead: () => plain.query(READ, [id()]), scopedRead: () => scoped.query(READ, [id()], scope) }
  const result = {}
  for (const inFlight of [1, 16]) {
    const settings = { inFlight, rounds: quick ? 7 : 21, roundMs: quick ? 200 : 300, progress }
    result[inFlight] = (await ratios(variants, settings)).scopedRead
  }
  return result
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
  const tokens = Array.from({ length: TOKENS }, (_, i) =>
    codec.encode({ ...history, writes: Position.at('7/1', BigInt(i)) }, { boundTo: 'user 1' }),
  )
  return {
    decide: nanoseconds(turn => {
      const fence = fenceOf(history, 'read-your-writes', cluster)
      DEFAULT_LADDER[0].step({ cluster, fence, now: 3, excluded: undefined, fallbacksInFlight: 0, turn })
    }),
    tokenEncode: nanoseconds(() => codec.encode(history, { boundTo: 'user 1' }), { batch: 5_000 }),
    tokenVerify: nanoseconds(i => codec.decode(tokens[i % TOKENS], { boundTo: 'user 1' }), { batch: 2 * TOKENS }),
    tokenAgain: nanoseconds(() => codec.decode(tokens[0], { boundTo: 'user 1' }), { batch: 5_000 }),
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

function print({ ratios: measured, metrics, httpExchange, ns, parked }) {
  const row = (name, ...cells) => `${name.padEnd(16)}${cells.map(cell => String(cell).padStart(11)).join('')}`
  const lines = ['throughput relative to the raw driver (1 = the same; higher is better), and CPU µs of this process each', '']
  lines.push(row('', 'in flight', 'median', 'min', 'max', 'CPU raw', 'CPU own', 'ratio'))
  const add = (name, inFlight, { median, min, max, cpu }) =>
    lines.push(row(name, inFlight, median, min, max, cpu.baselineUs, cpu.ownUs, cpu.ratio))
  for (const [name, byConcurrency] of Object.entries(measured)) {
    for (const [inFlight, ratio] of Object.entries(byConcurrency)) add(name, inFlight, ratio)
  }
  lines.push('scopedRead is relative to fencedRead, not to the raw driver')
  lines.push('', 'the fenced read, relative to itself with db.stats(), which is always on')
  for (const [inFlight, variants] of Object.entries(metrics)) {
    for (const [name, ratio] of Object.entries(variants)) add(name, inFlight, ratio)
  }
  lines.push('', 'CPU µs that a session adds to an HTTP request, and of the exchange alone')
  lines.push(row('', 'median', 'min', 'max', 'alone'))
  for (const [name, { median, min, max }] of Object.entries(httpExchange.added)) {
    lines.push(row(name, median, min, max, httpExchange.alone[name] ?? ''))
  }
  lines.push(
    '',
    `decide ${ns.decide} ns, token encode ${ns.tokenEncode} ns, token decode and verify ${ns.tokenVerify} ns, of one seen before ${ns.tokenAgain} ns`,
  )
  lines.push(
    `${parked.reads} reads waiting on one paused replica: ${parked.connectionsHeld} connections held, ${parked.pollers} poller, ` +
      `all served ${parked.drainMs} ms after it had caught up`,
  )
  return lines.join('\n')
}
