/** A database with all that makes a statement more than it looks like. The last two tables are of one connection only. */
export const SCHEMA = `
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
