/**
 * Scopes: fences per key, object or table. A write that says that it touched only `profile:42` marks that scope, and a
 * read of another scope is not held back by it.
 *
 * **Why hashes are sound.** A token carries 32 bits of each scope's name, not the name. Two scopes with the same hash share
 * a mark, which is the join of both: a read then waits for more than it needs, never for less.
 *
 * **Why folding is sound.** A token holds a bounded number of marks. The oldest fold into the mark of everything, which
 * holds back all reads: again more, never less. The oldest, since replicas have most likely applied it already.
 */
import type { Position } from './position.js'

/** 32 bits of a scope's name. */
export type ScopeId = number

export type Marks = ReadonlyMap<ScopeId, Position>

/** Scopes marked in one history, and so in one token. */
export const MAX_MARKS = 8

/** FNV-1a over the text's UTF-16 code units. Not secret, and need not be: who finds two names with one hash waits longer. */
export function scopeId(scope: string): ScopeId {
  let hash = 0x811c9dc5
  for (let i = 0; i < scope.length; i++) hash = Math.imul(hash ^ scope.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** `undefined` for no scope, which means everything; so does an empty list: nothing is known of what was touched. */
export function scopeIds(scope: string | readonly string[] | undefined): readonly ScopeId[] | undefined {
  if (scope === undefined || scope.length === 0) return undefined
  return typeof scope === 'string' ? [scopeId(scope)] : scope.map(scopeId)
}

export function joinMarks(a: Marks | undefined, b: Marks | undefined): Marks {
  if (b === undefined || a === undefined) return a ?? b ?? new Map()
  const joined = new Map(a)
  for (const [scope, mark] of b) joined.set(scope, joined.get(scope)?.join(mark) ?? mark)
  return joined
}

export function sameMarks(a: Marks | undefined, b: Marks | undefined): boolean {
  if (a === undefined || b === undefined) return (a?.size ?? 0) === (b?.size ?? 0)
  return a.size === b.size && [...a].every(([scope, mark]) => b.get(scope)?.compare(mark) === 'equal')
}

/** Drops marks that `writes` includes, and folds the oldest into it until no more than `max` are left. */
export function boundMarks(
  writes: Position,
  marks: Marks,
  max = MAX_MARKS,
): { readonly writes: Position; readonly marks?: Marks } {
  let all = writes
  let left = [...marks].filter(([, mark]) => !all.includes(mark))
  if (left.length > max) {
    left.sort(([, a], [, b]) => (age(a) < age(b) ? -1 : 1))
    for (const [, mark] of left.splice(0, left.length - max)) all = all.join(mark)
    left = left.filter(([, mark]) => !all.includes(mark))
  }
  return left.length === 0 ? { writes: all } : { writes: all, marks: new Map(left) }
}

/** Only decides what to fold first. */
function age(mark: Position): bigint {
  return mark.entries.reduce((newest, { offset }) => (offset > newest ? offset : newest), 0n)
}
