/**
 * Tables are scopes: what `tableScopes` says is held against a real server. Every write of a list is run, and every read of another
 * before and after it. Where a read shows something else, the two must share a scope or one must be undefined (sound);
 * pairs known to be harmless must have scopes that are apart (of use). Controls: with one kind of fact withheld from the snapshot,
 * the same comparison finds a pair that would be a stale read.
 */
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.js'
import { CatalogClassifier } from '../../src/engines/postgres/catalog-classifier.js'
import type { PostgresNode } from '../../src/engines/postgres/postgres-node.js'
import { analyse } from '../../src/engines/postgres/statement/analyse.js'
import {
  buildCatalog,
  type CatalogRow,
  catalogQuery,
  loadParser,
  tableScopes,
} from '../../src/engines/postgres/statement/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'

// Made by a role that owns it all and is no superuser, so that row security counts.
const SCHEMA = `
  create table users (id int primary key, name text unique, email text default 'none');
  create table posts (id serial primary key, user_id int references users on delete cascade, title text);
  create table comments (id int generated always as identity primary key, post_id int references posts on delete cascade, body text);
  create table profiles (user_name text references users (name) on update cascade on delete set null, bio text);
  create table owners (user_id int default 0 references users on delete set default);
  create table orders (id int primary key, user_id int references users, placed timestamptz default now(), total numeric check (total >= 0));
  create table notes (id uuid primary key default gen_random_uuid(), body text, size int generated always as (length(body)) stored);
  create index on notes (lower(body)) where size > 0;
  create table tree (id int primary key, parent int references tree on delete cascade);
  insert into users values (0, 'nobody'), (1, 'ann'), (2, 'bob'), (3, 'cid');
  insert into posts (user_id, title) values (1, 'a'), (2, 'b');
  insert into comments (post_id, body) values (1, 'x'), (2, 'y');
  insert into profiles values ('ann', 'p'), ('bob', 'q');
  insert into owners values (1), (2);
  insert into orders (id, user_id, total) values (1, 3, 10);
  insert into notes (body) values ('n');
  insert into tree values (1, null), (2, 1), (3, 2);

  create view titles as select title from posts;
  create view authors as select u.name, t.title from users u, titles t;
  create view locked_users as select id, xmax::text as lock from users;
  create materialized view stored_titles as select * from titles;
  create table shared (id int);
  create view other.shared as select body from comments;

  create table audit (what text);
  create function log_it() returns trigger language plpgsql as $$ begin insert into audit values (tg_table_name); return null; end $$;
  create table audited (id int primary key, up int);
  create trigger log_it after insert or update or delete on audited for each row execute function log_it();
  create table sleeping (id int);
  create trigger log_it after insert on sleeping for each row execute function log_it();
  alter table sleeping disable trigger log_it;
  create table top (id int primary key);
  create table middle (id int references top on delete cascade);
  create trigger log_it after delete on middle for each row execute function log_it();
  insert into top values (1); insert into middle values (1);
  create table ruled (id int);
  create rule log_it as on insert to ruled do also insert into audit values ('ruled');
  create table deferred (id int);
  create constraint trigger log_it after insert on deferred deferrable initially deferred for each row execute function log_it();
  create view instead as select id from sleeping;
  create function log_instead() returns trigger language plpgsql as $$ begin insert into audit values ('instead'); return new; end $$;
  create trigger log_it instead of insert on instead for each row execute function log_instead();

  create table animals (id int, kind text);
  create table dogs (tail int) inherits (animals);
  create table puppies () inherits (dogs);
  insert into puppies values (1, 'dog', 2);
  create table events (id int, at int) partition by range (at);
  create table events_1 partition of events for values from (0) to (10);
  create table events_2 partition of events for values from (10) to (20) partition by range (at);
  create table events_2a partition of events_2 for values from (10) to (15);
  insert into events values (1, 1), (2, 11);
  create view second_events as select * from events_2a;
  create table pages (id int, at int, primary key (id, at)) partition by range (at);
  create table pages_1 partition of pages for values from (0) to (10);
  create table pages_2 partition of pages for values from (10) to (20);
  create table lines (page int, at int, foreign key (page, at) references pages on delete cascade on update cascade);
  insert into pages values (1, 1), (2, 11); insert into lines values (1, 1), (2, 11);
  create table watched (id int, at int) partition by range (at);
  create table watched_1 partition of watched for values from (0) to (10);
  create table watched_2 partition of watched for values from (10) to (20);
  create trigger log_it after insert on watched_1 for each row execute function log_it();

  create function count_posts() returns bigint stable language plpgsql as $$ begin return (select count(*) from posts); end $$;
  create function posts_by(users) returns bigint stable language sql as 'select count(*) from posts where user_id = $1.id';
  create function more_posts(int, int) returns boolean stable language plpgsql as $$ begin return (select count(*) from posts) > $1; end $$;
  create operator ?> (leftarg = int, rightarg = int, procedure = more_posts);
  create type pair as (a int, b int);
  create function to_pair(int) returns pair stable language plpgsql as $$ begin return row((select count(*) from posts), $1)::pair; end $$;
  create cast (int as pair) with function to_pair(int);
  create view counted as select count_posts() as n;
  create view compared as select 2 ?> 1 as more;
  create function is_title(text) returns boolean stable language plpgsql as $$ begin return exists (select from posts where title = $1); end $$;
  create domain title as text check (value is null or is_title(value));
  create table titled (title title);
  insert into titled values ('a'), (null);
  create table title_lists (list title[]);
  insert into title_lists values ('{a}');

  create function log_call() returns int volatile language plpgsql as $$ begin insert into audit values ('call'); return 1; end $$;
  create function sneaky(int) returns int immutable language plpgsql as $$ begin return (select log_call()); end $$;
  create procedure log_proc() language plpgsql as $$ begin insert into audit values ('proc'); end $$;
  create table defaulted (id int, n int default log_call());
  create table generated (id int, n int generated always as (sneaky(id)) stored);
  create table checked (id int check (log_call() > 0));
  create table indexed (id int);
  create index on indexed (sneaky(id));
  create table partly (id int);
  create index on partly (id) where sneaky(id) > 0;
  create table spread (id int) partition by range (sneaky(id));
  create table spread_1 partition of spread default;
  create domain logging as int check (log_call() > value);
  create table domains (n logging);
  create table logging_arrays (n logging[]);

  create table members (who text);
  create table guarded (id int, who text);
  insert into guarded values (1, 'ann');
  create policy by_membership on guarded using (exists (select from members m where m.who = guarded.who));
  create policy by_call on guarded for insert with check (log_call() > 0);
  alter table guarded enable row level security;
  alter table guarded force row level security;
  create view guarded_view as select * from guarded;
  create table called (id int);
  create policy by_call on called using (log_call() > 0);
  alter table called enable row level security;
  alter table called force row level security;
  create table "Odd Name" (id int);
  create view all_of_it as select count(*) from audit, posts;
`

