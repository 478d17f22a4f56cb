import fc from 'fast-check'

/** What has broken parsers before. */
const KNOWN = [
  '',
  ' ',
  '\0',
  '\r\nSet-Cookie: a=b',
  '%',
  '%E0%A4%A',
  '%00',
  '"quoted"',
  '"',
  "'",
  '=',
  ';',
  ',',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '\ufeff',
  '\ud800',
  '\u2028',
  '../../etc/passwd',
  '-',
  '--',
  'NaN',
  'uncertain-',
  'uncertain-AAAAAAAA',
]

/** One thing repeated very often. */
const giantText = fc
  .tuple(fc.constantFrom('a', '=', ';', ',', '%', '"', 'é', ' ', '\\', '-'), fc.integer({ min: 500, max: 50_000 }))
  .map(([unit, count]) => unit.repeat(count))

/** Texts that nobody expects: empty, giant, of any characters, or known to have broken something. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.string() },
  { weight: 3, arbitrary: fc.string({ unit: 'binary' }) },
  { weight: 4, arbitrary: fc.constantFrom(...KNOWN) },
  { weight: 1, arbitrary: giantText },
)
