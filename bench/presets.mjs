// The presets side by side: the same authors and visitors, the same servers, in turn.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { tidemark } from '../dist/engines/postgres/index.js'
import { memoryTokenStore, PRESETS, primary } from '../dist/index.js'
import { startCluster } from '../dist/testing/index.js'
import { percentile, round, spread } from './measure.mjs'
import { print } from './presets-table.mjs'

const READ = { name: 'bench_read', text: 'SELECT id, version FROM photos WHERE id = $1' }
const WRITE = { name: 'bench_write', text: 'UPDATE photos SET version = $2 WHERE id = $1 RETURNING id, version' }
const AUTHORS = 8
const LAGS_MS = [0, 100]
const REGION_DELAY_MS = 30
/** Authors come back after these, on the average. */
const PAUSES_MS = [50, 50, 100]
/** The variant that ratios are of. */
const REFERENCE = 'always the primary'

/** What is compared: how a database is configured for it, and how its reads are sent. */
const VARIANTS = {
  'any replica': { config: {}, eventual: true },
  [REFERENCE]: { config: { ladder: [primary({ maxInFlight: 1_000 })] } },
  ...Object.fromEntries(Object.keys(PRESETS).map(preset => [preset, { config: { preset } }])),
}
/** Only this one does anything with the key; the others have a replica's or the primary's rows. */
const USES_KEYS = new Set(['write-through-cache'])

export async function run({ quick, progress }) {
  const startedAt = performance.now()
  // Commits are flushed to disk, as in production.
  const cluster = await startCluster({ replicas: 2, links: true, durable: true, settings: { max_connections: '200' } })
  try {
    await cluster.query('primary', 'CREATE TABLE photos (id int PRIMARY KEY, version int NOT NULL)')
    await cluster.query('primary', 'INSERT INTO photos SELECT i, 0 FROM generate_series(0, 9999) i')
    await cluster.caughtUp()
    const sizes = quick
      ? { rounds: 2, slotMs: 400, regionRounds: 1, trials: 5 }
      : { rounds: 5, slotMs: 800, regionRounds: 3, trials: 20 }
    const { local, crossDevice } = await measureHere(cluster, sizes, progress)
    const crossRegion = await measureRegion(cluster, sizes, progress)
    const result = { authors: AUTHORS, ...sizes, local, crossDevice, crossRegion }
    return { result, table: `${print(result)}\n${Math.round((performance.now() - startedAt) / 1_000)} s in all` }
  } finally {
    await cluster.close()
  }
}

/** All in one place. */
async function measureHere(cluster, { rounds, slotMs, trials }, progress) {
  const databases = await open(cluster)
  try {
    const local = {}
    for (const lagMs of LAGS_MS) {
      await lag(cluster, lagMs)
      local[lagMs] = await inTurn(databases, { rounds, slotMs, what: `replicas ${lagMs} ms behind`, progress })
    }
    const none = await measureSecondDevice(databases, trials, 'no store', progress)
    const sharing = await open(cluster, { store: () => memoryTokenStore() })
    try {
      const memory = await measureSecondDevice(sharing, trials, 'memoryTokenStore', progress)
      const crossDevice = Object.fromEntries(
        Object.keys(VARIANTS).map(name => [name, { none: none[name], memory: memory[name] }]),
      )
      return { local, crossDevice }
    } finally {
      await close(sharing)
    }
  } finally {
    await close(databases)
    await lag(cluster, 0)
  }
}

/** This process and one replica in eu; the primary and the other replica in us, a round trip of 30 ms away. */
async function measureRegion(cluster, { regionRounds, slotMs }, progress) {
  for (const far of ['primary', 'replica-2']) await cluster.delay(far, REGION_DELAY_MS)
  const databases = await open(cluster, { regions: { primary: 'us', 'replica-1': 'eu', 'replica-2': 'us' }, region: 'eu' })
  try {
    return await inTurn(databases, { rounds: regionRounds, slotMs, what: 'primary in another region', progress })
  } finally {
    await close(databases)
    for (const far of ['primary', 'replica-2']) await cluster.heal(far)
  }
}

async function lag(cluster, ms) {
  for (const name of cluster.replicas) await cluster.lag(name, ms)
  await cluster.caughtUp()
}

/** One database a variant: a router's bounds and shares are its own. Each has rows of its own, too. */
async function open(cluster, { store, regions, region } = {}) {
  const databases = []
  for (const [name, { config, eventual = false }] of Object.entries(VARIANTS)) {
    const db = await tidemark({
      nodes: cluster.nodes.map(node => ({ name: node, url: cluster.url(node), region: regions?.[node] })),
      region,
      secret: 'a secret for benchmarks only',
      // Connections outlive the turns of the others.
      pool: { max: AUTHORS, idleTimeoutMillis: 0 },
      store: store?.(),
      ...config,
    })
    const firstRow = databases.length * 100
    const authors = Array.from({ length: AUTHORS }, (_, i) => ({
      user: `author ${firstRow + i}`,
      id: firstRow + i,
      token: undefined,
    }))
    databases.push({ name, db, eventual, options: USES_KEYS.has(name) ? { cache: 'photo' } : {}, firstRow, authors })
  }
  return databases
}

async function close(databases) {
  await Promise.all(databases.map(({ db }) => db.close()))
}