const WRITES = [
  "insert into users values (9, 'new')",
  "insert into users values (1, 'again') on conflict (id) do update set name = 'renamed'",
  "insert into users values (1, 'again') on conflict do nothing",
  "update users set name = 'renamed' where id = 1",
  'delete from users where id = 1',
  'with gone as (delete from users where id = 1 returning *) insert into notes (body) select name from gone',
  'with gone as (delete from posts returning *) select * from gone',
  'with posts as (select 5 as id) insert into posts (user_id) select 1 from posts',
  'merge into users u using posts p on u.id = p.user_id and u.id = 2 when matched then delete',
  "insert into posts (user_id, title) values (3, 'c')",
  'delete from posts',
  "update posts set title = 'z'",
  "insert into comments (post_id, body) values (1, 'z')",
  'insert into orders (id, user_id, total) values (2, 1, 5)',
  "insert into notes (body) select 'm' from users",
  'delete from tree where id = 1',
  'insert into shared values (1)',
  "insert into titles values ('by view')",
  'insert into audited values (1)',
  'with x as (insert into audited values (2) returning id) select * from x',
  'insert into sleeping values (1)',
  'delete from top',
  'insert into ruled values (1)',
  'insert into deferred values (1)',
  'insert into instead values (1)',
  "insert into animals values (1, 'cat')",
  "insert into dogs values (1, 'dog', 1)",
  "insert into puppies values (1, 'dog', 1)",
  "update animals set kind = 'cat'",
  'insert into events values (7, 2), (8, 12)',
  'insert into events_1 values (7, 2)',
  'insert into events_2a values (8, 12)',
  'update events set at = 12 where id = 1',
  'delete from pages_1',
  'delete from pages',
  'update pages set at = 12 where id = 1',
  'insert into watched values (1, 2)',
  'insert into watched values (1, 12)',
  'insert into watched_1 values (1, 2)',
  'insert into defaulted (id) values (1)',
  'insert into generated values (1)',
  'insert into checked values (1)',
  'insert into indexed values (1)',
  'insert into partly values (1)',
  'insert into spread values (1)',
  'insert into domains values (0)',
  "insert into logging_arrays values ('{0}')",
  "insert into members values ('ann')",
  "insert into guarded values (2, 'bob')",
  'update called set id = 1',
  'insert into "Odd Name" values (1)',
  'insert into "Odd Name" select log_call()',
  'insert into "Odd Name" select sneaky(1)',
  'insert into "Odd Name" select n from (select 0::logging as n) x',
  'select log_call()',
  'call log_proc()',
  "do $$ begin insert into audit values ('do'); end $$",
  'truncate comments',
  'refresh materialized view stored_titles',
  "select nextval('posts_id_seq')",
  "select setval('posts_id_seq', 100)",
  'insert into posts (user_id) select id from users for update',
  'select * from users for update',
  'insert into audit values (1); delete from notes',
  'drop view authors',
  'alter table notes rename column body to text',
] as const

