/**
 * The binary layout of a token, without any cryptography, so that browsers and the CLI can read one too.
 *
 *   byte  0      version (1)
 *   byte  1      flags: 1 = uncertain, 2 = bound to a user; a reader that does not know one must become uncertain
 *   bytes 2-5    key id
 *   bytes 6-11   issue time, milliseconds since 1970, 48 bits
 *   [8 bytes]    binding to a user or tenant, when flag 2 is set
 *   byte         number of lineages, then each: one byte tag (0 = text, 1 = two integers) and its bytes
 *   sections     until the signature; each: type (1 byte), number of entries (1 byte), entries
 *                type 1 writes, type 2 reads: entry = lineage index (1 byte) + offset (8 bytes, big endian)
 *                type 3 marks of scopes: entry = lineage index (1 byte) + scope (4 bytes) + offset (8 bytes)
 *                types 4-127: reserved; a reader that does not know one must become *uncertain*
 *                (go to the primary once), never ignore it: ignoring would silently weaken a guarantee
 *   last 16      HMAC-SHA-256 over all before it, first 128 bits
 */
import { parseLineage } from '../engine.js'
import { TidemarkError } from '../errors.js'
import { allWrites, type History } from '../history.js'
import { MAX_LINEAGE_BYTES, Position, type PositionEntry } from '../position.js'
import { RecentMap } from '../recent-map.js'
import { boundMarks, joinMarks, type Marks, type ScopeId } from '../scope.js'

export const TOKEN_VERSION = 1
export const SIGNATURE_BYTES = 16
export const BINDING_BYTES = 8
export const KEY_ID_BYTES = 4
/** The longest token text ever issued or accepted, in characters. */
export const MAX_TOKEN_LENGTH = 256
const MAX_TOKEN_BYTES = (MAX_TOKEN_LENGTH / 4) * 3
/** More histories of one log than this fold into "uncertain": it would take several failovers within one session. */
const MAX_EPOCHS = 4
/**
 * No more would fit anyway. Of a leaderless cluster, with logs that are named in 10 bytes (`shop/eu/12`), writes in 7 regions do, and
 * with monotonic reads in 5; of more, a session that has written in all of them is uncertain at its next request.
 */
const MAX_LINEAGES = 12
const MAX_LAID_OUT = 64
/** More than the most that a history can need: whether it fits a token is looked at when it has been written. */
const SCRATCH_BYTES = 4_096
/** Filled from its start each time, without a pause; what leaves is a copy of just that: nothing of another token can. */
const scratch = new Uint8Array(SCRATCH_BYTES)
const scratchView = new DataView(scratch.buffer)
const FLAG_UNCERTAIN = 1
const FLAG_BOUND = 2
const SECTION_WRITES = 1
const SECTION_READS = 2
const SECTION_MARKS = 3

export type TokenRejection =
  | 'malformed'
  | 'oversized'
  | 'unsupported-version'
  | 'unknown-key'
  | 'bad-signature'
  | 'other-user'
  | 'from-the-future'

/** A token that was not accepted. Inside the library only: to the outside such a token counts as no token, with an event. */
export class TokenRejectedError extends TidemarkError {
  declare readonly code: 'TIDEMARK_TOKEN_REJECTED'
  readonly reason: TokenRejection
  constructor(reason: TokenRejection, message: string) {
    super('TIDEMARK_TOKEN_REJECTED', message)
    this.reason = reason
  }
}

/** What a token says, before anybody has vouched for it. */
export interface TokenContent {
  readonly history: History
  /** Milliseconds since 1970 on the issuing host. Not used for freshness. */
  readonly issuedAt: number
  readonly keyId: Uint8Array
  /** Present when the token is bound to a user or tenant. */
  readonly binding: Uint8Array | undefined
}

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const INTEGER_PAIR = /^(0|[1-9]\d{0,19})\/(0|[1-9]\d{0,9})$/

/** Lays out all but the signature, leaving {@link SIGNATURE_BYTES} zero bytes at the end for it. */
export function layOut(content: TokenContent): Uint8Array {
  const { history } = content
  const lineages = lineagesOf(allWrites(history), history.reads)
  const names = lineages.map(bytesOf)
  if (lineages.length <= MAX_LINEAGES && epochsOfOne(lineages) <= MAX_EPOCHS && names.every(name => name !== undefined)) {
    // Marks that find no room fold into the mark of everything, the oldest first: more is held back, never less.
    for (let room = history.marks?.size ?? 0; room >= 0; room--) {
      const folded = history.marks === undefined ? history : { ...history, ...boundMarks(history.writes, history.marks, room) }
      const bytes = write(content, room === 0 ? { ...folded, marks: undefined } : folded, lineages, names)
      if (bytes.length <= MAX_TOKEN_BYTES) return bytes
    }
  }
  // It does not fit: say "uncertain" rather than leave something out.
  return write(content, { writes: Position.zero, reads: Position.zero, uncertain: true }, [], [])
}

