import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.js'
import { EMPTY_HISTORY } from '../../src/core/history.js'
import { Position } from '../../src/core/position.js'
import { TokenCodec } from '../../src/core/token/codec.js'
import { CompiledCli } from './compiled-cli.js'

const SECRET = 'a secret of at least 16 bytes'
const SYSTEM = '7711277851009158639'
const HOUR_MS = 3_600_000

let cli: CompiledCli

beforeAll(async () => {
  cli = await CompiledCli.compile()
})

afterAll(() => cli.remove())

const codec = new TokenCodec({ secret: SECRET })
const writes = Position.at(`${SYSTEM}/3`, 0x16_b374d848n)
const token = codec.encode({ ...EMPTY_HISTORY, writes })
const bound = codec.encode({ ...EMPTY_HISTORY, writes }, { boundTo: 'ada' })

describe('tidemark token', () => {
  test('explains a token without the secret, and says that nothing is verified', async () => {
    const { code, stdout, stderr } = await cli.run(['token', token])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`16/B374D848 on timeline 3 of system ${SYSTEM}`)
    expect(stdout).toMatch(/Signature +NOT VERIFIED/)
    expect(stdout).toMatch(/Bound +to nobody/)
    expect(stdout).toContain("pg_last_wal_replay_lsn() >= '16/B374D848'")
    expect(stdout).not.toContain('\x1b')
  })

  test('prints one JSON object for machines', async () => {
    const hourAgo = { ...systemClock, wallNow: () => Date.now() - HOUR_MS }
    const reads = writes.join(Position.at(`${SYSTEM}/3`, 0x16_b374d900n))
    const old = new TokenCodec({ secret: SECRET, clock: hourAgo }).encode({ writes, reads, uncertain: true })
    const { code, stdout } = await cli.run(['token', old, '--json'])
    const answer = JSON.parse(stdout)
    const position = { lineage: `${SYSTEM}/3`, system: SYSTEM, timeline: 3 }
    expect(code).toBe(0)
    expect(answer).toMatchObject({
      version: 1,
      signature: 'not-checked',
      bound: false,
      uncertain: true,
      writes: [{ ...position, lsn: '16/B374D848', offset: String(0x16_b374d848n) }],
      reads: [{ ...position, lsn: '16/B374D900' }],
    })
    expect(answer.ageMs).toBeGreaterThanOrEqual(HOUR_MS)
    expect(Date.parse(answer.issuedAt)).toBeLessThanOrEqual(Date.now() - HOUR_MS)
  })

  test('verifies with the secret from the environment, by either name', async () => {
    const usual = await cli.run(['token', token], { TIDEMARK_SECRET: SECRET })
    expect([usual.code, usual.stdout]).toEqual([0, expect.stringMatching(/Signature +valid/)])
    const named = await cli.run(['token', token, '--secret-env', 'OTHER'], { OTHER: SECRET })
    expect([named.code, named.stdout]).toEqual([0, expect.stringMatching(/Signature +valid/)])
    expect(usual.stdout + named.stdout).not.toContain(SECRET)
  })

  test.each([
    ['altered', `${token.slice(0, -8)}AAAAAAAA`, SECRET, 'bad-signature'],
    ['signed with another secret', token, 'another secret, long enough', 'unknown-key'],
  ])('a token that was %s is refused, and still explained', async (_, text, secret, reason) => {
    const { code, stdout } = await cli.run(['token', text, '--json'], { TIDEMARK_SECRET: secret })
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ signature: 'refused', reason, writes: [{ lsn: '16/B374D848' }] })
  })

  test('tells whom a token is bound to only by being asked about somebody', async () => {
    const env = { TIDEMARK_SECRET: SECRET }
    const [nobody, ada, bob] = await Promise.all([
      cli.run(['token', bound], env),
      cli.run(['token', bound, '--user', 'ada'], env),
      cli.run(['token', bound, '--user', 'bob'], env),
    ])
    expect([nobody.code, ada.code, bob.code]).toEqual([0, 0, 1])
    expect(nobody.stdout).toMatch(/Bound +to one user/)
    expect(ada.stdout).toMatch(/Bound +to ada/)
    expect(bob.stdout).toMatch(/REFUSED: .*bound to another user/)
  })

  test.each([
    ['garbage', 'garbage', /not a Tidemark token: too short/],
    ['no text at all', '', /letters, digits/],
    ['half a token', token.slice(0, 40), /not a Tidemark token/],
    ['another version', `Ag${token.slice(2)}`, /version 2 is not known/],
    ['far too much', 'A'.repeat(10_000), /at most 256 characters/],
    ['something that commands terminals', '\x1b[2J', /letters, digits/],
  ])('%s is said not to be a token', async (_, text, expected) => {
    const { code, stdout, stderr } = await cli.run(['token', '--', text])
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(expected)
    expect(stderr).not.toContain('\x1b')
  })

  test('what a forger has put into it does not command the terminal', async () => {
    const hostile = codec.encode({ ...EMPTY_HISTORY, writes: Position.at('\x1b]0;pwned\x07', 7n) })
    const { stdout } = await cli.run(['token', hostile])
    expect(stdout).toContain('7 of \\u{1b}]0;pwned\\u{7}')
    expect(stdout).not.toContain('\x1b')
  })
})
