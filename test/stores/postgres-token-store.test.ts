import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigurationError } from '../../src/core/errors.js'
import { Position } from '../../src/core/position.js'
import type { TokenStore } from '../../src/core/token-store.js'
import { type PrimaryQuery, postgresTokenStore } from '../../src/engines/postgres/index.js'
import { freePort } from '../../src/testing/free-port.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { describeTokenStore } from './token-store-contract.js'

const A1 = Position.at('a', 1n)
const A9 = Position.at('a', 9n)

let cluster: Cluster
let pool: pg.Pool
let query: PrimaryQuery
let tables = 0
const newTable = () => `positions_${tables++}`
const queryOf =
  (through: pg.Pool): PrimaryQuery =>
  (text, values) =>
    through.query(text, [...values])

beforeAll(async () => {
  cluster = await startCluster({ replicas: 0 })
  pool = new pg.Pool({ connectionString: cluster.url('primary'), max: 10 })
  // A crash of the server ends idle connections.
  pool.on('error', () => {})
  query = queryOf(pool)
})

afterAll(async () => {
  await pool?.end()
  await cluster?.close()
})

describeTokenStore('postgresTokenStore', {
  async open(options = {}) {
    const table = newTable()
    return [postgresTokenStore({ table, ...options })(query), postgresTokenStore({ table, ...options })(query)]
  },
  async openBroken() {
    const nowhere = new pg.Pool({ connectionString: `postgres://nobody@127.0.0.1:${await freePort()}/none` })
    return postgresTokenStore()(queryOf(nowhere))
  },
})

describe('the table', () => {
  test('is made by whoever comes first, however many come at once', async () => {
    for (let round = 0; round < 5; round++) {
      const table = newTable()
      const stores = Array.from({ length: 10 }, () => postgresTokenStore({ table })(query))
      await Promise.all(stores.map((store, i) => store.raise('ann', Position.at('a', BigInt(i)))))
      expect(await stores[0]!.get('ann')).toEqual(A9)
    }
  })

  test('is unlogged', async () => {
    const table = newTable()
    await postgresTokenStore({ table })(query).get('ann')
    expect(await rows('SELECT relpersistence FROM pg_class WHERE relname = $1', table)).toEqual([{ relpersistence: 'u' }])
  })

  test('is made again when it is gone; then nothing is known', async () => {
    const table = newTable()
    const store = postgresTokenStore({ table })(query)
    await store.raise('ann', A9)
    await pool.query(`DROP TABLE ${table}`)
    expect(await store.get('ann')).toBeUndefined()
    await pool.query(`DROP TABLE ${table}`)
    await store.raise('ann', A1)
    expect(await store.get('ann')).toEqual(A1)
    await pool.query(`DROP TABLE ${table}`)
    await store.expire?.(A1)
  })

  test('is empty after a crash: unknown, not older', async () => {
    const store = postgresTokenStore({ table: newTable() })(query)
    await store.raise('ann', A9)
    expect(await store.get('ann')).toEqual(A9)
    await cluster.kill('primary')
    await cluster.start('primary')
    expect(await store.get('ann')).toBeUndefined()
  })

  test('may have a schema, and any case', async () => {
    await pool.query('CREATE SCHEMA "Apart"')
    const store = postgresTokenStore({ table: 'Apart.Positions$1' })(query)
    await store.raise('ann', A1)
    expect(await rows('SELECT count(*)::int AS n FROM "Apart"."Positions$1"')).toEqual([{ n: 1 }])
  })

  test.each(['', 'a.b.c', '1a', 'a b', 'a"b', 'a;b', 'a\0', '.', 'a.', 'ä', 'x'.repeat(64)])('is not called %j', table => {
    expect(() => postgresTokenStore({ table })).toThrow(ConfigurationError)
  })

  test('holds no user id', async () => {
    const table = newTable()
    await postgresTokenStore({ table })(query).raise('ann@example.com', A1)
    expect(JSON.stringify(await rows(`SELECT * FROM ${table}`))).not.toContain('ann')
  })
})

describe('a user without rights', () => {
  let limited: pg.Pool
  beforeAll(async () => {
    await pool.query(`CREATE ROLE application LOGIN PASSWORD 'secret'; REVOKE CREATE ON SCHEMA public FROM public`)
    const url = new URL(cluster.url('primary'))
    url.username = 'application'
    url.password = 'secret'
    limited = new pg.Pool({ connectionString: url.href, max: 2 })
  })
  afterAll(() => limited?.end())

  test('is told the SQL to run, which helps', async () => {
    const store = postgresTokenStore({ table: newTable() })(queryOf(limited))
    const error = await failure(store.raise('ann', A1))
    expect(error).toBeInstanceOf(ConfigurationError)
    await pool.query(sqlIn(error))
    await store.raise('ann', A1)
    await store.expire?.(Position.zero)
    expect(await store.get('ann')).toEqual(A1)
  })

  test('is told so too when there is a table that it may not use', async () => {
    const table = newTable()
    await postgresTokenStore({ table })(query).raise('ann', A9)
    const store = postgresTokenStore({ table })(queryOf(limited))
    const error = await failure(store.get('ann'))
    expect(error).toBeInstanceOf(ConfigurationError)
    await pool.query(sqlIn(error))
    expect(await store.get('ann')).toEqual(A9)
  })

  test('and when the schema is missing', async () => {
    expect(await failure(postgresTokenStore({ table: 'nowhere.t' })(query).get('ann'))).toBeInstanceOf(ConfigurationError)
  })
})

test('expire goes by the time of the last raise, to a hundredth of retainMs', async () => {
  const table = newTable()
  const store = postgresTokenStore({ table, retainMs: 3_600_000 })(query)
  for (const user of ['ann', 'bob', 'cid']) await store.raise(user, A1)
  await pool.query(`UPDATE ${table} SET touched = now() - interval '59 minutes'`)
  await store.raise('ann', A1)
  const touched = await rows(`SELECT touched FROM ${table} ORDER BY touched DESC`)
  await store.raise('ann', A9)
  // A raise soon after the last one leaves the indexed column alone.
  expect(await rows(`SELECT touched FROM ${table} ORDER BY touched DESC`)).toEqual(touched)
  await store.expire?.(A9)
  expect(await known(store)).toEqual([A9, A1, A1])
  await pool.query(`UPDATE ${table} SET touched = touched - interval '2 minutes'`)
  await store.expire?.(A9)
  expect(await known(store)).toEqual([A9, undefined, undefined])
})

test('a row that is raised while it is being judged is judged again, or left alone', async () => {
  const table = newTable()
  const store = postgresTokenStore({ table, retainMs: 0 })(query)
  await store.raise('ann', A1)
  const writer = await pool.connect()
  try {
    await writer.query('BEGIN')
    await writer.query(`UPDATE ${table} SET positions = '{"a": 9}'`)
    // Does not wait for the writer either: this would hang.
    await store.expire?.(A1)
    await writer.query('COMMIT')
  } finally {
    writer.release()
  }
  expect(await store.get('ann')).toEqual(A9)
})

async function rows(text: string, ...values: unknown[]): Promise<unknown[]> {
  return (await pool.query(text, values)).rows
}

function known(store: TokenStore): Promise<(Position | undefined)[]> {
  return Promise.all(['ann', 'bob', 'cid'].map(user => store.get(user)))
}

function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    error => error,
  )
}

function sqlIn(error: unknown): string {
  return String((error as Error).message)
    .split('\n')
    .slice(1)
    .join('\n')
}
