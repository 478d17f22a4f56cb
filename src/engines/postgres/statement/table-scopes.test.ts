import { beforeAll, describe, expect, test } from 'vitest'
import { analyse } from './analyse.js'
import { buildCatalog, emptyCatalog } from './catalog.js'
import type { CatalogRow } from './catalog-query.js'
import { loadParser } from './parser.js'
import { tableScopes } from './table-scopes.js'

// The rules one by one, with rows as a server would give them; test/postgres/table-scopes.test.ts holds them against a server.

beforeAll(loadParser)

const row = (kind: CatalogRow['kind'], name: string, more: Partial<CatalogRow> = {}): CatalogRow => ({
  kind,
  schema: 'public',
  name,
  obstacle: null,
  uses: null,
  ...more,
})
const builtIn = (kind: CatalogRow['kind'], name: string, more: Partial<CatalogRow> = {}) =>
  row(kind, name, { ...more, schema: 'pg_catalog' })
const table = (name: string) => row('relation', name)
const target = (name: string, more: Partial<CatalogRow>) => row('scope-target', name, more)
const child = (name: string, parent: string) => row('scope-child', name, { uses: parent })
const action = (referenced: string, referencing: string) => row('scope-action', referenced, { uses: referencing })
const view = (name: string, uses: string) => [row('relation', name, { uses }), row('scope-view', name)]

const BASE = [
  ...['a', 'b', 'c', 'd', 'e', 'f'].map(table),
  builtIn('relation', 'pg_class'),
  ...['=', '+', '>'].map(name => builtIn('operator', name)),
  ...['count', 'now', 'nextval', 'lo_create', 'pg_column_size'].map(name => builtIn('function', name)),
  ...['now', 'nextval', 'lo_create', 'pg_column_size'].map(name => builtIn('scope-function', name)),
  ...['int4', 'regclass', 'text'].map(name => builtIn('type', name)),
  row('function', 'mine'),
  row('scope-function', 'mine'),
]

const scopes = (text: string, ...rows: readonly CatalogRow[]) => {
  const found = tableScopes(analyse(text), buildCatalog([...BASE, ...rows]))
  return found?.map(scope => scope.replace(/^table:/, '')).join(' ')
}

