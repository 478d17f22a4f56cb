import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../../../testing/index.js'
import { buildCatalog, type Catalog } from './catalog.js'
import { type CatalogRow, catalogQuery } from './catalog-query.js'
import { loadParser } from './parser.js'
import { StatementCache } from './statement-cache.js'

// What the classifier says is only worth something if a real standby agrees: every text allowed here runs on one, and
// every text refused has a reason that names what is wrong with it.

const SCHEMA = `
  create schema app;
  create table users (id int primary key, name text not null, email text, manager int, tags text[], profile jsonb, born date);
  insert into users select n, 'user ' || n, n || '@example.org', n / 2, array['a', 'b'], '{"a": {"b": 1}}', '2000-01-01' from generate_series(1, 50) n;
  create table app.orders (id bigserial primary key, user_id int references users, total numeric, placed timestamptz default now());
  insert into app.orders (user_id, total) select n, n * 10 from generate_series(1, 50) n;
  create type app.mood as enum ('sad', 'ok', 'happy');
  create type app.pair as (a int, b text);
  create type app.point as (x int, y text);
  create sequence app.counter;
  create materialized view app.totals as select user_id, sum(total) as total from app.orders group by user_id;
  create table app.events (id int, at date) partition by range (at);
  create table app.events_2024 partition of app.events for values from ('2024-01-01') to ('2025-01-01');
  create unlogged table app.scratch (id int);
  create table app.mixed (id int, at date) partition by range (at);
  create unlogged table app.mixed_2024 partition of app.mixed for values from ('2024-01-01') to ('2025-01-01');

  create function app.writes(int) returns int volatile language plpgsql as $$ begin insert into app.orders (user_id) values ($1); return $1; end $$;
  create function app.stamps(int, int) returns boolean volatile language sql as 'select $1 = $2';
  create function app.tax(numeric) returns numeric immutable language sql as 'select $1 * 0.2';
  create function app.active() returns setof users stable language sql as 'select * from users where id < 10';
  create function initials(users) returns text stable language sql as 'select left($1.name, 1)';
  create function app.touched(users) returns text volatile language sql as 'select $1.name';
  create function app.mixed_up(int) returns int stable language sql as 'select $1';
  create function app.mixed_up(text) returns text volatile language sql as 'select $1';
  create function app.defaulted(a bigint default nextval('app.counter')) returns bigint stable language sql as 'select a';
  create function app.add_up(int, int) returns int volatile language sql as 'select $1 + $2';
  create aggregate app.volatile_sum(int) (sfunc = app.add_up, stype = int);
  create aggregate app.plain_sum(int) (sfunc = int4pl, stype = int, initcond = '0');
  create procedure app.proc() language sql as 'delete from users where false';
  create function app.random() returns int volatile language sql as 'select 4';
  create function app.is_odd(int) returns boolean volatile language sql as 'select $1 % 2 = 1';
  create function app.is_even(int) returns boolean immutable language sql as 'select $1 % 2 = 0';
  create operator app.=== (leftarg = int, rightarg = int, procedure = app.stamps);
  create operator app.<-> (leftarg = int, rightarg = int, procedure = int4mi);
  create domain app.odd as int check (app.is_odd(value));
  create domain app.even as int check (app.is_even(value));
  create type app.holder as (n app.odd);
  create table app.holders (n app.odd);
  create function app.takes_odd(app.odd) returns int stable language sql as 'select 1';
  create function app.to_pair(text) returns app.pair volatile language sql as $$ select (1, $1)::app.pair $$;
  create cast (text as app.pair) with function app.to_pair(text);

  create view app.plain_view as select u.id, u.name, app.tax(o.total) as tax from users u join app.orders o on o.user_id = u.id;
  create view app.nested_view as with t as (select * from app.plain_view) select * from t where id < 20;
  create view app.builtin_view as select nextval('app.counter') as n;
  create view app.lock_view as select pg_try_advisory_lock(1) as locked;
  create view app.writing_view as select app.writes(id) as n from users;
  create view app.outer_view as select * from (select n from app.writing_view) x;
  create view app.for_update_view as select * from users for update;
  create view app.scratch_view as select * from app.scratch;
  create view app.operator_view as select id operator(app.===) 1 as same from users;
  create view app.random_view as select clock_timestamp() as at;
  create view app.cast_view as select id::app.odd as n from users;

  create table app.guarded (id int, owner text);
  alter table app.guarded enable row level security;
  create policy guarded_read on app.guarded for select using (app.is_even(id) or owner = current_user);
  create policy guarded_insert on app.guarded for insert with check (app.is_odd(id));
  create table app.logged (id int);
  alter table app.logged enable row level security;
  create policy logged_read on app.logged for select using (app.writes(id) > 0);
  create view app.logged_view as select * from app.logged;
  create table app.dormant (id int);
  create policy dormant_read on app.dormant using (app.writes(id) > 0);

  create temporary table users (shadow int);
  create temporary table only_temporary (id int);
`