async function inTurn(databases, { rounds, slotMs, what, progress }) {
  const slots = new Map(databases.map(({ name }) => [name, []]))
  for (const database of databases) {
    progress(`${what}: warming up ${database.name}`)
    await slot(database, 1)
  }
  for (let turn = 0; turn < rounds; turn++) {
    for (let i = 0; i < databases.length; i++) {
      const database = databases[(i + turn) % databases.length]
      progress(`${what}: round ${turn + 1} of ${rounds}, ${database.name}`)
      slots.get(database.name).push(await slot(database, slotMs))
    }
  }
  return Object.fromEntries([...slots].map(([name, samples]) => [name, summary(samples, slots.get(REFERENCE))]))
}

/** All authors and their visitors, for `forMs` and until they are done. */
async function slot(database, forMs) {
  const measured = { reads: [], readBacks: [], writes: [], missed: 0, ownReads: 0, byPrimary: 0, failed: 0 }
  const count = ({ node }) => {
    if (node === 'primary') measured.byPrimary++
  }
  subscribe('tidemark:read', count)
  const end = performance.now() + forMs
  await Promise.all(database.authors.map(author => work(database, author, end, measured)))
  unsubscribe('tidemark:read', count)
  return measured
}

/**
 * One write in ten: the author writes, reads it back at once, and comes back three times; others look five times meanwhile. Each
 * operation is a request of its own: a session from the token that the one before handed out.
 */
async function work(database, author, end, measured) {
  const { id } = author
  author.version ??= await read(database, author, id)
  await sleep(Math.random() * PAUSES_MS[0])
  while (performance.now() < end) {
    const version = ++author.version
    await timed(measured, [measured.writes], () => write(database, author, id, version))
    await own(database, author, measured, [measured.reads, measured.readBacks])
    await visit(database, measured)
    await visit(database, measured)
    for (const pauseMs of PAUSES_MS) {
      await sleep(pauseMs * (0.5 + Math.random()))
      await own(database, author, measured, [measured.reads])
      await visit(database, measured)
    }
  }
}

async function own(database, author, measured, into) {
  const seen = await timed(measured, into, () => read(database, author, author.id))
  measured.ownReads++
  if (seen !== undefined && seen < author.version) measured.missed++
}

function visit(database, measured) {
  const id = database.firstRow + Math.floor(Math.random() * AUTHORS)
  return timed(measured, [measured.reads], () => read(database, {}, id))
}

async function timed(measured, into, work) {
  const startedAt = performance.now()
  try {
    const result = await work()
    const ms = performance.now() - startedAt
    for (const samples of into) samples.push(ms)
    return result
  } catch {
    measured.failed++
    return undefined
  }
}

async function write({ db, options }, client, id, version) {
  const session = db.session(client.token, { user: client.user })
  await session.query(WRITE, [id, version], options)
  client.token = session.token()
}

/** The version that was read. */
async function read({ db, eventual, options }, client, id) {
  if (eventual) return (await db.eventual.query(READ, [id])).rows[0].version
  const session = db.session(client.token, { user: client.user })
  const { rows } = await session.query(READ, [id], client.user === undefined ? {} : options)
  if (client.user !== undefined) client.token = session.token()
  return rows[0].version
}

/** A user writes, and reads at once from a device that carries nothing. */
async function measureSecondDevice(databases, trials, what, progress) {
  const results = Object.fromEntries(databases.map(({ name }) => [name, { trials, seen: 0, byPrimary: 0, readMs: [] }]))
  let byPrimary = 0
  const count = ({ node }) => {
    if (node === 'primary') byPrimary++
  }
  subscribe('tidemark:read', count)
  for (let trial = 0; trial < trials; trial++) {
    progress(`a second device, ${what}: ${trial + 1} of ${trials}`)
    for (const database of databases) {
      const result = results[database.name]
      const id = database.firstRow + 50
      const user = `traveller ${id}`
      const first = { user, token: undefined }
      const version = (await read(database, first, id)) + 1
      await write(database, first, id, version)
      byPrimary = 0
      const startedAt = performance.now()
      const seen = await read(database, { user }, id)
      result.readMs.push(performance.now() - startedAt)
      result.byPrimary += byPrimary
      if (seen >= version) result.seen++
    }
  }
  unsubscribe('tidemark:read', count)
  return Object.fromEntries(
    Object.entries(results).map(([name, { readMs, ...rest }]) => [name, { ...rest, readP50: round(percentile(readMs, 50), 2) }]),
  )
}

function summary(slots, reference) {
  const sum = key => slots.reduce((total, each) => total + each[key], 0)
  const latency = key => {
    const all = slots.flatMap(each => each[key])
    const medians = slots.map(each => percentile(each[key], 50))
    return {
      p50: round(percentile(all, 50), 2),
      p99: round(percentile(all, 99), 2),
      p50OfRounds: spread(medians),
      // Round by round, so that whatever slowed one round down is in both.
      p50ToPrimary: spread(medians.map((median, i) => median / percentile(reference[i][key], 50))),
    }
  }
  const reads = slots.reduce((total, each) => total + each.reads.length, 0)
  return {
    ownReads: sum('ownReads'),
    missed: sum('missed'),
    failed: sum('failed'),
    reads,
    primaryShare: round(sum('byPrimary') / reads, 3),
    read: latency('reads'),
    readBack: latency('readBacks'),
    write: latency('writes'),
  }
}

function sleep(ms) {
  return new Promise(resolve => setTimeout(resolve, ms))
}
