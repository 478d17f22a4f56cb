import fc from 'fast-check'

/**
 * A grammar of statements on `SCHEMA`. Not of all SQL, but of what makes a statement something else than it looks like: each
 * rule holds ways to write, to lock or to leave something behind next to harmless things of the same shape.
 */
export interface Vocabulary {
  /** Calls of functions with arguments that fit, `app.writes(1)`. */
  readonly calls: readonly string[]
  /** Tables, views and sequences with their schema. */
  readonly relations: readonly string[]
  readonly types: readonly string[]
}

const LITERALS =
  "1|0|-1|null|true|'a'|''|'{}'|'1'|2.5|array[1, 2]|$$a$$|$x$it's$x$|E'a\\\\nb'|U&'\\0061'|B'101'|X'ff'|'users'::regclass"
    .split('|')
    .map(literal => literal.replaceAll('\\\\', '\\'))
const COLUMNS =
  'id name u.id u.name email tags profile born n x total (u).name u.initials u.touched (u).touched u.* * ctid'.split(' ')
const OPERATORS =
  '+|-|*|=|<>|<|||and|or|is distinct from|like|operator(app.===)|===|operator(app.<->)|operator(pg_catalog.+)'.split(/\|(?!\|)/)
const MARGINALIA = [' ', '\n', '\t', '  ', '/* */', '/* /* nested */ */', '-- a line\n', '/*;*/', "/*'*/", '--\r\n', '\f']

/** Things done by a call, which the catalog labels or which only their names tell. */
const DEEDS = [
  "nextval('app.counter')",
  "currval('app.counter')",
  "setval('app.counter', 5)",
  'pg_advisory_lock(1)',
  'pg_try_advisory_lock(1, 2)',
  'pg_advisory_xact_lock(1)',
  "set_config('work_mem', '1MB', false)",
  "set_config('fuzz.setting', 'x', false)",
  "set_config('fuzz.setting', 'x', true)",
  "pg_notify('fuzz', 'x')",
  'lo_create(0)',
  "lo_from_bytea(0, 'x')",
  'txid_current()',
  'pg_current_xact_id()',
  'setseed(0.5)',
  "query_to_xml('select nextval(''app.counter'')', true, true, '')",
  "table_to_xml('app.lock_view'::regclass, true, true, '')",
  "cursor_to_xml('c', 1, true, true, '')",
  "ts_stat('select nextval(''app.counter'')::text::tsvector')",
  "ts_rewrite('a'::tsquery, 'select ''a''::tsquery, (nextval(''app.counter'')::text)::tsquery')",
  "pg_create_restore_point('x')",
  "pg_logical_emit_message(false, 'a', 'b')",
  'pg_export_snapshot()',
  'pg_switch_wal()',
  'app.writes(1)',
  'app.defaulted()',
  "app.takes_odd('1')",
  'app.volatile_sum(1)',
  'app.mixed_up(1)',
  "app.mixed_up('a')",
  'app.is_odd(1)',
  "app.to_pair('a')",
  'app.tax(1)',
  'random()',
  'app.random()',
]

/** Casts and constructions that run something. */
const CONVERSIONS = [
  "'1'::app.odd",
  'app.odd(1)',
  '(1).odd',
  "array['1']::app.odd[]",
  "row('1')::app.holder",
  "'(1)'::app.holder",
  "'a'::text::app.pair",
  "cast('a'::text as app.pair)",
  '2::app.even',
  'json_populate_record(null::app.holders, \'{"n": 1}\')',
  "json_value('1', '$' returning app.odd)",
  '(select x.n from json_to_record(\'{"n": 1}\') as x(n app.odd))',
]