const READS = [
  'select * from users order by id',
  'select * from only users',
  'table posts',
  'select * from comments',
  'select * from profiles order by bio',
  'select * from owners',
  'select * from orders',
  'select body from notes',
  'select count(*) from other.shared',
  'select count(*) from shared',
  'select * from tree',
  'select * from titles',
  'select * from authors order by name',
  'select * from stored_titles',
  'select id, xmax::text from users order by id',
  'select * from locked_users order by id',
  'select xmax::text from posts',
  'select * from audit',
  'select * from audited',
  'select * from sleeping',
  'select * from instead',
  'select * from middle',
  'select * from ruled',
  'select * from animals',
  'select * from dogs',
  'select * from only puppies',
  'select * from events order by id',
  'select * from events_1',
  'select * from events_2',
  'select * from second_events',
  'select * from lines',
  'select * from pages_2',
  'select * from watched_2',
  'select count_posts()',
  'select u.posts_by from users u',
  'select (u).posts_by from users u',
  'select 2 ?> 1',
  'select 1::pair',
  'select (pair(1)).a',
  'select * from counted',
  'select * from compared',
  "select 'c'::title",
  "select coalesce(title, 'c') from titled",
  "select t = '(c)' from titled t",
  "select list = '{c}' from title_lists",
  "select title from titled union all select 'c'",
  'select json_populate_record(t, \'{"title": "c"}\') from titled t',
  "select pg_input_is_valid('c', 'title')",
  'select last_value from posts_id_seq',
  "select currval('posts_id_seq')",
  "select pg_sequence_last_value('posts_id_seq')",
  "select last_value from pg_sequences where sequencename = 'posts_id_seq'",
  "select query_to_xml('select count(*) from posts', true, true, '')::text",
  "select table_to_xml('audit', true, true, '')::text",
  "select word from ts_stat('select to_tsvector(title) from posts')",
  "select pg_relation_size('audit'), pg_relation_size('posts')",
  'select count(*) from pg_locks where pid = pg_backend_pid()',
  'select * from guarded',
  'select count(*) from guarded_view',
  'select * from members',
  'select count(*) from called',
  'select * from "Odd Name"',
  'select * from all_of_it',
  'with posts as (select 1 as x) select * from posts',
  'select (select count(*) from audit), exists (select from comments)',
  'explain select * from audit',
  'show search_path',
  'select 1 + 1, current_user, now()',
] as const