const ALLOWED = [
  'select 1',
  "select 1 + 1, 'a' || 'b', now(), current_date, current_user, version()",
  'values (1), (2)',
  'table users',
  'show server_version',
  'select * from users where id = 1',
  'select u.*, o.total from users u join app.orders o on o.user_id = u.id where o.total > 100 order by u.name limit 10',
  'select users.id, u2.name from public.users left join users u2 on u2.id = users.manager',
  'select from users natural join app.orders',
  'select count(*), avg(total), max(placed) from app.orders group by user_id having sum(total) > 0',
  'select user_id, rank() over (partition by user_id order by total desc) from app.orders',
  'select percentile_cont(0.5) within group (order by total), string_agg(id::text, $$,$$ order by id) from app.orders',
  'select user_id, sum(total) from app.orders group by grouping sets ((user_id), ())',
  'select distinct on (manager) * from users order by manager, id',
  'with a as (select 1 as x) select * from a',
  'with recursive r as (select 1 as n union all select n + 1 from r where n < 5) select sum(n) from r',
  "with scratch as (select 1 as id) select * from scratch where id in (1, 2) and id between 0 and 3 and 'a' like 'b%'",
  'with recursive t as (select id, manager from users where id = 1 union select u.id, u.manager from users u join t on t.id = u.manager) cycle id set looped using path select * from t',
  'select 1 union select 2 except select 3 intersect select 4',
  'select exists (select from users), id = any (array[1, 2]), id in (select user_id from app.orders) from users',
  "select case id when 1 then 'one' else 'more' end, coalesce(name, ''), nullif(id, 2), greatest(id, 3) from users",
  "select name similar to 'u%', name ~* '^u', name not ilike '%x%', substring(name from 2 for 3), trim(both 'u' from name), position('s' in name) from users",
  "select extract(year from born), born + interval '1 day', now() at time zone 'UTC', date_trunc('month', born), age(born) from users",
  "select profile -> 'a' ->> 'b', profile #> '{a,b}', profile @> '{}', jsonb_path_query(profile, '$.a') from users",
  "select * from users, jsonb_each(profile) with ordinality, unnest(tags) t, lateral (select t || 'x') y",
  "select * from json_table('[{\"a\": 1}]', '$[*]' columns (a int path '$.a'))",
  "select json_value('{\"a\": 1}', '$.a' returning int), json_object('a': 1), json_query('{}', '$'), '{}' is json",
  "select * from xmltable('/a/b' passing xml '<a><b>1</b></a>' columns n int path '.')",
  'select xmlelement(name a, xmlattributes(1 as b)), xmlforest(1 as c)',
  'select * from json_populate_record(null::users, \'{"id": 1}\')',
  'select * from json_to_recordset(\'[{"a": 1}]\') as x(a int, b text)',
  'select * from generate_series(1, 3) n',
  'select * from rows from (generate_series(1, 2), unnest(array[1])) as x(a, b)',
  'select * from users tablesample bernoulli (50) repeatable (1)',
  'select tags[1], tags[1:2], array(select id from users), row(1, 2) = row(1, 2), (1, 2) < (3, 4) from users',
  'select array_agg(u), json_agg(row_to_json(u)) from users u group by u.manager',
  'select users from users',
  "select (row(1, 'a')::app.point).y, 'happy'::app.mood, enum_range(null::app.mood)",
  "select 'users'::regclass, 1::bigint, cast('1' as numeric(10, 2)), '{1,2}'::int[], text 'x', '1'::varchar(3), b'101', int4(1.5)",
  'select 2::app.even, 4::app.even::text',
  'select app.tax(total) from app.orders',
  'select * from app.active()',
  'select initials(u), u.initials, (u).initials, (u).name from users u',
  'select app.plain_sum(id) from users',
  'select id operator(app.<->) 2 from users',
  'select * from app.totals',
  'select * from app.events',
  'select * from app.events_2024',
  'select last_value from app.counter',
  'select * from app.plain_view',
  'select name from app.nested_view where tax > 1',
  'select * from app.random_view',
  'select * from app.guarded',
  'select * from app.dormant',
  'select n from app.holders',
  'select * from app.active() a join app.plain_view using (id)',
  'select clock_timestamp(), timeofday(), gen_random_uuid(), pg_sleep(0), random_normal()',
  'select pg_catalog.random()',
  "select pg_is_in_recovery(), pg_last_wal_replay_lsn(), pg_relation_size('users'), pg_size_pretty(pg_total_relation_size('users'))",
  'select (1.5).round, (id).pg_relation_size from users limit 0',
  "select current_setting('work_mem'), current_schema(), current_database(), session_user",
  "select format('%s', 1), md5('a'), encode('a', 'hex'), to_char(now(), 'YYYY'), to_tsvector('a b') @@ to_tsquery('a')",
  'select relname, pg_get_userbyid(relowner), obj_description(oid), format_type(reltype, null) from pg_class',
  'select table_name, column_name from information_schema.columns where table_schema = $$app$$',
  'select * from information_schema.tables, pg_catalog.pg_tables, pg_indexes limit 1',
  "select has_table_privilege('users', 'select'), to_regclass('users'), pg_get_viewdef('app.plain_view'::regclass)",
  'select * from pg_settings limit 1',
  'select * from pg_stats limit 1',
  'explain select * from users',
  'explain (analyze, buffers) select * from users join app.orders on user_id = users.id',
  'explain (format json) with a as (select 1) select * from a',
  'select 1; select 2; table users',
  'copy users to stdout',
  'copy (select * from app.orders order by id) to stdout with (format csv, header)',
  '/* tidemark: replica */ select app.is_odd(1)',
]