export function statements({ calls, relations, types }: Vocabulary): fc.Arbitrary<string> {
  const call = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...calls) }, fc.constantFrom(...DEEDS, ...CONVERSIONS))
  const type = fc.constantFrom(...types)
  const relation = fc.constantFrom(...relations)
  const literal = fc.constantFrom(...LITERALS)
  const column = fc.constantFrom(...COLUMNS)
  const operator = fc.constantFrom(...OPERATORS)
  const join = (parts: TemplateStringsArray, ...holes: fc.Arbitrary<string>[]) =>
    fc.tuple(...holes).map(values => String.raw({ raw: parts.raw }, ...values))
  const maybe = (arbitrary: fc.Arbitrary<string>) => fc.oneof({ weight: 2, arbitrary: fc.constant('') }, arbitrary)

  const { statement } = fc.letrec<
    Record<'expression' | 'source' | 'select' | 'writing' | 'query' | 'utility' | 'statement', string>
  >(tie => {
    const expression = tie('expression')
    const source = tie('source')
    const select = tie('select')
    const query = tie('query')
    return {
      expression: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        literal,
        column,
        call,
        join`${expression} ${operator} ${expression}`,
        join`(${expression})::${type}`,
        join`cast(${literal} as ${type})`,
        join`(${select})`,
        join`array(${select})`,
        join`exists (${query})`,
        join`${expression} in (${select})`,
        join`case when ${expression} then ${expression} else ${call} end`,
        join`coalesce(${expression}, ${call})`,
        join`(row(${expression}, ${literal})).f1`,
        join`(${literal}).writes`,
        join`(${expression} collate "C")`,
        join`count(*) filter (where ${expression}) over (order by ${expression})`,
      ),
      source: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        join`${relation} u`,
        relation,
        join`${call} as x`,
        join`(${query}) as x`,
        join`lateral (${select}) as x`,
        join`${source} join ${relation} b using (id)`,
        join`${source}, ${source}`,
        join`(values (${expression})) as x(n)`,
        join`rows from (${call}, generate_series(1, 2)) as x`,
        join`${relation} tablesample bernoulli (${expression})`,
        join`json_table('[1]', '$[*]' columns (n ${type} path '$' default ${literal} on empty)) as x`,
        join`xmltable('/a' passing xml '<a/>' columns n ${type} path '.' default ${expression}) as x`,
      ),
      select: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        join`select ${expression}`,
        join`select ${expression} from ${source}`,
        join`select ${column} from ${relation} u where ${expression} ${maybe(fc.constantFrom('for update', 'for share', 'for key share of u', 'for no key update skip locked'))}`,
        join`select ${expression} ${maybe(fc.constantFrom('into app.copied', 'into temp copied', 'into unlogged copied'))} from ${source}`,
        join`select distinct on (${expression}) ${column} from ${source} order by ${expression} limit (select 1)`,
        join`select ${expression} from ${source} group by ${expression} having ${expression}`,
        join`values (${expression}, ${literal})`,
        join`table ${relation}`,
        join`${select} union all ${select}`,
      ),
      writing: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        join`insert into app.logged values (${literal}, 'x') returning id`,
        join`insert into app.orders (user_id) ${select}`,
        join`update users set name = 'x' where ${expression} returning *`,
        join`delete from app.holders where ${expression}`,
        join`merge into app.holders h using (${select}) s on ${expression} when matched then delete when not matched then insert values (1)`,
      ),
      query: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        { weight: 4, arbitrary: select },
        join`with a as (${select}) ${select}`,
        join`with recursive a(n) as (select 1 union all select n + 1 from a where n < 3), b as materialized (${query}) select * from a`,
        join`with a as (${tie('writing')}) ${select}`,
        join`with users as (${select}) select ${column} from users u`,
      ),
      utility: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        join`explain ${query}`,
        join`explain (analyze, costs off) ${tie('statement')}`,
        join`copy (${query}) to stdout`,
        join`copy ${relation} to stdout with (format csv)`,
        join`copy (${query}) to program 'true'`,
        join`prepare fuzzed as ${query}`,
        join`declare c cursor with hold for ${query}`,
        join`create temp table fuzzed as ${query}`,
        join`create temp view fuzzed as ${query}`,
        join`refresh materialized view app.totals`,
        join`lock table ${relation}`,
        join`comment on table users is ${literal}`,
        join`do $$ begin perform ${call}; end $$`,
        fc.constantFrom(
          'show work_mem',
          'show all',
          'set work_mem = 100',
          'set local work_mem = 100',
          'reset all',
          'discard all',
          'listen fuzz',
          'notify fuzz',
          'unlisten *',
          'call app.proc()',
          'begin',
          'commit',
          'savepoint a',
          'execute fuzzed',
          'fetch c',
          'checkpoint',
          'analyze users',
          'vacuum users',
          'truncate app.holders',
          "load 'auto_explain'",
          'set role nobody',
          'reindex table users',
          'set session characteristics as transaction read only',
          'alter system reset all',
          'deallocate all',
        ),
      ),
      statement: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        { weight: 8, arbitrary: query },
        { weight: 3, arbitrary: tie('utility') },
        tie('writing'),
        join`${tie('statement')}; ${tie('statement')}`,
        join`(${query})`,
      ),
    }
  })
  return statement
}

/** The same statement as the lexer sees it, with odd spaces, comments, letters and an end; or, by a slip, another one. */
export function written(statement: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const margin = fc.constantFrom(...MARGINALIA)
  const oddity = fc.constantFrom<(text: string, margin: string) => string>(
    text => text,
    (text, space) => text.replaceAll(' ', space),
    (text, space) => `${space}${text}${space}`,
    text => `${text};`,
    text => `${text};;`,
    text => text.toUpperCase(),
    text => text.replace(/^\w/, first => first.toUpperCase()),
    text => text.replaceAll(/\bapp\./g, '"app".'),
    text => text.replaceAll(/\bapp\./g, 'U&"\\0061pp".'),
    text => text.replaceAll(/\bapp\./g, ''),
    text => text.replaceAll("'", "''"),
    text => text.replaceAll(/'([^'\\]*)'/g, (_, inside) => `$q$${inside}$q$`),
    text => text.replaceAll(/'([^'\\]*)'/g, (_, inside) => `E'${inside}'`),
  )
  return fc.tuple(statement, margin, oddity).map(([text, space, change]) => change(text, space))
}

/** Statements of a corpus, cut into words and put together in another way. */
export function mutated(corpus: readonly string[]): fc.Arbitrary<string> {
  const words = (text: string) => text.match(/\s+|\w+|'[^']*'|\$\$.*?\$\$|[^\w\s]/gs) ?? []
  const all = corpus.map(words)
  const spare = [...new Set(all.flat())].filter(word => !/^\s+$/.test(word))
  const change = fc.record({
    at: fc.nat({ max: 60 }),
    take: fc.nat({ max: 3 }),
    give: fc.oneof(
      fc.constant<readonly string[]>([]),
      fc.constantFrom(...spare).map(word => [' ', word, ' ']),
      fc
        .tuple(fc.constantFrom(...all), fc.nat({ max: 40 }), fc.nat({ max: 8 }))
        .map(([other, from, count]) => other.slice(from, from + count)),
      fc.constantFrom(...DEEDS, ...CONVERSIONS).map(deed => [deed]),
    ),
  })
  return fc.tuple(fc.constantFrom(...all), fc.array(change, { maxLength: 3 })).map(([base, changes]) => {
    const result = [...base]
    for (const { at, take, give } of changes) result.splice(at % (result.length + 1), take, ...give)
    return result.join('')
  })
}
