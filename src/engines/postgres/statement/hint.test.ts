import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { analyse } from './analyse.js'
import { loadParser } from './parser.js'

beforeAll(loadParser)

test.each([
  ['/* tidemark: primary */ select 1', 'primary'],
  ['/*tidemark:primary*/ select 1', 'primary'],
  ['select 1 -- tidemark: primary', 'primary'],
  ['select 1 -- Tidemark: Primary, please\n', 'primary'],
  ['select /* /* tidemark: primary */ */ 1', 'primary'],
  ['select /* tidemark: replica */ 1', 'replica'],
  ['-- tidemark: replica\nselect 1', 'replica'],
  ['--tidemark:REPLICA  \r\nselect 1', 'replica'],
  ['/*\n tidemark : replica\n*/ select 1', 'replica'],
  ['/* tidemark: replica */ select 1 /* tidemark: primary */', 'primary'],
  ['-- tidemark: primary\n-- tidemark: replica\nselect 1', 'primary'],
  ['/* tidemark: replica */ insert into t values (1)', 'replica'],
  // not comments
  ["select '/* tidemark: replica */'", undefined],
  ["select '-- tidemark: primary'", undefined],
  ["select e'\\'/* tidemark: replica */'", undefined],
  ["select 'it''s /* tidemark: replica */'", undefined],
  ['select "/* tidemark: replica */" from t', undefined],
  ['select $$ /* tidemark: replica */ $$', undefined],
  ['select $a$ $$ -- tidemark: replica\n $a$', undefined],
  ["select U&'/* tidemark: replica */'", undefined],
  ['select tidemark from t', undefined],
  // comments, but no such hint
  ['/* /* tidemark: replica */ */ select 1', undefined],
  ['/* not tidemark: replica */ select 1', undefined],
  ['/* tidemark: replica? */ select 1', undefined],
  ['/* tidemark: secondary */ select 1', undefined],
  ['/* tidemark */ select 1', undefined],
  // where the comments cannot be told
  ["/* tidemark: replica */ select '\u0001'", 'primary'],
])('%j', (text, hint) => {
  expect(analyse(text).hint).toBe(hint)
})

test('no quoting of any text makes a hint, and none hides one', () => {
  const bits = fc.constantFrom(
    '/*',
    '*/',
    '--',
    '\n',
    "'",
    '"',
    '$$',
    '$a$',
    '\\',
    ' tidemark: replica ',
    ' tidemark: primary ',
    'x',
  )
  const quoted = fc.oneof(
    fc.string({ unit: bits, maxLength: 12 }).map(content => `'${content.replaceAll("'", "''")}'`),
    fc.string({ unit: bits, maxLength: 12 }).map(content => `e'${content.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`),
    fc.string({ unit: bits, maxLength: 12 }).map(content => `"a${content.replaceAll('"', '""')}"`),
    fc.string({ unit: bits, maxLength: 12 }).map(content => `$q$${content}$q$`),
  )
  fc.assert(
    fc.property(quoted, quoted, (before, after) => {
      const statement = analyse(`select ${before}, ${after}`)
      expect(statement).toMatchObject({ kind: 'read', hint: undefined })
      expect(analyse(`select ${before} /* tidemark: replica */, ${after}`).hint).toBe('replica')
      expect(analyse(`select ${before}, -- tidemark: primary\n ${after}`).hint).toBe('primary')
    }),
  )
})