type Text = (typeof WRITES)[number] | (typeof READS)[number]

/** Pairs that have nothing to do with each other, whatever the catalog looks like: here a read must not wait. */
const HARMLESS: readonly (readonly [write: Text, reads: readonly Text[]])[] = [
  [
    "insert into users values (9, 'new')",
    ['table posts', 'select * from comments', 'select body from notes', 'select * from audit'],
  ],
  [
    "insert into posts (user_id, title) values (3, 'c')",
    ['select * from comments', 'select * from animals', 'select * from guarded'],
  ],
  ['delete from posts', ['select * from users order by id', 'select body from notes', 'select * from stored_titles']],
  [
    "insert into comments (post_id, body) values (1, 'z')",
    ['table posts', 'select * from titles', 'select * from authors order by name'],
  ],
  [
    'insert into orders (id, user_id, total) values (2, 1, 5)',
    ['select * from users order by id', 'select * from events order by id'],
  ],
  ["insert into notes (body) select 'm' from users", ['select * from users order by id', 'select * from titles']],
  ['delete from tree where id = 1', ['select * from users order by id']],
  ['insert into sleeping values (1)', ['select * from audit']],
  ['insert into events_1 values (7, 2)', ['select * from animals', 'select * from audit', 'select * from all_of_it']],
  ['delete from pages', ['select * from audit', 'select * from events order by id']],
  ["insert into members values ('ann')", ['select * from users order by id', 'select * from audit']],
  ['insert into "Odd Name" values (1)', ['select * from guarded', 'select count(*) from guarded_view', 'show search_path']],
]

let cluster: Cluster
let client: pg.Client
let rows: readonly CatalogRow[]
/** Pairs where the write changed what the read shows. */
let changed: readonly (readonly [write: string, read: string])[]

beforeAll(async () => {
  await loadParser()
  cluster = await startCluster({ replicas: 0 })
  client = new pg.Client(cluster.url('primary'))
  await client.connect()
  await client.query(
    'create role app; create schema authorization app; create schema other authorization app; set role app; set search_path = app',
  )
  await client.query(SCHEMA)
  rows = await snapshot()
  changed = await compare()
})

afterAll(async () => {
  await client?.end()
  await cluster?.close()
})

const snapshot = async () => (await client.query<CatalogRow>(catalogQuery)).rows

/** Rows, or the error: that is shown to the user, too. */
async function shown(read: string): Promise<string> {
  await client.query('savepoint s')
  try {
    return JSON.stringify((await client.query({ text: read, rowMode: 'array' })).rows)
  } catch (error) {
    await client.query('rollback to s')
    return String(error)
  }
}

async function showAll(): Promise<string[]> {
  const answers: string[] = []
  for (const read of READS) answers.push(await shown(read))
  return answers
}

async function compare(): Promise<[string, string][]> {
  const found: [string, string][] = []
  for (const write of WRITES) {
    await client.query('begin')
    // The first reading takes locks that the second would show.
    await showAll()
    const before = await showAll()
    await client.query(write)
    await client.query('set constraints all immediate')
    const after = await showAll()
    await client.query('rollback')
    READS.forEach((read, at) => {
      if (before[at] !== after[at]) found.push([write, read])
    })
  }
  return found
}

type Scopes = (text: string) => readonly string[] | undefined

function scopesWith(known: readonly CatalogRow[]): Scopes {
  const catalog = buildCatalog(known)
  return text => tableScopes(analyse(text), catalog)
}

function apart(scopes: Scopes, write: string, read: string): boolean {
  const [written, seen] = [scopes(write), scopes(read)]
  return written !== undefined && seen !== undefined && !written.some(scope => seen.includes(scope))
}

