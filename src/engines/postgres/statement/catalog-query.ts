/** One row of `catalogQuery`: something that a statement may name, and what is to be held against it. */
export interface CatalogRow {
  /** `every` speaks of every statement; `attribute` names functions that can be called as `row.function`. */
  readonly kind: 'function' | 'operator' | 'relation' | 'type' | 'attribute' | 'every'
  readonly schema: string
  readonly name: string
  /** Why it may not run on a standby, if so: a phrase to follow the name. */
  readonly obstacle: string | null
  /** SQL that runs whenever it is used: a view's query, a policy, a domain's check, default arguments. */
  readonly uses: string | null
}

/**
 * Reads from the catalog what `buildCatalog` needs: one query, read-only, fit for a standby and for any role. It returns
 * a few thousand rows for an empty database (some 30 ms), and several per object for the same name.
 *
 * It deparses views and policies, which takes an ACCESS SHARE lock on the relations in them: run it with a
 * `statement_timeout`, and keep the previous catalog when it fails.
 *
 * Views and policies come as SQL, for the parser, because `pg_depend` has no entries for built-in functions: a view over
 * `nextval()` or `pg_advisory_lock()` looks harmless there. Names in that SQL may lack a schema, which is fine since names
 * are judged in all schemas. Trusted, since only a superuser can create them: input and output functions in
 * columns, support functions of operator classes and of table sampling, planner hooks.
 */
export const catalogQuery = `
with recursive
volatile_function(oid) as (
  select p.oid from pg_catalog.pg_proc p left join pg_catalog.pg_aggregate a on a.aggfnoid = p.oid
  where p.provolatile = 'v' or exists (
    select from pg_catalog.pg_proc part
    where part.provolatile = 'v'
      and part.oid in (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn))
),
-- Types whose values cannot be made without running something: domains with checks, and casts or input by volatile functions.
demanding_type(oid, obstacle, uses) as (
  select contypid, null, 'select ' || coalesce(pg_catalog.pg_get_expr(conbin, 0), '?')
  from pg_catalog.pg_constraint where contypid <> 0 and contype = 'c'
  union
  select t.oid, 'is read by a volatile function', null from pg_catalog.pg_type t
  where t.oid >= 16384 and exists (select from volatile_function v where v.oid in (t.typinput, t.typreceive, t.typmodin))
  union
  select c.casttarget, 'has a cast by a volatile function', null
  from pg_catalog.pg_cast c join volatile_function v on v.oid = c.castfunc
),
-- What a type is made of, for all types that could hold a demanding one.
component(whole, part) as (
  select oid, typbasetype from pg_catalog.pg_type where typbasetype <> 0
  union all
  select oid, typelem from pg_catalog.pg_type where typelem <> 0 and typcategory = 'A'
  union all
  select rngtypid, rngsubtype from pg_catalog.pg_range
  union all
  select c.reltype, a.atttypid from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid
  where c.reltype <> 0 and a.attnum > 0 and not a.attisdropped and c.oid >= 16384
),
demanding(oid, obstacle, uses) as (
  select * from demanding_type
  union
  select c.whole, d.obstacle, d.uses from demanding d join component c on c.part = d.oid
),
-- A parent is read together with its partitions and heirs.
unreadable(oid, obstacle) as (
  select oid, case when relkind = 'f' then 'is a foreign table' else 'is unlogged' end
  from pg_catalog.pg_class where relkind = 'f' or relpersistence = 'u'
  union
  select i.inhparent, u.obstacle from unreadable u join pg_catalog.pg_inherits i on i.inhrelid = u.oid
),
fact(kind, namespace, name, obstacle, uses) as (
  select 'function', p.pronamespace, p.proname, case when v.oid is not null then 'is volatile' end, null
  from pg_catalog.pg_proc p left join volatile_function v on v.oid = p.oid where p.prokind <> 'p'
  union
  select 'function', pronamespace, proname, null, 'select ' || coalesce(pg_catalog.pg_get_expr(proargdefaults, 0), '?')
  from pg_catalog.pg_proc where proargdefaults is not null and oid >= 16384 and prokind <> 'p'
  union
  select 'function', p.pronamespace, p.proname, null, d.uses
  from demanding d join pg_catalog.pg_proc p on d.oid = any (p.proargtypes) where d.uses is not null and p.prokind <> 'p'
  union
  select 'attribute', p.pronamespace, p.proname, null, null
  from pg_catalog.pg_proc p
  join pg_catalog.pg_type t on t.oid = p.proargtypes[0]
  left join pg_catalog.pg_type base on base.oid = t.typbasetype
  where p.pronargs - p.pronargdefaults <= 1 and p.prokind <> 'p' and (t.typtype in ('c', 'p') or base.typtype = 'c')
  union
  select 'operator', o.oprnamespace, o.oprname, case when v.oid is not null then 'runs a volatile function' end, null
  from pg_catalog.pg_operator o left join volatile_function v on v.oid = o.oprcode
  union
  select 'relation', c.relnamespace, c.relname,
    case when c.relpersistence = 't' then 'is temporary' else u.obstacle end,
    case when c.relkind = 'v' then coalesce(pg_catalog.pg_get_viewdef(c.oid), '?') end
  from pg_catalog.pg_class c left join unreadable u on u.oid = c.oid where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union
  select 'relation', c.relnamespace, c.relname, null, 'select ' || coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), '?')
  from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
  where c.relrowsecurity and p.polcmd in ('r', '*') and p.polqual is not null
  union
  select 'type', t.typnamespace, t.typname, null, null
  from pg_catalog.pg_type t left join pg_catalog.pg_class c on c.oid = t.typrelid
  where (t.typtype <> 'c' or c.relkind = 'c') and not (t.typelem <> 0 and t.typcategory = 'A')
  union
  select 'type', t.typnamespace, t.typname, d.obstacle, d.uses from demanding d join pg_catalog.pg_type t on t.oid = d.oid
  union
  select 'every', v.pronamespace, v.proname, 'is volatile and makes implicit casts', null
  from pg_catalog.pg_cast c join pg_catalog.pg_proc v on v.oid = c.castfunc
  where c.castcontext = 'i' and v.provolatile = 'v'
  union
  select 'every', 11, 'standard_conforming_strings', 'is off, so strings mean something else to the parser', null
  where pg_catalog.current_setting('standard_conforming_strings') = 'off'
)
select f.kind, n.nspname::text as schema, f.name::text as name, f.obstacle, f.uses
from fact f join pg_catalog.pg_namespace n on n.oid = f.namespace`