const REFUSED: readonly (readonly [text: string, reason: RegExp])[] = [
  ["insert into users (id, name) values (99, 'x')", /InsertStmt/],
  ['with gone as (delete from users where false returning *) select * from gone', /DeleteStmt/],
  ['select * from users for update', /LockingClause/],
  ['select * from users where id in (select id from users for share)', /LockingClause/],
  ['select 1 into app.copied', /IntoClause/],
  ['explain analyze update users set name = name', /UpdateStmt/],
  ['lock table users in access share mode', /LockStmt/],
  ['call app.proc()', /CallStmt/],
  ["select nextval('app.counter')", /function pg_catalog.nextval is volatile/],
  ["select currval('app.counter')", /currval is volatile/],
  ['select lastval()', /lastval is volatile/],
  ["select setval('app.counter', 1)", /setval is volatile/],
  ['select pg_advisory_lock(1)', /leaves state behind/],
  ['select (1::bigint).pg_advisory_lock', /leaves state behind/],
  ['select pg_advisory_xact_lock(1)', /pg_advisory_xact_lock is volatile/],
  ['select (1::bigint).pg_advisory_xact_lock', /pg_advisory_xact_lock is volatile/],
  ['select pg_try_advisory_xact_lock(id) from users', /pg_try_advisory_xact_lock is volatile/],
  ["select set_config('work_mem', '1MB', false)", /leaves state behind/],
  ["select set_config('work_mem', '1MB', true)", /set_config is volatile/],
  ["select pg_notify('a', 'b')", /pg_notify is volatile/],
  ['select pg_terminate_backend(0)', /pg_terminate_backend is volatile/],
  ['select txid_current()', /for the primary only/],
  ['select pg_current_snapshot()', /for the primary only/],
  ["select query_to_xml('select pg_advisory_lock(1)', true, true, '')", /query_to_xml is volatile/],
  ["select table_to_xml('app.lock_view'::regclass, true, true, '')", /for the primary only/],
  ['select lo_create(0)', /lo_create is volatile/],
  ['select * from pg_stat_activity', /relation pg_catalog.pg_stat_activity: function .* for the primary only/],
  ['select * from pg_locks', /relation pg_catalog.pg_locks: function pg_catalog.pg_lock_status is volatile/],
  ['select app.writes(1)', /function app.writes is volatile/],
  ['select * from users where app.writes(id) > 0', /function app.writes is volatile/],
  ['select * from users join lateral app.writes(id) w on true', /function app.writes is volatile/],
  ['select writes(1)', /function app.writes is volatile/],
  ['select u.touched from users u', /function app.touched is volatile/],
  ['select (u).touched from users u', /function app.touched is volatile/],
  ['select (1).writes', /function app.writes is volatile/],
  ['select ((select 1)).writes from users', /function app.writes is volatile/],
  ["select app.mixed_up('a'), app.mixed_up(1)", /function app.mixed_up is volatile/],
  ['select app.defaulted()', /function app.defaulted: function pg_catalog.nextval is volatile/],
  ['select app.volatile_sum(id) from users', /function app.volatile_sum is volatile/],
  ['select app.volatile_sum(id) over () from users', /function app.volatile_sum is volatile/],
  ['select random()', /function app.random is volatile/],
  ['select 1 operator(app.===) 1', /operator app.=== runs a volatile function/],
  ['select 1 === 1', /operator app.=== runs a volatile function/],
  ['select id from users order by exists (select 1 where id === any (array[1]))', /operator app.=== runs/],
  ["select '1'::app.odd", /type app.odd: function app.is_odd is volatile/],
  ['select app.odd(1)', /app.odd: function app.is_odd is volatile/],
  ['select (1).odd', /app.odd: function app.is_odd is volatile/],
  ["select array['1']::app.odd[]", /type app.odd: function app.is_odd is volatile/],
  ["select row('1')::app.holder", /type app.holder: type app.odd: function app.is_odd is volatile/],
  [
    'select * from json_populate_record(null::app.holders, \'{"n": 1}\')',
    /type app.holders: type app.odd: function app.is_odd is volatile/,
  ],
  ['select * from json_to_record(\'{"n": 1}\') as x(n app.odd)', /type app.odd: function app.is_odd is volatile/],
  ["select json_value('1', '$' returning app.odd)", /type app.odd: function app.is_odd is volatile/],
  ["select app.takes_odd('1')", /function app.takes_odd: type app.odd: function app.is_odd is volatile/],
  ["select 'a'::text::app.pair", /type app.pair has a cast by a volatile function/],
  ['select * from app.builtin_view', /relation app.builtin_view: function pg_catalog.nextval is volatile/],
  ['select * from app.lock_view', /relation app.lock_view: it leaves state behind/],
  ['select * from app.writing_view', /relation app.writing_view: function app.writes is volatile/],
  ['select * from app.outer_view', /relation app.outer_view: relation app.writing_view: function app.writes/],
  ['select * from app.for_update_view', /relation app.for_update_view: .*LockingClause/],
  ['select * from app.operator_view', /relation app.operator_view: operator app.=== runs/],
  ['select * from app.cast_view', /relation app.cast_view: type app.odd: function app.is_odd/],
  ['select * from app.logged', /relation app.logged: function app.writes is volatile/],
  ['select * from app.logged_view', /relation app.logged_view: relation app.logged: function app.writes/],
  ['select * from app.scratch', /relation app.scratch is unlogged/],
  ['select * from app.scratch_view', /relation app.scratch is unlogged/],
  ['select * from app.mixed', /relation app.mixed is unlogged/],
  ['select * from only_temporary', /only_temporary is temporary/],
  ['select * from pg_temp.users', /leaves state behind/],
  ['copy app.writing_view to stdout', /function app.writes is volatile/],
  ['copy (select app.writes(1)) to stdout', /function app.writes is volatile/],
  ['explain select app.writes(1)', /function app.writes is volatile/],
  ['/* tidemark: primary */ select 1', /asks for the primary/],
  ['/* tidemark: replica */ select pg_advisory_lock(1)', /leaves state behind/],
  ['/* tidemark: replica */ delete from users', /DeleteStmt/],
]

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
