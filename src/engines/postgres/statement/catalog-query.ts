import { type ScopeKind, scopeFacts } from './scope-query.js'

/** One row of `catalogQuery`: something that a statement may name, and what is to be held against it. */
export interface CatalogRow {
  /**
   * `every` speaks of every statement; `attribute` names functions that can be called as `row.function`; `ScopeKind`
   * explains the rest.
   */
  readonly kind: 'function' | 'operator' | 'relation' | 'type' | 'attribute' | 'every' | ScopeKind
  readonly schema: string
  readonly name: string
  /** Why it may not run on a standby, if so: a phrase to follow the name. */
  readonly obstacle: string | null
  /** SQL that runs whenever it is used: a view's query, a policy, a domain's check, default arguments. */
  readonly uses: string | null
}

/** User-defined types, and those that there is a user-defined cast to. */
const isCustom = (type: string) =>
  `(${type} >= 16384 or ${type} in (select casttarget from pg_catalog.pg_cast where castfunc >= 16384))`

/**
 * Reads from the catalog what `buildCatalog` needs: one query, read-only, fit for a standby and for any role. It returns
 * several rows per name: 5,000 in 80 ms for an empty database, 22,000 in 450 ms for one of 3,000 tables and 1,000 views,
 * half of that for what `tableScopes` needs (planned as cheap, so that no server compiles it just in time, which would take seconds).
 *
 * It deparses views, policies and what tables run, which takes an ACCESS SHARE lock on the relations in them: run it with a
 * `statement_timeout`, and keep the previous catalog when it fails.
 *
 * Views and policies come as SQL, for the parser, because `pg_depend` has no entries for built-in functions: a view over
 * `nextval()` or `pg_advisory_lock()` looks harmless there. Names in that SQL may lack a schema, which is fine since names
 * are judged in all schemas. Trusted, since only a superuser can create them: input and output functions in
 * columns, support functions of operator classes and of table sampling, planner hooks.
 */
const queryWith = (scopes: string) => `
with recursive
volatile_function(oid) as (
  select p.oid from pg_catalog.pg_proc p left join pg_catalog.pg_aggregate a on a.aggfnoid = p.oid
  where p.provolatile = 'v' or exists (
    select from pg_catalog.pg_proc part
    where part.provolatile = 'v'
      and part.oid in (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn))
),
-- What a type is made of. Whoever uses the whole uses the parts: a cast stands for that, where casts can be user-defined.
component(whole, part) as (
  select oid, typbasetype from pg_catalog.pg_type where typbasetype <> 0
  union all
  select rngtypid, rngsubtype from pg_catalog.pg_range
  union all
  select rngmultitypid, rngtypid from pg_catalog.pg_range
  union all
  select c.reltype, a.atttypid from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid
  where c.reltype <> 0 and a.attnum > 0 and not a.attisdropped
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
  -- A literal given to a function is made a value of the argument's type.
  select 'function', p.pronamespace, p.proname, null, 'select null::' || pg_catalog.format_type(argument.type, null)
  from pg_catalog.pg_proc p, pg_catalog.unnest(p.proargtypes) argument(type)
  where ${isCustom('argument.type')} and p.oid >= 16384 and p.prokind <> 'p'
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
  select 'type', t.typnamespace, t.typname,
    case when t.oid >= 16384 and (t.typinput in (table volatile_function) or t.typmodin in (table volatile_function))
      then 'is read by a volatile function' end, null
  from pg_catalog.pg_type t left join pg_catalog.pg_class c on c.oid = t.typrelid
  where case when t.typtype = 'c' then c.relkind = 'c' else t.typcategory <> 'A' or t.typelem < 16384 end
  union
  select 'type', t.typnamespace, t.typname, 'has a cast by a volatile function', null
  from pg_catalog.pg_cast c join pg_catalog.pg_proc v on v.oid = c.castfunc join pg_catalog.pg_type t on t.oid = c.casttarget
  where v.provolatile = 'v'
  union
  select 'type', t.typnamespace, t.typname, null, 'select ' || coalesce(pg_catalog.pg_get_expr(c.conbin, 0), '?')
  from pg_catalog.pg_constraint c join pg_catalog.pg_type t on t.oid = c.contypid where c.contype = 'c'
  union
  select 'type', t.typnamespace, t.typname, null, 'select null::' || pg_catalog.format_type(c.part, null)
  from component c join pg_catalog.pg_type t on t.oid = c.whole where ${isCustom('c.part')}
  union
  select 'every', v.pronamespace, v.proname, 'is volatile and makes implicit casts', null
  from pg_catalog.pg_cast c join pg_catalog.pg_proc v on v.oid = c.castfunc
  where c.castcontext = 'i' and v.provolatile = 'v'
  union
  select 'every', 11, 'standard_conforming_strings', 'is off, so strings mean something else to the parser', null
  where pg_catalog.current_setting('standard_conforming_strings') = 'off'
${scopes}
)
select f.kind, n.nspname::text as schema, f.name::text as name, f.obstacle, f.uses
from fact f join pg_catalog.pg_namespace n on n.oid = f.namespace`

export const catalogQuery = queryWith(`  union all
${scopeFacts}`)

/** Without what table scopes need, at half the cost: no statement may then be asked for its scopes. */
export const plainCatalogQuery = queryWith('')
