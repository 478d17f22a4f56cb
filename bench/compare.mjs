// Tidemark against what an application would otherwise do: the same HTTP application, the same users, the same servers, in turn.
import { cpus } from 'node:os'
import { startCluster } from '../dist/testing/index.js'
import { AppProcess } from './compare/app-process.mjs'
import { Positions } from './compare/floor.mjs'
import { load, MIXES, USERS } from './compare/load.mjs'
import { OPTIONS } from './compare/options.mjs'
import { pgpoolMissing } from './compare/pgpool-options.mjs'
import { prismaMissing } from './compare/prisma-options.mjs'
import { print } from './compare/table.mjs'
import { percentile, round } from './measure.mjs'

export const CLIENTS = 16
export const REPLICAS = 2
const LAGS = [0, 50, 500, 'paused']
/** Where everything else is varied. */
const AT = { lagMs: 500, mix: 'read-heavy' }

/** `warmUpMs`, once for each option: V8 compiles what has run some ten thousand times, and a service is not judged by its first seconds. */
const SIZES = {
  full: { rounds: 2, slotMs: 2_500, warmUpMs: 4_000, clients: [1, 4, 16, 64], replicas: [1, 2, 3, 4] },
  quick: { rounds: 1, slotMs: 350, warmUpMs: 500, clients: [1, 16, 64], replicas: [1, 2, 4] },
}

export async function run({ quick, slotMs, progress }) {
  const base = quick ? SIZES.quick : SIZES.full
  const sizes = { ...base, slotMs: slotMs ?? base.slotMs }
  const startedAt = performance.now()
  const app = await AppProcess.start()
  const warm = new Set()
  const runs = []
  let incomplete
  try {
    for (const replicas of [REPLICAS, ...sizes.replicas.filter(each => each !== REPLICAS)]) {
      await onCluster({ app, warm }, replicas, cellsFor(replicas, sizes), sizes, progress, each => runs.push(...each))
    }
  } catch (error) {
    if (runs.length === 0) throw error
    // What has been measured is not lost for what has not.
    incomplete = String(error?.stack ?? error)
    process.exitCode = 1
  } finally {
    app.stop()
  }
  const [{ model }] = cpus()
  const result = {
    machine: {
      cpu: model,
      cores: cpus().length,
      node: process.version,
      postgres: '18 (embedded)',
      date: new Date().toISOString(),
    },
    minutes: round((performance.now() - startedAt) / 60_000, 1),
    users: USERS,
    slotMs: sizes.slotMs,
    options: OPTIONS.map(({ name, why }) => ({ name, why })),
    ...(incomplete && { incomplete }),
    leftOut: [pgpoolMissing, prismaMissing].filter(Boolean),
    runs,
  }
  return { result, table: print(result) }
}

/** What is measured on a cluster of that many replicas. */
function cellsFor(replicas, sizes) {
  const cell = over => ({ ...AT, clients: CLIENTS, ...over })
  if (replicas !== REPLICAS) return [cell()]
  const matrix = LAGS.flatMap(lagMs => Object.keys(MIXES).map(mix => cell({ lagMs, mix })))
  return [...matrix, ...sizes.clients.filter(clients => clients !== CLIENTS).map(clients => cell({ clients }))]
}

async function onCluster(shared, replicas, cells, sizes, progress, done) {
  // Without feedback a replica whose replay was paused cancels whatever reads from it when it goes on.
  const settings = { max_connections: '300', hot_standby_feedback: 'on' }
  const cluster = await startCluster({ replicas, durable: true, settings })
  const urls = {
    primary: cluster.url('primary'),
    replicas: cluster.nodes.filter(node => node !== 'primary').map(node => cluster.url(node)),
  }
  let positions
  try {
    await cluster.query('primary', 'CREATE TABLE photos (id int PRIMARY KEY, version int NOT NULL) WITH (fillfactor = 50)')
    await cluster.query('primary', `INSERT INTO photos SELECT i, 0 FROM generate_series(0, ${USERS - 1}) i`)
    await cluster.caughtUp()
    positions = await Positions.watch(urls)
    const context = { ...shared, urls, positions, versions: new Map(), primaryPort: Number(new URL(urls.primary).port) }
    for (const cell of cells) {
      await setLag(cluster, cell.lagMs)
      done(await inTurn(context, { ...cell, replicas }, sizes, progress))
      await setLag(cluster, 0)
    }
  } finally {
    await positions?.close()
    await cluster.close()
  }
}