describe('of a read', () => {
  test.each([
    ['select 1 + 1', ''],
    ['show search_path', ''],
    ['select count(*), now() from a', 'a'],
    ['select * from a, public.b where exists (select from c)', 'a b c'],
    ['with a as (select * from b) select * from a', 'b'],
    ['copy a to stdout', 'a'],
    ['explain select * from a', 'a'],
    ['/* tidemark: primary */ select * from a', 'a'],
  ])('%s: %s', (text, expected) => expect(scopes(text)).toBe(expected))

  test.each([
    'select * from unknown',
    'select * from other.a',
    'select * from pg_class',
    'select * from pg_temp.a',
    'select mine() from a',
    'select unknown() from a',
    'select pg_column_size(1) from a',
    "select nextval('s') from a",
    'select 1 @@@ 1',
    'select 1::unknown',
    'select xmax from a',
    'select * from a for update',
    'select 1; select * from a',
  ])('any: %s', text => expect(scopes(text)).toBeUndefined())

  test('views stand for what they read, policies add to it', () => {
    const rows = [...view('v', 'select * from a'), ...view('w', 'select * from v, b')]
    expect(scopes('select * from w', ...rows)).toBe('a b')
    expect(scopes('select * from v', ...view('v', 'select mine() from a'))).toBeUndefined()
    expect(scopes('select * from v', ...view('v', 'select * from a for update'))).toBeUndefined()
    expect(scopes('select * from v', ...view('v', 'select xmax from a'))).toBeUndefined()
    expect(scopes('select * from a', row('relation', 'a', { uses: 'select exists (select from b)' }))).toBe('a b')
    expect(scopes('select * from a', row('relation', 'a', { uses: 'select mine()' }))).toBeUndefined()
  })

  test('a name is everything of that name, in every schema', () => {
    const rows = [row('relation', 'a', { schema: 'other', uses: 'select * from b' }), row('scope-view', 'a', { schema: 'other' })]
    expect(scopes('select * from a', ...rows)).toBe('a b')
    expect(scopes('select * from public.a', ...rows)).toBe('a')
    expect(scopes('select * from other.a', ...rows)).toBe('b')
    expect(scopes('select count(*) from a', row('function', 'count'), row('scope-function', 'count'))).toBeUndefined()
    expect(scopes('select pg_catalog.count(*) from a', row('function', 'count'), row('scope-function', 'count'))).toBe('a')
    expect(scopes('select now()', row('function', 'now'), row('scope-function', 'now'))).toBeUndefined()
  })

  test('sequences, foreign and temporary tables are any, also as part of a family', () => {
    expect(scopes('select * from a', row('scope-relation', 'a'))).toBeUndefined()
    expect(scopes('select * from a', child('b', 'a'), row('scope-relation', 'b'))).toBeUndefined()
    expect(scopes('select * from a', child('b', 'a'))).toBe('a')
  })

  test('operators, casts, domains, and columns of such types', () => {
    expect(scopes('select 1 = 1', row('operator', '='), row('scope-operator', '='))).toBeUndefined()
    expect(scopes('select 1::t', row('type', 't'))).toBe('')
    expect(scopes('select 1::t', row('type', 't'), row('scope-type', 't'))).toBeUndefined()
    const domain = row('type', 'd', { uses: 'select mine(value)' })
    expect(scopes('select 1::d', domain)).toBeUndefined()
    expect(scopes('select x from a', domain, row('type', 'a', { uses: 'select null::d' }))).toBeUndefined()
  })

  test('functions written as columns and fields', () => {
    expect(scopes('select a.mine from a')).toBe('a')
    expect(scopes('select a.mine from a', row('attribute', 'mine'))).toBeUndefined()
    expect(scopes('select (x).mine from a')).toBeUndefined()
    expect(scopes('select (x).y from a')).toBe('a')
  })
})

