import { beforeAll, expect, test } from 'vitest'
import { buildCatalog, emptyCatalog } from './catalog.js'
import { loadParser } from './parser.js'
import { ClassifiedStatement, StatementCache } from './statement-cache.js'

let tooEarly: unknown

beforeAll(async () => {
  try {
    new StatementCache()
  } catch (error) {
    tooEarly = error
  }
  await loadParser()
})

test('needs the parser', () => {
  expect(tooEarly).toMatchObject({ code: 'TIDEMARK_CONFIGURATION' })
})

const row = { kind: 'function', schema: 'app', name: 'f', obstacle: null, uses: null } as const
const stable = buildCatalog([row])
const volatile = buildCatalog([{ ...row, obstacle: 'is volatile' }])

test('analyses a text once', () => {
  const cache = new StatementCache()
  const first = cache.get('select 1')
  expect(first).toBeInstanceOf(ClassifiedStatement)
  expect(cache.get(['select', '1'].join(' '))).toBe(first)
  expect(cache.get('select  1')).not.toBe(first)
})

test('keeps the verdict until it is asked with another catalog', () => {
  const classified = new StatementCache().get('select app.f()')
  expect(classified.verdict(emptyCatalog)).toMatchObject({ allowed: false, unknown: true })
  const verdict = classified.verdict(stable)
  expect(verdict.allowed).toBe(true)
  expect(classified.verdict(stable)).toBe(verdict)
  expect(classified.verdict(volatile)).toMatchObject({ allowed: false, reason: 'function app.f is volatile' })
  expect(classified.verdict(stable).allowed).toBe(true)
})

test('remembers that a standby refused a text, whatever the catalog says', () => {
  const cache = new StatementCache()
  const text = '/* tidemark: replica */ select app.f()'
  expect(cache.get(text).verdict(stable).allowed).toBe(true)
  cache.rememberPrimary(text)
  expect(cache.get(text).verdict(stable)).toEqual({ allowed: false, reason: 'a standby refused it before', unknown: false })
  cache.rememberPrimary('select 2', 'because')
  expect(cache.get('select 2').verdict(stable).reason).toBe('because')
})

test('holds so many texts and no more, and drops the least recently used', () => {
  const cache = new StatementCache({ maxStatements: 3 })
  const [one] = ['select 1', 'select 2', 'select 3'].map(text => cache.get(text))
  expect(cache.get('select 1')).toBe(one)
  const two = cache.get('select 2')
  cache.get('select 4')
  expect(cache.size).toBe(3)
  expect(cache.get('select 1')).toBe(one)
  expect(cache.get('select 2')).toBe(two)
  cache.get('select 5')
  expect(cache.get('select 1')).toBe(one)
  for (let n = 0; n < 1_000; n++) cache.get(`select ${n}`)
  expect(cache.size).toBe(3)
})

test('holds so many characters and no more', () => {
  const cache = new StatementCache({ maxTotalCharacters: 1_000 })
  for (let n = 100; n < 200; n++) cache.get(`select ${n} -- ${'x'.repeat(86)}`)
  expect(cache.size).toBe(10)
  for (let n = 100; n < 200; n++) cache.rememberPrimary(`select ${n} -- ${'y'.repeat(86)}`)
  expect(cache.size).toBe(10)
})

test('neither parses nor keeps a text that is too long', () => {
  const cache = new StatementCache({ maxCharacters: 20 })
  expect(cache.get(`select ${'1'.repeat(13)}`).statement.kind).toBe('read')
  const long = cache.get(`select ${'1'.repeat(14)}`)
  expect(long.statement).toMatchObject({ kind: 'unknown', ties: true })
  expect(long.verdict(stable)).toEqual({ allowed: false, reason: 'it is longer than 20 characters', unknown: false })
  cache.rememberPrimary(`select ${'1'.repeat(14)}`, 'it was refused')
  expect(cache.get(`select ${'2'.repeat(14)}`).verdict(stable).reason).toBe('it is longer than 20 characters')
  expect(cache.size).toBe(1)
})

test('goes on after texts that would exhaust the stack of the parser', () => {
  const cache = new StatementCache({ maxCharacters: 1_000_000 })
  for (let n = 0; n < 100; n++) {
    expect(cache.get(`select ${'1+'.repeat(20_000)}${n}`).statement.kind).toBe('unknown')
    expect(cache.get(`select ${'(select 1, '.repeat(3_000)}${n}${')'.repeat(3_000)}`).statement.kind).toBe('unknown')
  }
  expect(cache.get(`select ${'- '.repeat(4_000)}1`).statement.kind).toBe('read')
  expect(cache.get(`select 1 in (${Array.from({ length: 20_000 }, (_, n) => n)})`).statement.kind).toBe('read')
})
