import { beforeAll, describe, expect, test } from 'vitest'
import { analyse } from './analyse.js'
import { loadParser } from './parser.js'
import type { Name } from './statement.js'

beforeAll(loadParser)

const shown = (names: readonly Name[]) =>
  names.map(({ schema, name }) => (schema === undefined ? name : `${schema}.${name}`)).sort()

describe('the kind of a statement', () => {
  test.each([
    'select 1',
    'SELECT * FROM t WHERE id = $1',
    'table t',
    "values (1), ('a')",
    'select 1; select 2',
    'with recursive r as (select 1 as n union all select n + 1 from r where n < 9) select * from r',
    'with a as (values (1)) select * from a union (select 2 order by 1) limit 3',
    'show search_path',
    'explain select 1',
    'explain (analyze, buffers, format json) select * from t',
    'copy t to stdout',
    'copy (select * from t) to stdout with (format csv, header)',
    'select * from t tablesample bernoulli (10) repeatable (1)',
    "select * from json_table('[]', '$[*]' columns (a int path '$.a' default 0 on error, nested path '$.b' columns (b text)))",
    "select * from xmltable('/a' passing x columns b int path 'c')",
    "select json_object('a': 1), json_array(1, 2), json_arrayagg(x), json_objectagg(a: b), json_value(j, '$.a' returning int), j is json from t",
    'select rank() over w, sum(a) filter (where b) over (partition by c order by d) from t window w as (order by e)',
    'select a from t group by grouping sets ((a), rollup (b), ())',
    "select xmlelement(name a, xmlattributes(1 as b)), xmlserialize(content 'x' as text), current_date, (array[1, 2])[1:2], row(1, 2)",
    'select * from rows from (f(1) as (a int), g()) with ordinality as x(a, b, c), lateral (select 1) y',
    'select (c).x, coalesce(a, b), greatest(1, 2), nullif(a, b), case a when 1 then 2 else 3 end, a is distinct from b, \'x\' collate "C"',
    'select count(*) from a natural join b left join c using (id) where exists (select from d) and e = any (select 1) and f not in (1, 2)',
  ])('read: %s', text => {
    expect(analyse(text)).toMatchObject({ kind: 'read', reason: '', ties: false, transactionAfter: 'unchanged' })
  })

  test.each([
    'insert into t values (1)',
    'insert into t select 1 returning *',
    'update t set a = 1',
    'delete from t',
    'merge into t using u on t.id = u.id when matched then delete',
    'with gone as (delete from t returning *) select * from gone',
    'with a as (with b as (insert into t values (1) returning *) select * from b) select * from a',
    'select * from t for update',
    'select * from t for key share of t skip locked',
    'select * from (select * from t for share) s',
    'select 1 union select id from (select id from t for no key update) s',
    'select 1 into u',
    'with a as (select 1) select * into u from a',
    'explain insert into t values (1)',
    'explain analyze delete from t',
    'explain (analyze) create table u as select 1',
    'explain execute p',
    'copy t from stdin',
    "copy t to '/tmp/t'",
    "copy (select 1) to program 'cat'",
    'copy (delete from t returning *) to stdout',
    'truncate t',
    'vacuum t',
    'analyze t',
    'lock table t in access share mode',
    'call p()',
    'do $$ begin end $$',
    'notify a',
    'checkpoint',
    'execute p(1)',
    'refresh materialized view m',
    'create table u (a int)',
    'create unlogged table u (a int)',
    'alter table t add b int',
    'drop table t',
    'alter system set work_mem = 1',
    'grant select on t to public',
    'comment on table t is null',
    'reindex table t',
    "commit prepared 'x'",
    'select 1; insert into t values (1)',
    'begin; select 1; commit',
    'set a.b = 1; select 1',
  ])('write: %s', text => {
    expect(analyse(text).kind).toBe('write')
    expect(analyse(text).reason).toMatch(/^it is more than a read/)
  })

  test.each([
    ['set a.b = 1', true],
    ['set session a.b = 1', true],
    ["set time zone 'UTC'", true],
    ['set role joe', true],
    ['set session authorization joe', true],
    ['set session characteristics as transaction read only', true],
    ['set "TRANSACTION.x" = 1', true],
    ["set transaction_isolation = 'serializable'", true],
    ['reset all', true],
    ['listen a', true],
    ['unlisten *', true],
    ['prepare p as select 1', true],
    ['deallocate all', true],
    ['discard all', true],
    ["load 'auto_explain'", true],
    ['declare c cursor with hold for select 1', true],
    ['declare c cursor for select 1', false],
    ['fetch 10 from c', false],
    ['move c', false],
    ['close c', false],
    ['set local a.b = 1', false],
    ['set transaction isolation level serializable', false],
    ["set transaction snapshot 'x'", false],
    ['set constraints all deferred', false],
    ['savepoint s', false],
    ['release s', false],
    ['rollback to savepoint s', false],
  ])('session: %s', (text, ties) => {
    expect(analyse(text)).toMatchObject({ kind: 'session', ties, transactionAfter: 'unchanged' })
  })

  test.each(['', ' ', ';', '-- nothing'])('unknown, for it does nothing: %j', text => {
    expect(analyse(text)).toMatchObject({ kind: 'unknown', transactionAfter: 'unchanged' })
  })

  test.each([
    'selec 1',
    '\\d t',
    'select 1 +',
    'select 1\0; delete from t',
    "select 'unterminated",
    'merge into the future',
    `select ${'1+'.repeat(8_000)}1`,
    `select ${'(select '.repeat(3_000)}1${')'.repeat(3_000)}`,
    `select ${'1, (select '.repeat(3_000)}1${')'.repeat(3_000)}`,
  ])('unknown: %j', text => {
    expect(analyse(text)).toMatchObject({ kind: 'unknown', ties: true, hint: undefined })
    expect(analyse(text).reason).not.toBe('')
  })
})

