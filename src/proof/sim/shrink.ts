/**
 * Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002): finds a small part of a
 * list that still fails. Every candidate is played in full, so what comes out fails by itself, not by inference.
 */
export interface ShrinkOptions {
  /** Called before each trial; true ends the search with the smallest list found so far. */
  readonly stop: () => boolean
}

/** The smallest failing part found of `items`, which must fail as a whole. Keeps their order. 1-minimal unless stopped. */
export async function shrink<T>(
  items: readonly T[],
  fails: (candidate: readonly T[]) => Promise<boolean>,
  { stop }: ShrinkOptions,
): Promise<readonly T[]> {
  let current = items
  let parts = 2
  while (current.length > 1) {
    const smaller = await smallerPart(current, Math.min(parts, current.length), fails, stop)
    if (smaller !== undefined) {
      current = smaller
      parts = Math.max(2, Math.min(parts, current.length) - 1)
    } else if (parts >= current.length || stop()) break
    else parts *= 2
  }
  return current
}

/** The list without one of its parts, if it still fails then; the later parts first: what came after a failure goes at once. */
async function smallerPart<T>(
  items: readonly T[],
  parts: number,
  fails: (candidate: readonly T[]) => Promise<boolean>,
  stop: () => boolean,
): Promise<readonly T[] | undefined> {
  for (let part = parts - 1; part >= 0; part--) {
    if (stop()) return undefined
    const from = Math.floor((part * items.length) / parts)
    const to = Math.floor(((part + 1) * items.length) / parts)
    const rest = [...items.slice(0, from), ...items.slice(to)]
    if (await fails(rest)) return rest
  }
  return undefined
}
