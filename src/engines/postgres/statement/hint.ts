import { comments } from './parser.js'

const MENTION = /tidemark/i
const PRIMARY = /\btidemark\s*:\s*primary\b/i
/** Only a comment that is nothing else may send a statement away from the primary. */
const REPLICA = /^(?:\/\*|--)\s*tidemark\s*:\s*replica\s*(?:\*\/)?$/i

/**
 * The wish that the author of a text left in a comment: `tidemark: primary` anywhere in one, or a comment that is just
 * `tidemark: replica`. When both occur, or the comments cannot be told from the rest, it is the primary.
 */
export function hintOf(text: string): 'primary' | 'replica' | undefined {
  if (!MENTION.test(text)) return undefined
  const found = comments(text)
  if (found === undefined || found.some(comment => PRIMARY.test(comment))) return 'primary'
  return found.some(comment => REPLICA.test(comment)) ? 'replica' : undefined
}
