/** Lists of indices as they stand on a command line: `0-3,7,12-14`. */

export function formatIndices(indices: readonly number[]): string {
  const ranges: [from: number, to: number][] = []
  for (const index of indices) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === index - 1) last[1] = index
    else ranges.push([index, index])
  }
  return ranges.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(',')
}

/** `undefined` when the text is not such a list, or reaches beyond `max`. */
export function parseIndices(text: string, max: number): readonly number[] | undefined {
  const indices = new Set<number>()
  for (const range of text.split(',')) {
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(range.trim())
    if (match === null) return undefined
    const from = Number(match[1])
    const to = Number(match[2] ?? match[1])
    if (to < from || to > max) return undefined
    for (let index = from; index <= to; index++) indices.add(index)
  }
  return [...indices].sort((a, b) => a - b)
}
