/** What a server refuses, and what cannot be reached: the read moves on, a write is never repeated. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parseLsn, type Tidemark, tidemark } from '../../src/engines/postgres/index.js'
import { ConfigurationError, type Events } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase, portOf, SECRET, until, withPort } from '../support/database.js'
import { tcpProxy } from '../support/tcp-proxy.js'

let cluster: Cluster
let db: Tidemark
const reroutes: Events['tidemark:reroute'][] = []
const note = (message: unknown) => void reroutes.push(message as Events['tidemark:reroute'])

beforeAll(async () => {
  cluster = await startCluster({ replicas: 2, settings: { max_standby_streaming_delay: '100ms', autovacuum: 'off' } })
  await cluster.query('primary', 'CREATE TABLE notes (id serial PRIMARY KEY, body text)')
  await cluster.query('primary', `INSERT INTO notes (body) SELECT 'note ' || i FROM generate_series(1, 2000) i`)
  await cluster.query('primary', 'CREATE UNLOGGED TABLE scratch (body text)')
  await cluster.query(
    'primary',
    `CREATE FUNCTION sneaky() RETURNS int STABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('notes_id_seq'); RETURN 1; END $$`,
  )
  await cluster.query(
    'primary',
    `CREATE FUNCTION slow() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1 FROM (SELECT pg_sleep(2)) s, (SELECT count(*) FROM notes) n'`,
  )
  await cluster.query('primary', `CREATE ROLE limited LOGIN PASSWORD 'limited'`)
  await cluster.query('primary', `CREATE ROLE reader LOGIN PASSWORD 'reader'`)
  await cluster.query('primary', 'GRANT pg_monitor TO reader')
  await cluster.query('primary', 'GRANT SELECT ON notes TO reader')
  await cluster.caughtUp()
  db = await openDatabase(cluster)
  subscribe('tidemark:reroute', note)
})
beforeEach(() => void reroutes.splice(0))
afterAll(async () => {
  unsubscribe('tidemark:reroute', note)
  await db?.close()
  await cluster?.close()
})

describe('a statement that a standby refuses', () => {
  test('runs once more on the primary, and goes there at once from then on', async () => {
    const session = db.session()
    await session.query('SELECT sneaky()')
    expect(session.lastOutcome).toMatchObject({ node: 'primary' })
    expect(reroutes).toMatchObject([{ reason: 'needs-primary' }])
    await session.query('SELECT sneaky()')
    expect(session.lastOutcome).toMatchObject({ node: 'primary', reroutes: 0 })
    expect(reroutes).toHaveLength(1)
  })

  test.each(['SELECT sneaky() AS hidden_write', 'SELECT sneaky() AS hinted /* tidemark: replica */'])(
    '%s: its write is captured',
    async text => {
      const before = await cluster.query<{ at: string }>('primary', 'SELECT pg_current_wal_insert_lsn()::text AS at')
      const session = db.session()
      await session.query(text)
      expect(session.lastOutcome).toMatchObject({ node: 'primary' })
      expect(session.history.writes.entries[0]!.offset).toBeGreaterThanOrEqual(parseLsn(before[0]!.at))
    },
  )

  test('with an option to run on a replica, a write is captured wherever it runs', async () => {
    const session = db.session()
    for (let i = 0; i < 2; i++) {
      await session.query(`INSERT INTO notes (body) VALUES ('forced')`, [], { on: 'replica' })
      expect(session.history.writes.isZero).toBe(false)
    }
    expect((await session.query(`SELECT count(*)::int AS n FROM notes WHERE body = 'forced'`)).rows).toEqual([{ n: 2 }])
  })

  test('a hint decides, both ways', async () => {
    const session = db.session()
    await session.query('/* tidemark: primary */ SELECT count(*) FROM notes')
    expect(session.lastOutcome!.node).toBe('primary')
    await session.query('/* tidemark: replica */ SELECT random() < 2, nextval_free FROM (SELECT 1 AS nextval_free) x')
    expect(session.lastOutcome!.node).toMatch(/^replica/)
    await session.query('SELECT count(*) FROM notes', [], { on: 'primary' })
    expect(session.lastOutcome!.node).toBe('primary')
    await session.query('SELECT body FROM scratch', [], { on: 'replica' })
    expect(session.lastOutcome).toMatchObject({ node: 'primary', reroutes: 1 })
  })

  test("the user's own mistake comes back as the driver's error, from wherever it ran", async () => {
    const session = db.session()
    await expect(session.query('SELECT no_such_column FROM notes')).rejects.toMatchObject({ code: '42703' })
    await expect(session.query('SELECT 1/0 AS x')).rejects.toMatchObject({ code: '22012' })
    await expect(session.query('SELEC')).rejects.toMatchObject({ code: '42601' })
    await expect(session.query('INSERT INTO notes (id) VALUES (1)')).rejects.toMatchObject({ code: '23505' })
    expect(reroutes).toHaveLength(0)
  })
})