describe('transactions', () => {
  test.each([
    ['begin', false],
    ['start transaction', false],
    ['begin read only', true],
    ['begin transaction isolation level repeatable read, read only, deferrable', true],
    ['start transaction read only', true],
    ['begin read write', false],
    ['begin read only, read write', false],
    ['begin isolation level serializable read only', false],
    ['begin read only, isolation level serializable, deferrable', false],
  ])('%s', (text, readOnly) => {
    expect(analyse(text)).toMatchObject({ kind: 'begin', readOnly, transactionAfter: 'open', ties: false })
  })

  test.each([
    ['commit', true, 'closed'],
    ['end', true, 'closed'],
    ['commit and chain', true, 'open'],
    ['rollback', false, 'closed'],
    ['abort', false, 'closed'],
    ['rollback and chain', false, 'open'],
    ["prepare transaction 'x'", true, 'closed'],
  ])('%s', (text, commits, transactionAfter) => {
    expect(analyse(text)).toMatchObject({ kind: 'end', commits, transactionAfter, ties: false })
  })

  test.each([
    ['begin; insert into t values (1); commit', 'closed'],
    ['begin; insert into t values (1)', 'open'],
    ['begin; select 1; rollback; begin read only', 'open'],
    ['insert into t values (1); commit and chain', 'open'],
    ['select 1; insert into t values (1)', 'unchanged'],
    ['savepoint a; delete from t; rollback to a', 'unchanged'],
  ])('several: %s', (text, transactionAfter) => {
    expect(analyse(text)).toMatchObject({ kind: 'write', multi: true, readOnly: false, commits: false, transactionAfter })
  })
})

