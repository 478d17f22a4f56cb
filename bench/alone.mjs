// What Tidemark costs without sockets: a driver that answers at once, so what is left is our own JavaScript (and the bare loop, `floor`).
// `npm run --silent build && node bench/alone.mjs [directory of another build]`: with one, both in turn, and the ratio round by round.
// Steady where sockets are not: on a machine that is busy with other things a difference of a few per cent still shows.
import { EventEmitter } from 'node:events'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { median, round, rounds } from './measure.mjs'

const SETTINGS = { inFlight: 16, rounds: 41, roundMs: 25, progress() {} }
const READ = { name: 'alone_read', text: '/* tidemark: replica */ SELECT caption FROM photos WHERE id = $1' }
const WRITE = { name: 'alone_write', text: 'UPDATE photos SET caption = $2 WHERE id = $1' }

/** Answers wait here for the end of the turn, as those of a socket do. */
let answers = []
function answerLater(callback, result) {
  answers.push([callback, result])
  if (answers.length === 1) setImmediate(answerAll)
}
function answerAll() {
  const due = answers
  answers = []
  for (const [callback, result] of due) callback(null, result)
}

let written = 0x3000100n
const lsn = offset => `0/${offset.toString(16)}`

class Connection extends EventEmitter {
  pipeline = true
  connection = { stream: { cork() {}, uncork() {}, destroy() {} } }
  constructor({ connectionString }) {
    super()
    this.host = new URL(connectionString).hostname
  }
  query(config, values, callback = values) {
    const result = this.#result(config.text ?? config)
    return typeof callback === 'function' ? answerLater(callback, result) : Promise.resolve(result)
  }
  #result(text) {
    if (text.startsWith('SELECT pg_current_wal_insert_lsn')) {
      written += 64n
      return { rows: [[lsn(written)]] }
    }
    if (text.startsWith('SELECT p.recovering')) return { rows: [this.#where()] }
    return { command: 'SELECT', rowCount: 1, fields: [], rows: [{ caption: 'caption' }] }
  }
  #where() {
    const recovering = this.host !== 'primary'
    const position = { recovering, received: lsn(2n ** 31n), applied: lsn(2n ** 31n), timeline: recovering ? '1' : '00000001' }
    return {
      ...position,
      system: '7',
      started: this.host,
      version: 180_000,
      segment_size: '16777216',
      block_size: '8192',
      may_see: true,
    }
  }
  getTransactionStatus() {
    return 'I'
  }
  async connect() {}
  async end() {}
  unref() {}
  release() {}
}

class Pool extends EventEmitter {
  options = { max: SETTINGS.inFlight, connectionTimeoutMillis: 1_000 }
  idleCount = 0
  totalCount = 0
  waitingCount = 0
  constructor(config) {
    super()
    this.config = config
  }
  connect(callback) {
    this.totalCount++
    callback(null, new Connection(this.config))
  }
  async end() {}
}

/** `{ name: work }` of the build in that directory. */
async function pathsOf(build) {
  const { Tidemark } = await import(new URL('engines/postgres/database.js', build))
  const { loadParser } = await import(new URL('engines/postgres/statement/index.js', build))
  const { tokenExchange } = await import(new URL('http/exchange.js', build))
  await loadParser()
  const nodes = ['primary', 'a', 'b'].map(name => ({ name, url: `postgres://${name}/photos` }))
  const db = new Tidemark({ nodes, name: build.href, secret: 'a secret for benchmarks only' }, { Pool, Client: Connection })
  await db.start()
  const session = await fencedSession(db, { scope: undefined })
  const scoped = await fencedSession(db, { scope: 'photo 1' })
  const open = tokenExchange(db)
  const exchange = (token, work) => {
    const headers = { cookie: `theme=dark; tidemark.${token.slice(-8)}=${token}; sid=0123456789abcdef` }
    const request = { get: name => headers[name.toLowerCase()] ?? null }
    return async () => {
      const { session, apply, finish } = open(request)
      await work(session)
      apply({ append() {} })
      finish()
    }
  }
  const paths = {
    floor: () => new Promise(done => answerLater(done)),
    fencedRead: () => session.query(READ, [1]),
    scopedRead: () => scoped.query(READ, [1], { scope: 'photo 1' }),
    unfencedRead: () => db.eventual.query(READ, [1]),
    write: () => db.session().query(WRITE, [1, 'x']),
    transaction: () => db.session().transaction(tx => tx.query(WRITE, [1, 'x'])),
    exchange: exchange(session.token(), () => {}),
    exchangeRead: exchange(session.token(), own => own.query(READ, [1])),
    exchangeScopedRead: exchange(scoped.token(), own => own.query(READ, [1], { scope: 'photo 1' })),
    exchangeCachedRead: exchange(session.token(), own => own.query(READ, [1], { cache: 'photo 1' })),
    exchangeWrite: exchange(session.token(), own => own.query(WRITE, [1, 'x'])),
  }
  return { paths, close: () => db.close() }
}

/** A session that has written, and whose reads a replica serves. */
async function fencedSession(db, options) {
  const session = db.session()
  await session.query(WRITE, [1, 'x'], options)
  await session.query(READ, [1], options)
  if (session.lastOutcome.node === 'primary') throw new Error('no replica serves: what follows would measure something else')
  return session
}

const directories = [process.argv[2], 'dist'].filter(directory => directory !== undefined)
const builds = await Promise.all(directories.map(directory => pathsOf(pathToFileURL(`${resolve(directory)}/`))))
console.log(`CPU µs each, medians of ${SETTINGS.rounds} rounds: ${directories.join(', ')}`)
for (const name of Object.keys(builds.at(-1).paths)) {
  const variants = Object.fromEntries(builds.map(({ paths }, i) => [directories[i], paths[name]]))
  const cpuUs = Object.values(await rounds(variants, SETTINGS)).map(samples => samples.map(sample => sample.cpuUs))
  const cells = cpuUs.map(samples => round(median(samples), 2))
  if (builds.length > 1) cells.push(`ratio ${round(median(cpuUs[1].map((sample, i) => sample / cpuUs[0][i])), 3)}`)
  console.log(`${name.padEnd(20)}${cells.map(cell => String(cell).padStart(14)).join('')}`)
}
for (const { close } of builds) await close()
