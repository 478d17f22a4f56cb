import type pg from 'pg'
import type { Vocabulary } from './grammar.js'

/** Functions that end something, or wait: what they would teach is known, and they would end the run. */
const LEFT_OUT =
  /^(pg_terminate|pg_sleep|pg_promote|pg_wal_replay|pg_rotate|pg_reload|pg_stat_reset|pg_drop_|pg_read_|pg_ls_|lo_export|lo_import)/

/** What there is in a database to be named. Whoever is asked again with the same database gets the same, in the same order. */
export async function readVocabulary(client: pg.Client): Promise<Vocabulary> {
  const { rows } = await client.query<{ schema: string; name: string; args: string[]; variadic: boolean }>(`
    select n.nspname as schema, p.proname as name, array(select t::regtype::text from unnest(p.proargtypes) t) as args
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where p.prokind in ('f', 'a') and n.nspname in ('pg_catalog', 'app', 'public')
      and not exists (select from unnest(p.proargtypes) t join pg_catalog.pg_type on pg_type.oid = t
                      where typname in ('internal', 'cstring', 'trigger', 'event_trigger', 'language_handler', 'fdw_handler'))
      and p.prorettype not in ('internal'::regtype, 'cstring'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)
    order by p.oid`)
  const relations = await client.query<{ name: string }>(`
    select pg_catalog.format('%I.%I', n.nspname, c.relname) as name
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S') and n.nspname in ('app', 'public') order by c.oid`)
  const types = await client.query<{ name: string }>(`
    select t.oid::regtype::text as name from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    where n.nspname = 'app' and t.typtype in ('c', 'd', 'e') order by t.oid`)
  return {
    calls: rows
      .filter(({ name }) => !LEFT_OUT.test(name))
      .map(({ schema, name, args }) => `${schema}.${quoted(name)}(${args.map(argument).join(', ')})`),
    relations: [
      ...relations.rows.map(row => row.name),
      'users',
      'only_temporary',
      'pg_temp.users',
      'pg_locks',
      'pg_settings',
      'pg_class',
    ],
    types: [...types.rows.map(row => row.name), 'int', 'text', 'text[]', 'numeric(10, 2)', 'app.odd[]', 'regclass'],
  }
}

function quoted(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name}"`
}

const ARGUMENTS: Readonly<Record<string, string>> = {
  text: "'a'",
  name: "'a'",
  boolean: 'true',
  json: "'{}'::json",
  jsonb: "'{}'::jsonb",
  regclass: "'app.counter'::regclass",
  anyelement: '1',
  anycompatible: '1',
  anyarray: 'array[1]',
  anycompatiblearray: 'array[1]',
  anyenum: "'ok'::app.mood",
  record: 'row(1)',
  any: '1',
  '"any"': '1',
  xml: "'<a/>'::xml",
}

function argument(type: string): string {
  if (/^(smallint|integer|bigint|oid|numeric|real|double precision)$/.test(type)) return `1::${type}`
  return ARGUMENTS[type] ?? `null::${type}`
}
