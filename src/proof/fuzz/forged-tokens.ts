import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { EMPTY_HISTORY, type History } from '../../core/history.js'
import { Position } from '../../core/position.js'
import { TokenCodec } from '../../core/token/codec.js'
import { BINDING_BYTES, SIGNATURE_BYTES } from '../../core/token/layout.js'
import { VirtualClock } from '../../core/virtual-clock.js'
import { hostileText } from './hostile-text.js'

export const SECRETS = ['the signing secret of this run', 'the secret before it, still accepted']
const STRANGER = 'a secret that nobody here knows'
const YEAR_MS = 365 * 86_400_000

export const LINEAGE = '7000000000000000001/1'

/** Who issues tokens: accepted here (two of them, one by an older key), or not. */
const ISSUERS = {
  current: issuer(SECRETS[0]!, 0),
  former: issuer(SECRETS[1]!, 0),
  stranger: issuer(STRANGER, 0),
  future: issuer(SECRETS[0]!, YEAR_MS),
}
export const ACCEPTED_ISSUERS: ReadonlySet<string> = new Set(['current', 'former'])

function issuer(secret: string, aheadMs: number): TokenCodec {
  const clock = new VirtualClock()
  clock.wallOffsetMs += aheadMs
  return new TokenCodec({ secret, clock })
}

/** A token as it was issued. */
export interface Issued {
  readonly issuer: keyof typeof ISSUERS
  readonly owner: string | undefined
  readonly text: string
}

const USERS = ['ann', 'bob', 'Ann', 'a', '0', '__proto__', 'é', 'e\u0301', '\ud800', '\ud801', '\ufffd', '\0']
export const user: fc.Arbitrary<string | undefined> = fc.oneof(
  fc.constant(undefined),
  { weight: 3, arbitrary: fc.constantFrom(...USERS) },
  fc.string({ unit: 'binary', minLength: 1 }),
)

/** Of the present history, and beyond what replicas have in `token-target.ts`. */
const ahead = fc.constantFrom(Position.at(LINEAGE, 900n), Position.at(LINEAGE, 2n ** 63n))
const anyPosition = fc
  .array(
    fc.record({
      lineage: fc.constantFrom(LINEAGE, '7000000000000000001/2', '8000000000000000009/1', 'eu'),
      offset: fc.oneof(fc.constantFrom(0n, 1n, 2n ** 64n - 1n), fc.bigInt(0n, 2n ** 64n - 1n)),
    }),
    { maxLength: 2 },
  )
  .map(entries => Position.of(entries))
const position = fc.oneof(ahead, anyPosition, fc.constant(Position.zero))
const history: fc.Arbitrary<History> = fc.record({
  writes: position,
  reads: position,
  uncertain: fc.nat({ max: 3 }).map(n => n === 0),
})

export const issued: fc.Arbitrary<Issued> = fc
  .record({
    issuer: fc.constantFrom<keyof typeof ISSUERS>('current', 'current', 'former', 'stranger', 'future'),
    owner: user,
    history: fc.oneof(history, fc.constant(EMPTY_HISTORY)),
  })
  .map(({ issuer, owner, history }) => ({ issuer, owner, text: ISSUERS[issuer].encode(history, { boundTo: owner }) }))

/** Turns issued tokens into a text that was never issued; or, once in a while, into one that was. */
export type Forge = (tokens: readonly Issued[]) => unknown

const index = fc.nat({ max: 300 })
const pick = (tokens: readonly Issued[], i: number) => tokens[i % tokens.length]!.text
const bytesOf = (token: string) => Buffer.from(token, 'base64url')

/** The bytes of a token changed by `change`; its base64url text. */
function ofBytes(change: (bytes: Buffer, other: Buffer, n: readonly number[]) => Uint8Array): fc.Arbitrary<Forge> {
  return fc.tuple(index, index, fc.array(index, { minLength: 3, maxLength: 6 })).map(([one, two, numbers]) => tokens => {
    const bytes = Buffer.from(bytesOf(pick(tokens, one)))
    return Buffer.from(change(bytes, bytesOf(pick(tokens, two)), numbers)).toString('base64url')
  })
}

