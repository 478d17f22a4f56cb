/** Reads what a Markdown document shows: its blocks of code, its links and its headings. */
import { readFileSync } from 'node:fs'

/**
 * - `program` (no mark): a whole program. It is compiled and run.
 * - `no-run`: a whole program that waits for visitors, or needs what a test does not have. It is compiled.
 * - `fragment`: a piece of a program. It is compiled with the names that `prelude.ts` declares.
 *
 * A block marked `excerpt=FILE` is none of them: it is part of that file of the project, save for its indentation.
 */
export type BlockKind = 'program' | 'no-run' | 'fragment'

export interface Block {
  readonly kind: BlockKind
  /** Where the code begins in its document, from 1. */
  readonly line: number
  readonly code: string
}

export interface Excerpt {
  readonly line: number
  readonly file: string
  readonly code: string
}

export interface Link {
  readonly line: number
  readonly target: string
}

export interface Document {
  /** Blocks of TypeScript and JavaScript. */
  readonly blocks: readonly Block[]
  readonly excerpts: readonly Excerpt[]
  readonly links: readonly Link[]
  /** As the part of a URL after `#`. */
  readonly anchors: ReadonlySet<string>
}

const FENCE = /^ *```(?<language>\S*) *(?<mark>.*)$/
const LANGUAGES = new Set(['ts', 'js', 'typescript', 'javascript'])

/** Throws when a block has an unknown mark or no end. */
export function readDocument(path: string): Document {
  const blocks: Block[] = []
  const excerpts: Excerpt[] = []
  const links: Link[] = []
  const anchors = new Set<string>()
  const lines = readFileSync(path, 'utf8').split('\n')
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!
    const fence = FENCE.exec(line)?.groups
    if (fence !== undefined) {
      const end = lines.findIndex((other, index) => index > i && /^ *```$/.test(other))
      if (end < 0) throw new Error(`${path}:${i + 1}: a block of code that does not end`)
      if (LANGUAGES.has(fence.language!)) {
        const code = lines.slice(i + 1, end).join('\n')
        const file = /^excerpt=(\S+)$/.exec(fence.mark!)?.[1]
        if (file !== undefined) excerpts.push({ line: i + 2, file, code })
        else blocks.push({ kind: kindOf(fence.mark!, `${path}:${i + 1}`), line: i + 2, code })
      }
      i = end
      continue
    }
    const prose = line.replaceAll(/`[^`]*`/g, '')
    for (const [, target] of prose.matchAll(/\]\(([^()\s]+)\)/g)) links.push({ line: i + 1, target: target! })
    const heading = /^#+ +(.*)$/.exec(line)?.[1]
    if (heading !== undefined) anchors.add(anchorOf(heading))
  }
  return { blocks, excerpts, links, anchors }
}

function kindOf(mark: string, where: string): BlockKind {
  if (mark === '') return 'program'
  if (mark === 'no-run' || mark === 'fragment') return mark
  throw new Error(`${where}: "${mark}" is not a mark of a block of code; expected none, no-run, fragment or excerpt=FILE`)
}

/** As GitHub does it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-')
}