/** Stale reads: the write changes what the read shows, and the read would not wait for it. */
const missed = (known: readonly CatalogRow[]) => {
  const scopes = scopesWith(known)
  return changed.filter(([write, read]) => apart(scopes, write, read))
}

describe('a write and a read', () => {
  test('share a scope, or one may be any, wherever the write changes what the read shows', () => {
    expect(missed(rows)).toEqual([])
    // Every write but those that do nothing is seen by some read, and so is most of what can be read.
    const harmless = new Set(["insert into users values (1, 'again') on conflict do nothing", 'update called set id = 1'])
    expect(WRITES.filter(write => !harmless.has(write) && !changed.some(pair => pair[0] === write))).toEqual([])
    expect(new Set(changed.map(([, read]) => read)).size).toBeGreaterThan(45)
    // Not for want of telling: many of them do share one.
    const scopes = scopesWith(rows)
    expect(changed.filter(([write, read]) => scopes(write) && scopes(read)).length).toBeGreaterThan(50)
  })

  test('of harmless pairs have scopes, apart from each other', () => {
    const scopes = scopesWith(rows)
    for (const [write, reads] of HARMLESS) {
      for (const read of reads) {
        expect(scopes(write), write).toBeDefined()
        expect(scopes(read), read).toBeDefined()
        expect(apart(scopes, write, read), `${write} / ${read}`).toBe(true)
        expect(changed).not.toContainEqual([write, read])
      }
    }
  })
})

describe('with less than the whole truth the same comparison finds stale reads (controls):', () => {
  /** A name without what is known of it is still a name. */
  const without = (withheld: (row: CatalogRow) => boolean) =>
    rows.flatMap(row => (withheld(row) ? (row.kind.startsWith('scope-') ? [] : [{ ...row, uses: null }]) : [row]))
  const usesOf = (kind: CatalogRow['kind'], pattern: RegExp) => (row: CatalogRow) =>
    row.kind === kind && row.uses !== null && pattern.test(row.uses)

  test.each<[string, (row: CatalogRow) => boolean, write: Text, read: Text]>([
    ['triggers', row => row.obstacle === 'has a trigger', 'insert into audited values (1)', 'select * from audit'],
    [
      'triggers of partitions',
      row => row.obstacle === 'has a trigger',
      'insert into watched values (1, 2)',
      'select * from audit',
    ],
    ['rules', row => row.obstacle === 'has a rule', 'insert into ruled values (1)', 'select * from audit'],
    ['actions of foreign keys', row => row.kind === 'scope-action', 'delete from users where id = 1', 'select * from comments'],
    ['inheritance', row => row.kind === 'scope-child', 'insert into events values (7, 2), (8, 12)', 'select * from events_1'],
    ["views' queries", usesOf('relation', /^ ?SELECT/), 'delete from posts', 'select * from titles'],
    ['policies', usesOf('relation', /EXISTS/), "insert into members values ('ann')", 'select * from guarded'],
    ['what is user-defined', row => row.kind === 'scope-function', 'delete from posts', 'select count_posts()'],
    ['operators', row => row.kind === 'scope-operator', "insert into posts (user_id, title) values (3, 'c')", 'select 2 ?> 1'],
    ['casts', row => row.kind === 'scope-type', 'delete from posts', 'select 1::pair'],
    ['domains', usesOf('type', /is_title|::.*title/), "insert into posts (user_id, title) values (3, 'c')", "select 'c'::title"],
    [
      'types of columns',
      row => row.kind === 'type' && row.name.startsWith('title'),
      "insert into posts (user_id, title) values (3, 'c')",
      "select list = '{c}' from title_lists",
    ],
    ['defaults', usesOf('scope-target', /log_call\(\)$/), 'insert into defaulted (id) values (1)', 'select * from audit'],
    ['checks', usesOf('scope-target', /log_call\(\) > 0/), 'insert into checked values (1)', 'select * from audit'],
    ['indexes', usesOf('scope-target', /sneaky\(id\)$/), 'insert into indexed values (1)', 'select * from audit'],
    [
      'sequences',
      row => row.kind === 'scope-relation',
      "insert into posts (user_id, title) values (3, 'c')",
      'select last_value from posts_id_seq',
    ],
  ])('%s', (_, withheld, write, read) => {
    const known = without(withheld)
    expect(known).not.toEqual(rows)
    expect(missed(known)).toContainEqual([write, read])
  })
})