async function setLag(cluster, lagMs) {
  const replicas = cluster.nodes.filter(node => node !== 'primary')
  await cluster.resume('replica-1')
  for (const node of replicas) await cluster.lag(node, lagMs === 'paused' ? 0 : lagMs)
  if (lagMs === 0) await cluster.caughtUp()
  if (lagMs === 'paused') await cluster.pause('replica-1')
}

async function inTurn(context, cell, sizes, progress) {
  const { rounds } = sizes
  const slots = new Map(OPTIONS.map(({ name }) => [name, []]))
  for (let turn = 0; turn < rounds; turn++) {
    for (let i = 0; i < OPTIONS.length; i++) {
      const { name } = OPTIONS[(i + turn) % OPTIONS.length]
      progress(`${cell.replicas} replicas, ${describe(cell)}, round ${turn + 1} of ${rounds}: ${name}`)
      slots.get(name).push(await slot(context, name, cell, sizes))
    }
  }
  return [...slots].map(([option, samples]) => summary(option, cell, samples))
}

function describe({ lagMs, mix, clients }) {
  return `${lagMs === 'paused' ? 'one paused' : `lag ${lagMs} ms`}, ${mix}, ${clients} clients`
}

/** An option that does not come up has failed in this slot; the others have not. */
async function slot(context, name, cell, { slotMs, warmUpMs }) {
  try {
    await context.app.ask('open', { name, urls: context.urls })
  } catch (error) {
    return { ...NOTHING, failed: 1, errors: new Set([String(error.message).slice(0, 200)]) }
  }
  const firstMs = context.warm.has(name) ? slotMs / 4 : Math.max(warmUpMs, slotMs / 4)
  context.warm.add(name)
  return measure(context, cell, slotMs, firstMs)
}

const NOTHING = { readMs: [], writeMs: [], violations: 0, elapsedMs: 1, cpuUs: 0, must: 0, byPrimary: 0 }

/** What comes in `firstMs` does not count. */
async function measure({ app, positions, versions, primaryPort }, { clients, mix }, slotMs, firstMs) {
  try {
    const work = { clients, writeShare: MIXES[mix], versions }
    await load(app.port, { ...work, forMs: firstMs })
    positions.reset()
    const before = await app.ask('cpu')
    const measured = await load(app.port, { ...work, forMs: slotMs })
    const after = await app.ask('cpu')
    const cpuUs = after.user + after.system - before.user - before.system
    // The last reads need a sample after them.
    await new Promise(resolve => setTimeout(resolve, 30))
    const must = positions.mustNotBeReplicas(measured.ownReads)
    return { ...measured, cpuUs, must, byPrimary: measured.primary.get(primaryPort) ?? 0 }
  } finally {
    await app.ask('close')
  }
}

function summary(option, { lagMs, mix, clients, replicas }, slots) {
  const sum = key => slots.reduce((total, each) => total + each[key], 0)
  const all = key => slots.flatMap(each => each[key])
  const [readMs, writeMs] = [all('readMs'), all('writeMs')]
  const requests = readMs.length + writeMs.length
  const share = count => (readMs.length === 0 ? 0 : round(count / readMs.length, 4))
  const at = (samples, percent) => (samples.length === 0 ? null : round(percentile(samples, percent), 2))
  return {
    option,
    lagMs,
    mix,
    clients,
    replicas,
    requests,
    failed: sum('failed'),
    errors: [...new Set(slots.flatMap(({ errors }) => [...errors]))].slice(0, 3),
    violationsPerMillion: round((sum('violations') / Math.max(1, readMs.length)) * 1e6, 0),
    primaryReadShare: share(sum('byPrimary')),
    floorShare: share(sum('must')),
    throughput: round((requests * 1_000) / sum('elapsedMs'), 0),
    throughputOfRounds: slots.map(each => round(((each.readMs.length + each.writeMs.length) * 1_000) / each.elapsedMs, 0)),
    readP50Ms: at(readMs, 50),
    readP95Ms: at(readMs, 95),
    readP99Ms: at(readMs, 99),
    writeP50Ms: at(writeMs, 50),
    writeP95Ms: at(writeMs, 95),
    writeP99Ms: at(writeMs, 99),
    cpuUs: round(sum('cpuUs') / Math.max(1, requests), 1),
  }
}