function write(content: TokenContent, history: History, lineages: readonly string[], names: readonly Uint8Array[]): Uint8Array {
  const bytes = scratch
  const view = scratchView
  bytes[0] = TOKEN_VERSION
  bytes[1] = (history.uncertain ? FLAG_UNCERTAIN : 0) | (content.binding ? FLAG_BOUND : 0)
  bytes.set(content.keyId, 2)
  view.setUint16(6, Math.floor(content.issuedAt / 2 ** 32))
  view.setUint32(8, content.issuedAt % 2 ** 32)
  let at = 12
  if (content.binding) {
    bytes.set(content.binding, at)
    at += BINDING_BYTES
  }
  bytes[at++] = lineages.length
  for (const name of names) {
    bytes.set(name, at)
    at += name.length
  }
  at = writeSection(bytes, view, at, SECTION_WRITES, history.writes, lineages)
  at = writeSection(bytes, view, at, SECTION_READS, history.reads, lineages)
  if (history.marks !== undefined) at = writeMarks(bytes, view, at, history.marks, lineages)
  const end = at + SIGNATURE_BYTES
  return bytes.fill(0, at, end).slice(0, end)
}

function lineagesOf(...positions: readonly Position[]): readonly string[] {
  const lineages = new Set<string>()
  for (const { entries } of positions) for (const { lineage } of entries) lineages.add(lineage)
  return [...lineages]
}

/** How many of the lineages at most are histories of the same log. */
function epochsOfOne(lineages: readonly string[]): number {
  if (lineages.length < 2) return lineages.length
  const logs = lineages.map(lineage => parseLineage(lineage)?.system ?? lineage)
  return Math.max(0, ...logs.map(log => logs.filter(each => each === log).length))
}

/** Names as they were laid out: nearly all tokens of a process name the same few. */
const laidOut = new RecentMap<string, Uint8Array>(MAX_LAID_OUT)

/** The name with its tag before it; `undefined` when a reader would not get the same name back. */
function bytesOf(lineage: string): Uint8Array | undefined {
  const known = laidOut.get(lineage)
  if (known !== undefined) return known
  const bytes = pairBytes(lineage) ?? textBytes(lineage)
  if (bytes !== undefined) laidOut.set(lineage, bytes)
  return bytes
}

/** What an engine names by two integers, and the usual case: plain digits. */
function pairBytes(lineage: string): Uint8Array | undefined {
  const pair = INTEGER_PAIR.exec(lineage)
  if (pair === null || BigInt(pair[1]!) >= 2n ** 64n || Number(pair[2]) >= 2 ** 32) return undefined
  const view = new DataView(new ArrayBuffer(13))
  view.setUint8(0, 1)
  view.setBigUint64(1, BigInt(pair[1]!))
  view.setUint32(9, Number(pair[2]))
  return new Uint8Array(view.buffer)
}

function textBytes(lineage: string): Uint8Array | undefined {
  const text = utf8.encode(lineage)
  if (text.length > MAX_LINEAGE_BYTES || fromUtf8.decode(text) !== lineage) return undefined
  return Uint8Array.of(0, text.length, ...text)
}

function writeSection(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  type: number,
  position: Position,
  lineages: readonly string[],
): number {
  if (position.isZero) return at
  bytes[at] = type
  bytes[at + 1] = position.entries.length
  let next = at + 2
  for (const entry of position.entries) {
    bytes[next] = lineages.indexOf(entry.lineage)
    view.setBigUint64(next + 1, entry.offset)
    next += 9
  }
  return next
}

function writeMarks(bytes: Uint8Array, view: DataView, at: number, marks: Marks, lineages: readonly string[]): number {
  const entries = [...marks].flatMap(([scope, mark]) => mark.entries.map(entry => ({ scope, ...entry })))
  bytes[at] = SECTION_MARKS
  bytes[at + 1] = entries.length
  let next = at + 2
  for (const { scope, lineage, offset } of entries) {
    bytes[next] = lineages.indexOf(lineage)
    view.setUint32(next + 1, scope)
    view.setBigUint64(next + 5, offset)
    next += 13
  }
  return next
}