describe('a snapshot', () => {
  test('tells nothing while a cast that no text shows may read a table', async () => {
    for (const [target, context] of [
      ['int', 'as implicit'],
      ['json', ''],
    ]) {
      await client.query('begin')
      await client.query(`create function secret(pair) returns ${target} stable language plpgsql as $$ begin return null; end $$`)
      await client.query(`create cast (pair as ${target}) with function secret(pair) ${context}`)
      const other = await snapshot().finally(() => client.query('rollback'))
      expect(scopesWith(other)('select * from users')).toBeUndefined()
      expect(scopesWith(other)('insert into notes (body) values (1)')).toBeUndefined()
    }
    expect(scopesWith(rows)('select * from users')).toEqual(['table:users'])
  })

  test('tells nothing of a table that a temporary view hides: what is written to it goes elsewhere', async () => {
    await client.query('begin; create temporary view users as select * from app.sleeping')
    const scopes = scopesWith(await snapshot().finally(() => client.query('rollback')))
    for (const text of ['insert into users values (1)', 'select * from users']) expect(scopes(text), text).toBeUndefined()
    expect(scopes('insert into sleeping values (1)')).toEqual(['table:sleeping'])
  })

  test('says the same to a role without any rights', async () => {
    await client.query('reset role')
    await client.query('create role nobody')
    await client.query('set role nobody')
    const other = scopesWith(await snapshot().finally(() => client.query('set role app')))
    const scopes = scopesWith(rows)
    for (const text of [...WRITES, ...READS]) expect(other(text), text).toEqual(scopes(text))
  })
})

describe('the classifier', () => {
  const INSERT = "insert into posts (user_id, title) values (3, 'c')"

  test('tells the scopes of reads and writes, and none from a change of the catalog until a newer snapshot', async () => {
    // The real connection; only pooling is left out.
    const node = { acquired: async () => ({ connection: client, release: () => {} }), cut: () => {} } as unknown as PostgresNode
    const classifier = new CatalogClassifier(() => [node], systemClock, true, 'default')
    try {
      expect(classifier.classify(INSERT).scopes).toBeUndefined()
      await classifier.refresh()
      expect(classifier.classify(INSERT).scopes).toEqual(['table:posts'])
      expect(classifier.classify('select * from authors').scopes).toEqual(['table:posts', 'table:users'])
      expect(classifier.classify(undefined).scopes).toBeUndefined()
      // A name that is not known makes a newer snapshot due, but does not put the rest in doubt.
      expect(classifier.classify('select * from nowhere').scopes).toBeUndefined()
      expect(classifier.classify(INSERT).scopes).toEqual(['table:posts'])

      const begun = classifier.refresh()
      await client.query('create trigger log_it after insert on posts for each row execute function log_it()')
      classifier.invalidate()
      expect(classifier.classify(INSERT).scopes).toBeUndefined()
      await begun
      // It was begun before the trigger: such a snapshot would say that only posts is written.
      expect(classifier.classify(INSERT).scopes).toBeUndefined()
      expect(classifier.classify('select * from users').scopes).toBeUndefined()
      await classifier.refresh()
      expect(classifier.classify(INSERT).scopes).toBeUndefined()
      expect(classifier.classify('select * from users').scopes).toEqual(['table:users'])
      await client.query('drop trigger log_it on posts')
      classifier.invalidate()
      await classifier.refresh()
      expect(classifier.classify(INSERT).scopes).toEqual(['table:posts'])
    } finally {
      classifier.stop()
    }
  })
})