describe('of a write', () => {
  test.each([
    ['insert into a values (1)', 'a'],
    ["insert into a select nextval('s'), now() from b", 'a'],
    ['update a set x = y + 1 from b where a.x = b.x returning *', 'a'],
    ['delete from public.a', 'a'],
    ['merge into a using b on x = y when matched then delete', 'a'],
    ['with x as (delete from a returning *), y as (update b set z = 1) insert into c select * from x', 'a b c'],
    ['with x as (delete from a returning *) select * from x, b', 'a'],
    ['with a as (select 1) insert into a select * from a', 'a'],
  ])('%s: %s', (text, expected) => expect(scopes(text)).toBe(expected))

  test.each([
    'insert into unknown values (1)',
    'insert into other.a values (1)',
    'with unknown as (select 1) insert into unknown select * from unknown',
    'delete from pg_class',
    'insert into pg_temp.a values (1)',
    'insert into a values (mine())',
    'insert into a select lo_create(0)',
    'insert into a values (1 @@@ 1)',
    'insert into a select * from unknown',
    'truncate a',
    'copy a from stdin',
    'lock a',
    'select * from a for update',
    'select 1 into a',
    'create table g (x int)',
    'refresh materialized view a',
    'call p()',
    'do $$ begin end $$',
    'explain analyze delete from a',
    'insert into a values (1); insert into b values (1)',
    'begin',
    'commit',
    'set a.b = 1',
    'nonsense',
  ])('any: %s', text => expect(scopes(text)).toBeUndefined())

  test('what a view runs that it reads', () => {
    expect(scopes('insert into a select * from v', ...view('v', 'select * from b'))).toBe('a')
    expect(scopes('insert into a select * from v', ...view('v', 'select mine() from b'))).toBeUndefined()
  })

  test('not into a view', () => {
    expect(scopes('insert into v values (1)', ...view('v', 'select * from b'))).toBeUndefined()
  })

  test('families have one scope, a name at the top, which reads use too', () => {
    const rows = [child('a', 'c'), child('b', 'c'), child('d', 'b')]
    for (const name of ['a', 'b', 'c', 'd']) {
      expect(scopes(`insert into ${name} values (1)`, ...rows)).toBe('c')
      expect(scopes(`select * from ${name}`, ...rows)).toBe('c')
    }
    // Joined by a common child.
    expect(scopes('select * from b', child('c', 'b'), child('c', 'a'))).toBe('a')
  })

  test('actions of foreign keys, from one to the next, through families, in circles', () => {
    const rows = [action('a', 'b'), action('b', 'c'), action('c', 'a')]
    expect(scopes('delete from a', ...rows)).toBe('a b c')
    expect(scopes('update b set x = 1', ...rows)).toBe('a b c')
    expect(scopes('insert into a values (1)', ...rows)).toBe('a')
    expect(scopes('insert into a values (1) on conflict do nothing', ...rows)).toBe('a')
    expect(scopes('insert into a values (1) on conflict (x) do update set x = 1', ...rows)).toBe('a b c')
    expect(scopes('with x as (insert into a values (1)) delete from c', ...rows)).toBe('a b c')
    expect(scopes('with x as (insert into b values (1)) delete from a', ...rows)).toBe('a b c')
    // The key is on a parent's child, the referencing table a partition.
    expect(scopes('delete from a', child('d', 'a'), action('d', 'e'), child('e', 'f'))).toBe('a f')
  })

  test.each(['has a trigger', 'has a rule', 'is a materialized view'])('a table that %s, wherever a write gets to', obstacle => {
    expect(scopes('insert into a values (1)', target('a', { obstacle }))).toBeUndefined()
    expect(scopes('insert into a values (1)', child('b', 'a'), target('b', { obstacle }))).toBeUndefined()
    expect(scopes('insert into b values (1)', child('b', 'a'), target('a', { obstacle }))).toBeUndefined()
    expect(scopes('delete from a', action('a', 'b'), target('b', { obstacle }))).toBeUndefined()
    expect(scopes('insert into a values (1)', action('a', 'b'), target('b', { obstacle }))).toBe('a')
    expect(scopes('select * from a', target('a', { obstacle }))).toBe('a')
    expect(scopes('insert into a select * from b', target('b', { obstacle }))).toBe('a')
  })

  test('what the tables written run: defaults, checks, policies, indexes, domains', () => {
    const insert = 'insert into a values (1)'
    expect(scopes(insert, target('a', { uses: "select nextval('s'::regclass)" }), target('a', { uses: 'select (x > 0)' }))).toBe(
      'a',
    )
    expect(scopes(insert, target('a', { uses: 'select exists (select from b)' }))).toBe('a')
    for (const uses of ['select mine()', 'select lo_create(0)', 'select ?', 'select exists (select mine() from b)'])
      expect(scopes(insert, target('a', { uses })), uses).toBeUndefined()
    const domain = row('type', 'd', { uses: 'select mine(value)' })
    expect(scopes(insert, domain, row('type', 'a', { uses: 'select null::d' }))).toBeUndefined()
  })

  test('more than four are any', () => {
    const text = (tables: readonly string[]) => `with ${tables.map(name => `_${name} as (delete from ${name})`)} select 1`
    expect(scopes(text(['a', 'b', 'c', 'd']))).toBe('a b c d')
    expect(scopes(text(['a', 'b', 'c', 'd', 'e']))).toBeUndefined()
  })
})

test('nothing is told without a catalog, or where casts that no text shows may run anything', () => {
  expect(tableScopes(analyse('select 1'), emptyCatalog)).toBeUndefined()
  expect(scopes('select 1', row('scope-every', 'cast'))).toBeUndefined()
  expect(scopes('insert into a values (1)', row('scope-every', 'cast'))).toBeUndefined()
  expect(scopes('select 1', row('every', 'x', { obstacle: 'is off' }))).toBeUndefined()
})