describe('what else a text does', () => {
  test.each([
    'select pg_advisory_lock(1)',
    'select pg_catalog.pg_try_advisory_lock_shared(1, 2)',
    'select (1::bigint).pg_advisory_lock',
    'insert into t select pg_advisory_lock(1)',
    'select 1; select pg_advisory_unlock_all()',
    "select set_config('a.b', 'c', false)",
    "select set_config('a.b', 'c', $1)",
    "select set_config('a.b', 'c', is_local => false)",
    'select setseed(0.5)',
    "select dblink_connect('x')",
    'create temp table u (a int)',
    'create temporary view v as select 1',
    'create temp sequence s',
    'select 1 into temp u',
    'create table pg_temp.u (a int)',
    'create function pg_temp.f() returns int language sql return 1',
    'select * from pg_temp.u',
    'insert into pg_temp_3.u values (1)',
  ])('ties: %s', text => expect(analyse(text).ties).toBe(true))

  test.each([
    'select pg_advisory_xact_lock(1)',
    "select set_config('a.b', 'c', true)",
    "select set_config('a.b', 'c', is_local => true)",
    "select 'pg_advisory_lock(1)'",
    'select pg_advisory_lock from t',
  ])('does not tie: %s', text => expect(analyse(text).ties).toBe(false))

  test.each([
    ['create table u (a int)', true],
    ['alter function f() volatile', true],
    ['drop view v', true],
    ['select 1 into u', true],
    ['call p()', true],
    ['do $$ begin end $$', true],
    ['begin; create index on t (a); commit', true],
    ['insert into t values (1)', false],
    ['with a as (delete from t returning *) select * from a', false],
    ['select * from t for update', false],
    ['truncate t', false],
    ['begin; delete from t; commit', false],
    ['select 1', false],
  ])('changes the catalog: %s: %s', (text, expected) => expect(analyse(text).changesCatalog).toBe(expected))

  test('COPY … TO STDOUT is marked', () => {
    expect(analyse('copy t to stdout').copyTo).toBe(true)
    expect(analyse('copy t from stdin').copyTo).toBe(false)
  })
})

describe('the names in a read', () => {
  test('functions, wherever they are', () => {
    const text = `
      with a as (select f1())
      select f2(f3()), (select f4()), array[f5()], row(f6()), case when f7() then f8() end, x[f9()], coalesce(f10(), 1),
        sum(y) filter (where f11()) over (partition by f12() order by f13() rows f14() preceding), z.f15(variadic f16()), (f17()).g,
        json_object('k': f18()), f19(a => f20()), f21(all y order by f22()), percentile_cont(f23()) within group (order by 1)
      from f24() with ordinality, rows from (f25(), f26()), lateral f27() l, t tablesample system (f28()),
        xmltable('/x' passing f29() columns c text path 'd' default f30()), json_table(f31(), '$' columns (e int default f32() on empty))
      join u on f33() where f34() in (select f35() union select f36()) and exists (values (f37()))
      group by f38(), cube (f39()) having f40() order by f41() limit f42() offset f43()`
    const { kind, functions } = analyse(text)
    expect(kind).toBe('read')
    const numbers = shown(functions).flatMap(name => /^(?:z\.)?f(\d+)$/.exec(name)?.[1] ?? [])
    expect(numbers.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 43 }, (_, index) => index + 1))
    expect(shown(functions)).toContain('z.f15')
  })

  test('functions behind special syntax', () => {
    const text =
      "select extract(year from a), a at time zone 'UTC', trim(b), overlay(b placing c from 1), b similar to c, b like c escape d"
    const names = ['btrim', 'extract', 'like_escape', 'overlay', 'similar_to_escape', 'timezone']
    expect(shown(analyse(text).functions)).toEqual(names.map(name => `pg_catalog.${name}`))
  })

  test('operators, written or implied', () => {
    expect(shown(analyse('select a operator(s.@@) b, - c, d <-> e, f ~ any (g) order by h using >').operators)).toEqual(
      ['s.@@', '-', '<->', '~', '>'].sort(),
    )
    expect(shown(analyse('select a between symmetric b and c').operators)).toEqual(['<', '<=', '>', '>='])
    for (const text of [
      'select a in (1, 2)',
      'select a in (select 1)',
      'select nullif(a, b)',
      'select a is distinct from b',
      'select case a when 1 then 2 end',
      'select from t join u using (id)',
      'select from t natural join u',
      'with recursive a as (select 1 as x) cycle x set y using z select from a',
    ]) {
      expect(shown(analyse(text).operators), text).toEqual(['='])
    }
    expect(shown(analyse('select a like b, a ilike b, a similar to b, (a, b) < (c, d), a <> all (select 1)').operators)).toEqual(
      ['~~', '~~*', '~', '<', '<>'].sort(),
    )
  })

  test('types, of casts and of columns', () => {
    const text = `select a::t1, cast(b as s.t2[]), t3 'x', xmlserialize(content c as t4), json_value(d, '$' returning t5)
      from f() as (x t6), json_table(e, '$' columns (y t7)), rows from (g() as (z t8))`
    expect(shown(analyse(text).types)).toEqual(['s.t2', 't1', 't3', 't4', 't5', 't6', 't7', 't8'])
  })

  test('relations, without the WITH queries in scope', () => {
    expect(shown(analyse('select from only a, s.b as c, (table d) e where exists (select from f)').relations)).toEqual(
      ['a', 's.b', 'd', 'f'].sort(),
    )
    for (const [text, relations] of [
      ['with a as (select from b) select from a', ['b']],
      ['with a as (select from a) select from a', ['a']],
      ['with recursive a as (select from a) select from a', []],
      ['with a as (select from b), b as (select from a) select from b', ['b']],
      ['with recursive a as (select from b), b as (select 1) select from a', []],
      ['with a as (select 1) select from s.a', ['s.a']],
      ['select from (with a as (select 1) select from a) x, a', ['a']],
      ['with a as (select 1) select from (with b as (select from a) select from b, a) x union select from b, a', ['b']],
      ['with a as (select 1) select (select count(*) from a) from c', ['c']],
      ['select from a; with a as (select 1) select from a', ['a']],
      ['copy (with a as (select 1) select from a) to stdout', []],
      ['copy a to stdout', ['a']],
    ] as const) {
      expect(shown(analyse(text).relations), text).toEqual([...relations])
    }
  })

  test('what follows a dot', () => {
    const statement = analyse('select t.a, s.t.b, c, (d).e, (f(g)).h[1].i, (select j).k, t.*')
    expect([...statement.attributes].sort()).toEqual(['a', 'b', 't'])
    expect([...statement.fields].sort()).toEqual(['e', 'h', 'i', 'k'])
  })

  test('are kept for a read and a plain change of rows, and for nothing else', () => {
    expect(shown(analyse('insert into t select f() from u').functions)).toEqual(['f'])
    for (const text of [
      'create table t as select f() from u',
      'explain insert into t select f() from u',
      'delete from t; select f()',
    ])
      expect(analyse(text), text).toMatchObject({ functions: [], relations: [], targets: [] })
  })

  test('xmax, where a row shows its locks', () => {
    for (const text of ['select xmax from t', 'select t.xmax from t', 'select (t).xmax from t'])
      expect(analyse(text).showsLocks, text).toBe(true)
    expect(analyse("select xmin, 'xmax' from t").showsLocks).toBe(false)
  })
})

