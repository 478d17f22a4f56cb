/**
 * What `tableScopes` needs of the catalog, as more branches of `catalogQuery`:
 *
 * - `scope-function`, `scope-operator`, `scope-type`: using one may read or write anything.
 * - `scope-view`: a relation without rows of its own. `scope-relation`: one whose rows change in ways no statement shows.
 * - `scope-target`: what stands against telling what a write to it does, or SQL that such a write runs (`uses`).
 * - `scope-child`: `uses` is the bare name of a relation that it inherits from or is a partition of.
 * - `scope-action`: a change of it changes the relation of the bare name `uses`, too (a foreign key's ON DELETE, ON UPDATE).
 * - `scope-every`: speaks of every statement.
 */
export type ScopeKind =
  | 'scope-function'
  | 'scope-operator'
  | 'scope-type'
  | 'scope-view'
  | 'scope-relation'
  | 'scope-target'
  | 'scope-child'
  | 'scope-action'
  | 'scope-every'

/**
 * A function behind an operator or a cast of somebody's own. Only a superuser makes functions in C, and where one is
 * IMMUTABLE it is believed, as the very same functions are where they come from an operator class or a type (`=` of citext
 * sorts and joins without being named). Functions that a statement calls by name get no such trust: `st_transform` of PostGIS
 * is one of these and reads a table.
 */
const isOpaque = (proc: string) =>
  `not (${proc}.provolatile = 'i' and ${proc}.prolang in (select oid from pg_catalog.pg_language where lanname in ('internal', 'c')))`

/**
 * The defaults that most columns have, told without deparsing them: a constant, `CURRENT_TIMESTAMP` and its like, `now()`, and
 * `nextval` of a constant (1299 and 480 have been their numbers in every version). They run nothing else.
 */
const isPlain = (tree: string) =>
  `${tree}::text like any (array['{CONST %', '{SQLVALUEFUNCTION %', '{FUNCEXPR :funcid 1299 %', '{FUNCEXPR :funcid 480 % :args ({CONST %'])`

const expression = (tree: string, relation: string) => `'select ' || coalesce(pg_catalog.pg_get_expr(${tree}, ${relation}), '?')`

/** Branches for the CTE `fact`, to follow a `union all`. Not aggregated: rows are cheaper than grouping them. */
export const scopeFacts = `
  select 'scope-function', pronamespace, proname, case when oid >= 16384 then 'is user-defined' else 'is not immutable' end, null
  from pg_catalog.pg_proc where prokind <> 'p' and (oid >= 16384 or provolatile <> 'i')
  union all
  select 'scope-operator', o.oprnamespace, o.oprname, 'runs a user-defined function', null
  from pg_catalog.pg_operator o join pg_catalog.pg_proc p on p.oid = o.oprcode where o.oid >= 16384 and ${isOpaque('p')}
  union all
  select 'scope-type', t.typnamespace, t.typname, 'has a user-defined cast', null
  from pg_catalog.pg_cast c join pg_catalog.pg_proc p on p.oid = c.castfunc join pg_catalog.pg_type t on t.oid = c.casttarget
  where c.oid >= 16384 and ${isOpaque('p')}
  union all
  select 'scope-every', p.pronamespace, p.proname, 'is user-defined and makes casts that no text shows', null
  from pg_catalog.pg_cast c join pg_catalog.pg_proc p on p.oid = c.castfunc
  where c.oid >= 16384 and ${isOpaque('p')} and (c.castcontext = 'i' or c.casttarget in (114, 3802))
  union all
  select 'scope-every', 11, 'pg_is_in_recovery', 'held: the snapshot is as old as what its standby had applied', null
  where pg_catalog.pg_is_in_recovery()
  union all
  select 'scope-type', t.typnamespace, t.typname, 'measures by a user-defined function', null
  from pg_catalog.pg_range r join pg_catalog.pg_proc p on p.oid = r.rngsubdiff join pg_catalog.pg_type t on t.oid = r.rngtypid
  where t.oid >= 16384 and ${isOpaque('p')}
  union all
  select case when relkind = 'v' and relpersistence <> 't' then 'scope-view' else 'scope-relation' end, relnamespace, relname,
    case when relkind = 'S' then 'is a sequence' when relkind = 'f' then 'is a foreign table'
      when relpersistence = 't' then 'is temporary' else 'is a view' end, null
  from pg_catalog.pg_class where relkind in ('v', 'S', 'f') or (relkind in ('r', 'p') and relpersistence = 't')
  union all
  select 'scope-target', relnamespace, relname, 'is a materialized view', null from pg_catalog.pg_class where relkind = 'm'
  union all
  select 'scope-target', c.relnamespace, c.relname, 'has a trigger', null
  from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
  where (not t.tgisinternal or t.tgfoid >= 16384) and t.tgenabled <> 'D'
  union all
  select 'scope-target', c.relnamespace, c.relname, 'has a rule', null
  from pg_catalog.pg_rewrite r join pg_catalog.pg_class c on c.oid = r.ev_class where r.ev_type <> '1' and c.oid >= 16384
  union all
  -- Defaults, and generated columns.
  select 'scope-target', c.relnamespace, c.relname, null, ${expression('d.adbin', 'd.adrelid')}
  from pg_catalog.pg_attrdef d join pg_catalog.pg_class c on c.oid = d.adrelid where not ${isPlain('d.adbin')}
  union all
  select 'scope-target', c.relnamespace, c.relname, null, ${expression('k.conbin', 'k.conrelid')}
  from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.conrelid where k.contype = 'c'
  union all
  select 'scope-target', c.relnamespace, c.relname, null, ${expression('tree', 'i.indrelid')}
  from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indrelid,
    lateral (values (i.indexprs), (i.indpred)) each(tree)
  where tree is not null and c.oid >= 16384
  union all
  select 'scope-target', c.relnamespace, c.relname, null, ${expression('p.partexprs', 'p.partrelid')}
  from pg_catalog.pg_partitioned_table p join pg_catalog.pg_class c on c.oid = p.partrelid where p.partexprs is not null
  union all
  select 'scope-target', c.relnamespace, c.relname, null, ${expression('tree', 'p.polrelid')}
  from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid,
    lateral (values (p.polqual), (p.polwithcheck)) each(tree)
  where c.relrowsecurity and tree is not null
  union all
  select 'scope-child', child.relnamespace, child.relname, null, parent.relname
  from pg_catalog.pg_inherits i
  join pg_catalog.pg_class child on child.oid = i.inhrelid
  join pg_catalog.pg_class parent on parent.oid = i.inhparent
  where child.relkind in ('r', 'p', 'f')
  union all
  select distinct 'scope-action', referenced.relnamespace, referenced.relname, null, referencing.relname::text
  from pg_catalog.pg_constraint k
  join pg_catalog.pg_class referencing on referencing.oid = k.conrelid
  join pg_catalog.pg_class referenced on referenced.oid = k.confrelid
  where k.contype = 'f' and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))`