test('a read cancelled by a recovery conflict is served elsewhere', async () => {
  const session = db.session(undefined, {})
  const read = session.query('SELECT slow()')
  // Removing rows that the read's snapshot may need makes the standby cancel it when it replays the removal.
  await until(
    async () =>
      (
        await Promise.all(
          cluster.replicas.map(node =>
            cluster.query(node, `SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT slow()' AND state = 'active'`),
          ),
        )
      ).flat().length > 0,
    'the read runs',
  )
  await cluster.query('primary', 'DELETE FROM notes WHERE id > 1000')
  await cluster.query('primary', 'VACUUM notes')
  expect((await read).rowCount).toBeGreaterThan(-1)
  expect(reroutes.some(({ reason }) => reason === 'recovery-conflict')).toBe(true)
})

test('a statement time-out on a replica moves the read on', async () => {
  const text = 'SELECT pg_sleep(0.2), count(*) FROM notes /* tidemark: replica */'
  const strict = await openDatabase(cluster, { pool: { statement_timeout: 50 } })
  try {
    await expect(strict.session().query(text)).rejects.toMatchObject({ code: '57014' })
    expect(reroutes.filter(({ reason }) => reason === 'time-out').length).toBeGreaterThan(0)
  } finally {
    await strict.close()
  }
})

test('a replica that breaks in the middle of a read: the read moves on; it comes back by itself', async () => {
  const session = db.session()
  const read = session.query('SELECT slow() AS once')
  const running = async (node: string) =>
    (await cluster.query(node, `SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT slow() AS once%' AND state = 'active'`))
      .length > 0
  let victim = ''
  await until(async () => {
    for (const node of cluster.replicas) if (await running(node)) victim = node
    return victim !== ''
  }, 'the read runs on a replica')
  await cluster.kill(victim)
  await read
  expect(session.lastOutcome!.node).not.toBe(victim)
  await until(() => db.status().find(status => status.node === victim)!.usable === false, 'the loss is noticed')
  await session.query('SELECT count(*) FROM notes')
  await cluster.start(victim)
  await until(() => db.status().find(status => status.node === victim)!.usable, 'it is re-admitted')
})

test('a write whose connection breaks is not sent again', async () => {
  const proxy = await tcpProxy(portOf(cluster.url('primary')))
  const through = await openDatabase(cluster, { nodes: [{ name: 'primary', url: withPort(cluster.url('primary'), proxy.port) }] })
  try {
    const session = through.session()
    proxy.onRequest = chunk => {
      if (chunk.includes('only once')) proxy.deaf = true
    }
    const failed = expect(session.query(`INSERT INTO notes (body) VALUES ('only once')`)).rejects.toThrow()
    await until(
      async () => (await cluster.query('primary', `SELECT 1 FROM notes WHERE body = 'only once'`)).length > 0,
      'it was done',
    )
    proxy.onRequest = undefined
    proxy.cut()
    await failed
    proxy.deaf = false
    await until(() => through.status()[0]!.usable, 'the primary is used again')
    expect((await session.query(`SELECT count(*)::int AS n FROM notes WHERE body = 'only once'`)).rows).toEqual([{ n: 1 }])
  } finally {
    await through.close()
    await proxy.close()
  }
})