describe('what a text writes to', () => {
  test.each([
    ['insert into t values (1)', ['t:insert']],
    ['insert into s.t select * from u', ['s.t:insert']],
    ['insert into t values (1) on conflict do nothing', ['t:insert']],
    ['insert into t values (1) on conflict (a) where b do update set a = default where c', ['t']],
    ['update only t set (a, b) = (select 1, 2) from u where t.a = u.a returning old.a', ['t']],
    ['delete from t using u where current of c', ['t']],
    [
      'merge into t using u on a = b when matched then delete when not matched then insert values (default) returning merge_action()',
      ['t'],
    ],
    ['with a as (delete from t returning *), b as (update u set a = 1) insert into v select * from a', ['t', 'u', 'v:insert']],
    ['with a as (delete from t returning *) select * from a', ['t']],
    // The name of a WITH query hides a table from reads, never from writes.
    ['with t as (select 1) insert into t select * from t', ['t:insert']],
  ])('%s', (text, expected) => {
    const { kind, targets } = analyse(text)
    expect(kind).toBe('write')
    const found = targets.map(({ schema, name, inserts }) => `${schema ? `${schema}.` : ''}${name}${inserts ? ':insert' : ''}`)
    expect(found.sort()).toEqual(expected)
  })

  test.each([
    'select 1',
    'insert into t values (1); select 1',
    'insert into t select * from u for update',
    'with a as (delete from t returning *) select * into u from a',
    'copy (delete from t returning *) to stdout',
    'explain analyze delete from t',
    'prepare p as delete from t',
    'create rule r as on insert to t do also delete from u',
    'truncate t',
    'call p()',
  ])('nothing that can be told: %s', text => expect(analyse(text).targets).toEqual([]))
})