/**
 * Reads a token's bytes (signature included, not checked). Throws {@link TokenRejectedError} and nothing else, whatever
 * the bytes are; does an amount of work bounded by {@link MAX_TOKEN_LENGTH}.
 */
export function readLayout(bytes: Uint8Array): TokenContent {
  if (bytes.length > MAX_TOKEN_BYTES) throw new TokenRejectedError('oversized', `a token has at most ${MAX_TOKEN_BYTES} bytes`)
  if (bytes.length < 13 + SIGNATURE_BYTES) throw new TokenRejectedError('malformed', 'too short to be a token')
  if (bytes[0] !== TOKEN_VERSION)
    throw new TokenRejectedError('unsupported-version', `token version ${bytes[0]} is not known here`)
  const reader = new Reader(bytes, bytes.length - SIGNATURE_BYTES)
  reader.byte()
  const flags = reader.byte()
  const keyId = reader.take(KEY_ID_BYTES)
  const issuedAt = reader.uint16() * 2 ** 32 + reader.uint32()
  const binding = flags & FLAG_BOUND ? reader.take(BINDING_BYTES) : undefined
  const lineages: string[] = []
  for (let left = reader.byte(); left > 0; left--) lineages.push(readLineage(reader))
  // A flag that is not known here stands for something that would be lost: as with sections, it makes uncertain.
  let uncertain = (flags & ~FLAG_BOUND) !== 0
  let writes = Position.zero
  let reads = Position.zero
  let marks: Marks | undefined
  while (!reader.atEnd) {
    const type = reader.byte()
    if (type === SECTION_WRITES) writes = writes.join(readSection(reader, lineages))
    else if (type === SECTION_READS) reads = reads.join(readSection(reader, lineages))
    else if (type === SECTION_MARKS) marks = joinMarks(marks, readMarks(reader, lineages))
    else {
      uncertain = true
      break
    }
  }
  const history = marks === undefined ? { writes, reads, uncertain } : { reads, uncertain, ...boundMarks(writes, marks) }
  return { history, issuedAt, keyId, binding }
}

function readLineage(reader: Reader): string {
  const tag = reader.byte()
  if (tag === 1) return `${reader.bigUint64()}/${reader.uint32()}`
  const length = reader.byte()
  if (tag !== 0 || length > MAX_LINEAGE_BYTES) throw new TokenRejectedError('malformed', 'unreadable lineage')
  try {
    return fromUtf8.decode(reader.take(length))
  } catch {
    throw new TokenRejectedError('malformed', 'a lineage is not UTF-8')
  }
}

function readSection(reader: Reader, lineages: readonly string[]): Position {
  const entries: PositionEntry[] = []
  for (let left = reader.byte(); left > 0; left--) {
    entries.push({ lineage: lineageIn(lineages, reader.byte()), offset: reader.bigUint64() })
  }
  return Position.of(entries)
}

function readMarks(reader: Reader, lineages: readonly string[]): Marks {
  const marks = new Map<ScopeId, Position>()
  for (let left = reader.byte(); left > 0; left--) {
    const lineage = lineageIn(lineages, reader.byte())
    const scope = reader.uint32()
    const mark = Position.at(lineage, reader.bigUint64())
    marks.set(scope, marks.get(scope)?.join(mark) ?? mark)
  }
  return marks
}

function lineageIn(lineages: readonly string[], index: number): string {
  const lineage = lineages[index]
  if (lineage === undefined) throw new TokenRejectedError('malformed', 'an entry names a lineage that is not there')
  return lineage
}

/** Reads within bounds or rejects. */
class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #end: number
  #at = 0
  constructor(bytes: Uint8Array, end: number) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, end)
    this.#end = end
  }
  get atEnd(): boolean {
    return this.#at >= this.#end
  }
  take(count: number): Uint8Array {
    const at = this.#advance(count)
    return this.#bytes.subarray(at, at + count)
  }
  byte(): number {
    return this.#view.getUint8(this.#advance(1))
  }
  uint16(): number {
    return this.#view.getUint16(this.#advance(2))
  }
  uint32(): number {
    return this.#view.getUint32(this.#advance(4))
  }
  bigUint64(): bigint {
    return this.#view.getBigUint64(this.#advance(8))
  }
  /** Where the next `count` bytes begin, which are then read. */
  #advance(count: number): number {
    const at = this.#at
    if (at + count > this.#end) throw new TokenRejectedError('malformed', 'the token ends too early')
    this.#at += count
    return at
  }
}
