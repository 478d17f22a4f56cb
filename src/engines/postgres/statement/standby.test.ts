import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ALLOWED, REFUSED } from '../../../proof/fuzz/sql/corpus.js'
import { SCHEMA } from '../../../proof/fuzz/sql/schema.js'
import { type Cluster, startCluster } from '../../../testing/index.js'
import { buildCatalog, type Catalog } from './catalog.js'
import { type CatalogRow, catalogQuery } from './catalog-query.js'
import { loadParser } from './parser.js'
import { StatementCache } from './statement-cache.js'

// What the classifier says is only worth something if a real standby agrees: every text allowed here runs on one, and
// every text refused has a reason that names what is wrong with it.

let cluster: Cluster
let primary: pg.Client
let standby: pg.Client
let catalog: Catalog
let cache: StatementCache

beforeAll(async () => {
  await loadParser()
  cluster = await startCluster({ replicas: 1 })
  primary = new pg.Client(cluster.url('primary'))
  standby = new pg.Client(cluster.url('replica-1'))
  await Promise.all([primary.connect(), standby.connect()])
  await primary.query(SCHEMA)
  await cluster.caughtUp()
  catalog = await readCatalog(standby)
  cache = new StatementCache()
})

afterAll(async () => {
  await Promise.all([primary?.end(), standby?.end()])
  await cluster?.close()
})

async function readCatalog(client: pg.Client): Promise<Catalog> {
  return buildCatalog((await client.query<CatalogRow>(catalogQuery)).rows)
}

const verdict = (text: string) => cache.get(text).verdict(catalog)

/** The code of the standby's error, or what else it answered. */
async function standbyAnswer(text: string): Promise<string> {
  try {
    await standby.query(text)
    return 'succeeded'
  } catch (error) {
    if (error instanceof pg.DatabaseError) return `${error.code} ${error.message}`
    throw error
  }
}

describe('on a hot standby', () => {
  test.each(ALLOWED)('runs: %s', async text => {
    expect(verdict(text)).toEqual({ allowed: true, reason: '', unknown: false })
    expect(await standbyAnswer(text)).toBe('succeeded')
  })

  test.each(REFUSED)('must not run: %s', (text, reason) => {
    expect(verdict(text)).toMatchObject({ allowed: false, unknown: false })
    expect(verdict(text).reason).toMatch(reason)
  })

  test('would not be told by the server itself: these succeed there', async () => {
    // The point of classifying at all. If a PostgreSQL release begins to refuse these, the refusals above lose their edge.
    for (const text of ['select pg_advisory_lock(1)', 'select (2::bigint).pg_advisory_lock', 'select * from app.lock_view']) {
      expect(verdict(text).allowed, text).toBe(false)
      expect(await standbyAnswer(text), text).toBe('succeeded')
    }
    const { rows } = await standby.query("select count(*)::int as locks from pg_locks where locktype = 'advisory'")
    expect(rows).toEqual([{ locks: 2 }])
    await standby.query('select pg_advisory_unlock_all()')
  })

  test('every system view that is allowed can be read', async () => {
    const { rows } = await standby.query<{ name: string }>(
      `select format('%I.%I', nspname, relname) as name from pg_class c join pg_namespace n on n.oid = relnamespace
       where nspname in ('pg_catalog', 'information_schema') and relkind in ('r', 'v')`,
    )
    const allowed = rows.map(row => `select * from ${row.name} limit 1`).filter(text => verdict(text).allowed)
    expect(allowed.length).toBeGreaterThan(100)
    for (const text of allowed) expect(await standbyAnswer(text), text).toBe('succeeded')
  })

  test('no built-in function that is allowed refuses to run during recovery', async () => {
    const { rows } = await standby.query<{ call: string }>(
      `select format('select pg_catalog.%I(%s)', proname, array_to_string(array(
         select case when t::regtype in ('oid', 'regclass', 'int', 'bigint') then '1' else 'null' end || '::' || t::regtype
         from unnest(proargtypes) t), ',')) as call
       from pg_proc
       where pronamespace = 'pg_catalog'::regnamespace and prokind = 'f'
         and not exists (select from unnest(proargtypes || prorettype) t join pg_type on pg_type.oid = t where typtype = 'p')`,
    )
    const allowed = rows.map(row => row.call).filter(text => verdict(text).allowed)
    expect(allowed.length).toBeGreaterThan(1_500)
    await standby.query("set statement_timeout = '5s'")
    for (const text of allowed) expect(await standbyAnswer(text), text).not.toMatch(/^(25006|55000)|recovery|standby/)
    await standby.query('reset statement_timeout')
  })
})

describe('a catalog snapshot', () => {
  test('can be read from either node, with the same verdicts', async () => {
    const other = await readCatalog(primary)
    for (const text of [...ALLOWED, ...REFUSED.map(([refused]) => refused)]) {
      expect(cache.get(text).verdict(other), text).toEqual(verdict(text))
    }
  })

  test('can be read by a role without any rights', async () => {
    await primary.query('create role nobody login')
    await primary.query('set session authorization nobody')
    const other = await readCatalog(primary).finally(() => primary.query('reset session authorization'))
    for (const [text] of REFUSED) expect(cache.get(text).verdict(other), text).toEqual(verdict(text))
  })

  test('says when it does not know a name, and a newer one does', async () => {
    const texts = ['select * from later', 'select app.later(1)', 'select 1 %%% 1', "select 'x'::app.later_type"]
    for (const text of texts) expect(verdict(text), text).toMatchObject({ allowed: false, unknown: true })
    await primary.query(`
      create table later (id int);
      create function app.later(int) returns int stable language sql as 'select $1';
      create operator %%% (leftarg = int, rightarg = int, procedure = int4pl);
      create type app.later_type as enum ('x')`)
    await cluster.caughtUp()
    const newer = await readCatalog(standby)
    for (const text of texts) {
      expect(cache.get(text).verdict(newer), text).toMatchObject({ allowed: true, unknown: false })
      expect(await standbyAnswer(text), text).toBe('succeeded')
    }
  })

  test('follows a change of label', async () => {
    const text = 'select app.relabelled()'
    await primary.query("create function app.relabelled() returns int stable language sql as 'select 1'")
    expect(cache.get(text).verdict(await readCatalog(primary)).allowed).toBe(true)
    await primary.query('alter function app.relabelled() volatile')
    expect(cache.get(text).verdict(await readCatalog(primary)).reason).toBe('function app.relabelled is volatile')
  })

  test('refuses everything while a volatile function may be called by an implicit cast', async () => {
    await primary.query(`
      begin;
      create function app.silently(app.mood) returns int volatile language sql as 'select 1';
      create cast (app.mood as int) with function app.silently(app.mood) as implicit`)
    const other = await readCatalog(primary).finally(() => primary.query('rollback'))
    expect(cache.get('select 1').verdict(other)).toMatchObject({
      allowed: false,
      reason: expect.stringMatching(/silently.*implicit casts/),
    })
  })

  test('refuses everything where backslashes in strings mean something else than to the parser', async () => {
    await primary.query('set standard_conforming_strings = off')
    const other = await readCatalog(primary).finally(() => primary.query('reset standard_conforming_strings'))
    expect(cache.get('select 1').verdict(other).reason).toMatch(/standard_conforming_strings/)
  })
})