function ofText(change: (text: string, n: number) => string): fc.Arbitrary<Forge> {
  return fc.tuple(index, index).map(
    ([one, n]) =>
      tokens =>
        change(pick(tokens, one), n),
  )
}

function flipped(bytes: Buffer, positions: readonly number[]): Buffer {
  for (const bit of positions) bytes[(bit >> 3) % bytes.length]! ^= 1 << (bit & 7)
  return bytes
}

function withByte(bytes: Buffer, at: number, value: number): Buffer {
  bytes[at % bytes.length] = value
  return bytes
}

/** Says that it is bound to nobody any more. */
function unbound(bytes: Buffer): Buffer {
  return Buffer.concat([withByte(bytes.subarray(0, 12), 1, bytes[1]! & ~2), bytes.subarray(12 + BINDING_BYTES)])
}

/** The binding of one in the other. */
function rebound(bytes: Buffer, other: Buffer): Buffer {
  other.copy(bytes, 12, 12, 12 + BINDING_BYTES)
  return bytes
}

function signedBy(secret: string, bytes: Buffer): Buffer {
  const body = bytes.subarray(0, -SIGNATURE_BYTES)
  return Buffer.concat([body, createHmac('sha256', secret).update(body).digest().subarray(0, SIGNATURE_BYTES)])
}

export const forge: fc.Arbitrary<Forge> = fc.oneof(
  { weight: 3, arbitrary: ofText(text => text) },
  // Bits and bytes.
  { weight: 4, arbitrary: ofBytes((bytes, _, n) => flipped(bytes, n.slice(0, 1 + (n[0]! % 3)))) },
  ofBytes((bytes, _, [at, value]) => withByte(bytes, at!, value! & 0xff)),
  ofBytes((bytes, _, [value]) => withByte(bytes, 0, value! & 0xff)),
  ofBytes((bytes, _, [value]) => withByte(bytes, 1, value! & 0xff)),
  ofBytes((bytes, _, [at]) => bytes.subarray(0, at! % bytes.length)),
  ofBytes((bytes, _, [at]) => bytes.subarray(at! % bytes.length)),
  ofBytes((bytes, other, [at]) => Buffer.concat([bytes.subarray(0, at! % bytes.length), other.subarray(at! % other.length)])),
  ofBytes((bytes, other) => Buffer.concat([bytes, other])),
  ofBytes((bytes, other) => Buffer.concat([bytes.subarray(0, -SIGNATURE_BYTES), other.subarray(-SIGNATURE_BYTES)])),
  ofBytes(bytes => Buffer.concat([bytes.subarray(0, -SIGNATURE_BYTES), Buffer.alloc(SIGNATURE_BYTES)])),
  ofBytes((bytes, _, [count]) => bytes.subarray(0, Math.max(0, bytes.length - 1 - (count! % SIGNATURE_BYTES)))),
  ofBytes(bytes => unbound(bytes)),
  ofBytes((bytes, other) => rebound(bytes, other)),
  ofBytes((bytes, _, [at, value]) => signedBy(STRANGER, withByte(bytes, at!, value! & 0xff))),
  // Spellings of the same bytes, and of more.
  ofText(
    (text, n) =>
      `${text.slice(0, n % text.length)}${['=', ' ', '\n', '+', '/', '-', '.', 'A', '\0', 'é'][n % 10]}${text.slice(n % text.length)}`,
  ),
  ofText(text => text.replaceAll('-', '+').replaceAll('_', '/')),
  ofText(text => `${text}=`),
  ofText(text => text.toUpperCase()),
  ofText((text, n) => text.repeat(1 + n)),
  // Nothing like a token.
  { weight: 3, arbitrary: hostileText.map(text => () => text) },
  fc.uint8Array({ maxLength: 200 }).map(bytes => () => Buffer.from(bytes).toString('base64url')),
)