test('a value that cannot be sent fails its own query and nothing else', async () => {
  const narrow = await openDatabase(cluster, { pool: { max: 2 } })
  try {
    const session = narrow.session()
    await session.query('SELECT count(*) FROM notes WHERE body = $1', ['x'])
    const bad = { toPostgres: () => ({ n: 1n }) }
    const values = Array.from({ length: 60 }, (_, i) => (i % 8 === 0 ? bad : 'x'))
    const results = await Promise.allSettled(
      values.map(value => session.query('SELECT count(*) FROM notes WHERE body = $1', [value])),
    )
    expect(results.map(result => result.status)).toEqual(values.map(value => (value === bad ? 'rejected' : 'fulfilled')))
    await expect(session.query({ name: 5 as never, text: 'SELECT 1 AS one' })).rejects.toThrow()
    await expect(session.query('INSERT INTO notes (body) VALUES ($1)', [bad])).rejects.toThrow(/BigInt/)
    expect((await session.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  } finally {
    await narrow.close()
  }
})

test('a replica that accepts and never answers: its reads move on, and closing does not wait for it', async () => {
  const patient = await openDatabase(cluster, { pollIntervalMs: 100, pollTimeoutMs: 300 })
  const session = patient.session()
  // Connections to both are open and known.
  await Promise.all(Array.from({ length: 20 }, () => session.query('SELECT count(*) FROM notes')))
  await cluster.freeze('replica-1')
  try {
    const reads = Array.from({ length: 20 }, () => session.query('SELECT count(*)::int AS n FROM notes'))
    for (const { rows } of await Promise.all(reads)) expect(rows).toHaveLength(1)
    await patient.close()
  } finally {
    await cluster.thaw('replica-1')
  }
})

test('a signal ends the wait for a connection, and the write is never sent', async () => {
  const narrow = await openDatabase(cluster, { pool: { max: 1 } })
  const holder = await narrow.pool.connect()
  try {
    await holder.query('BEGIN')
    const controller = new AbortController()
    const write = narrow.session().query(`INSERT INTO notes (body) VALUES ('too late')`, [], { signal: controller.signal })
    controller.abort(new Error('gone'))
    await expect(write).rejects.toThrow('gone')
    await holder.query('COMMIT')
    await narrow.session().query(`INSERT INTO notes (body) VALUES ('in time')`)
    expect(await cluster.query('primary', `SELECT body FROM notes WHERE body IN ('too late', 'in time')`)).toEqual([
      { body: 'in time' },
    ])
  } finally {
    holder.release()
    await narrow.close()
  }
})

test('when a replica has no connections left, the read moves on', async () => {
  const crowd = new pg.Pool({ connectionString: cluster.url('replica-1'), max: 200 })
  crowd.on('error', () => {})
  const fresh = await openDatabase(cluster, { pool: { max: 200 } })
  try {
    const held = await Promise.allSettled(Array.from({ length: 120 }, () => crowd.connect()))
    expect(held.some(each => each.status === 'rejected')).toBe(true)
    await Promise.all(Array.from({ length: 60 }, () => fresh.session().query('SELECT count(*) FROM notes')))
    expect(reroutes.some(({ reason, node }) => reason === 'busy' && node === 'replica-1')).toBe(true)
    for (const each of held) if (each.status === 'fulfilled') each.value.release()
  } finally {
    await crowd.end()
    await fresh.close()
  }
})

describe('bad configuration has a message that says what is wrong and what to do', () => {
  const attempt = (config: Parameters<typeof tidemark>[0]) =>
    tidemark({ secret: SECRET, onWarning: () => {}, ...config }).then(
      async opened => {
        await opened.close()
        throw new Error('it was accepted')
      },
      (error: unknown) => error as Error,
    )
  const cases: Record<string, [() => Parameters<typeof tidemark>[0], RegExp]> = {
    'no node': [() => ({}), /no node is configured.*primary/],
    'a URL that is none': [() => ({ primary: 'db-1:5432' }), /URL.*expected something like postgres:/],
    'a URL of something else': [() => ({ primary: 'mysql://db-1/app' }), /mysql.*expected something like postgres:/],
    'a host that does not exist': [
      () => ({ primary: 'postgres://app@no-such-host.invalid/app' }),
      /no node can be used.*no-such-host/,
    ],
    'a port where nobody listens': [() => ({ primary: 'postgres://app@127.0.0.1:1/app' }), /no node can be used.*ECONNREFUSED/],
    'a wrong password': [
      () => ({ primary: cluster.url('primary').replace(/:[^:@]*@/, ':wrong@') }),
      /password authentication failed/,
    ],
    'a node listed twice': [
      () => ({ primary: cluster.url('primary'), replicas: [cluster.url('primary')] }),
      /two nodes are called.*list each server once/,
    ],
    'a server under two addresses': [
      () => ({ primary: cluster.url('primary'), replicas: [cluster.url('primary').replace('127.0.0.1', 'localhost')] }),
      /two addresses of the same server; list it once/,
    ],
    'no secret in production': [
      () => {
        return { primary: cluster.url('primary'), secret: '' }
      },
      /NODE_ENV is production.*TIDEMARK_SECRET/,
    ],
    'a short secret': [() => ({ primary: cluster.url('primary'), secret: 'short' }), /secret must be.*16 bytes/],
    'a balanced primary': [() => ({ primary: { url: cluster.url('primary'), balanced: true } }), /primary cannot be balanced/],
    'a negative time': [() => ({ primary: cluster.url('primary'), pollIntervalMs: -1 }), /pollIntervalMs must be/],
    'both a url and a pool': [
      () => ({ primary: { url: 'postgres://x@y/z', config: {} } }),
      /exactly one of url, config and pool/,
    ],
  }
  for (const [name, [config, message]] of Object.entries(cases)) {
    test(name, async () => {
      const before = process.env.NODE_ENV
      if (name.includes('production')) process.env.NODE_ENV = 'production'
      try {
        const error = await attempt(config())
        expect(error).toBeInstanceOf(ConfigurationError)
        expect(error.message).toMatch(message)
        expect(error.message).not.toContain(new URL(cluster.url('primary')).password)
      } finally {
        process.env.NODE_ENV = before
      }
    })
  }

  const warned = async (config: Partial<Parameters<typeof tidemark>[0]>, use?: (opened: Tidemark) => Promise<void>) => {
    const warnings: string[] = []
    const opened = await openDatabase(cluster, { ...config, onWarning: message => warnings.push(message) })
    try {
      await use?.(opened)
    } finally {
      await opened.close()
    }
    return warnings.join('\n')
  }
  const as = (user: string, node: string) => cluster.url(node).replace(/\/\/postgres:[^@]*@/, `//${user}:${user}@`)

  test('a user who may not see positions: said with the GRANT to run, and the primary serves', async () => {
    const nodes = ['primary', 'replica-1'].map(name => ({ name, url: as('limited', name) }))
    const warnings = await warned({ nodes }, async opened => {
      const session = opened.session(undefined)
      await session.query('SELECT 1 AS one')
      expect(session.lastOutcome!.node).toBe('primary')
    })
    expect(warnings).toMatch(/replica-1: .*GRANT pg_monitor/)
  })

  test('a user with pg_monitor and nothing else is enough', async () => {
    const nodes = ['primary', 'replica-1'].map(name => ({ name, url: as('reader', name) }))
    const warnings = await warned({ nodes }, async opened => {
      const session = opened.session(undefined)
      await session.query('SELECT count(*) FROM notes')
      expect(session.lastOutcome!.node).toBe('replica-1')
    })
    expect(warnings).toBe('')
  })

  test('no replica, and a replica that is down: warned, and the primary serves', async () => {
    expect(await warned({ nodes: [{ name: 'primary', url: cluster.url('primary') }] })).toMatch(/no replica can be used/)
    const nodes = [
      { name: 'primary', url: cluster.url('primary') },
      { name: 'gone', url: 'postgres://app:app@127.0.0.1:1/app' },
    ]
    expect(await warned({ nodes }, async opened => void (await opened.session().query('SELECT 1 AS one')))).toMatch(
      /gone: .*ECONNREFUSED/,
    )
  })

  test('no primary: warned, reads are served, writes fail with a typed error', async () => {
    const nodes = [{ name: 'replica-1', url: cluster.url('replica-1') }]
    const warnings = await warned({ nodes }, async opened => {
      await opened.eventual.query('SELECT count(*) FROM notes')
      await expect(opened.session().query(`INSERT INTO notes (body) VALUES ('x')`)).rejects.toMatchObject({
        code: 'TIDEMARK_NO_PRIMARY',
      })
    })
    expect(warnings).toMatch(/no primary is known/)
  })

  test('a replica of another system is refused, loudly', async () => {
    const other = await startCluster({ replicas: 1 })
    try {
      const nodes = [
        { name: 'primary', url: cluster.url('primary') },
        { name: 'stranger', url: other.url('replica-1') },
      ]
      const warnings = await warned({ nodes }, async opened => {
        const session = opened.session()
        await session.query('SELECT 1 AS one')
        expect(session.lastOutcome!.node).toBe('primary')
      })
      expect(warnings).toMatch(/stranger: belongs to another system/)
    } finally {
      await other.close()
    }
  })
})

describe("a user's own pools", () => {
  test('are used, pipelined while a commit is captured, and never closed', async () => {
    const pools = Object.fromEntries(
      cluster.nodes.map(name => [name, new pg.Pool({ connectionString: cluster.url(name), max: 3 })]),
    )
    const own = await openDatabase(cluster, { nodes: cluster.nodes.map(name => ({ name, pool: pools[name]! })) })
    try {
      const session = own.session()
      await session.query(`INSERT INTO notes (body) VALUES ('own pool')`)
      expect(session.history.writes.isZero).toBe(false)
      await session.query('SELECT count(*) FROM notes')
      await own.close()
      expect((await pools.primary!.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    } finally {
      for (const pool of Object.values(pools)) await pool.end()
    }
  })
})
