import { TokenRejectedError } from '../../core/token/layout.js'
import { type Command, EXIT, parse } from '../command.js'
import { UsageError } from '../errors.js'
import { duration } from '../format.js'
import { type Paint, printable, type Terminal } from '../terminal.js'
import { type ExplainedToken, explainToken, type TokenPosition } from './explain-token.js'

const HELP = `Decodes a token and says what it means.

Usage: tidemark token TOKEN [options]

A token is signed, not encrypted: reading it takes no secret. With the secret in the environment its signature is
verified as well; exit code 1 then also means that the token would be refused.

Options:
      --secret-env NAME  The environment variable that holds the secret (default: TIDEMARK_SECRET)
      --user USER        The user or tenant that the token should be bound to
      --json             Print one JSON object
  -h, --help             Show this`

const OPTIONS = {
  'secret-env': { type: 'string' },
  user: { type: 'string' },
  json: { type: 'boolean' },
} as const

export const tokenCommand: Command = {
  name: 'token',
  summary: 'Decode a token and say what it means',
  help: HELP,
  async run(args, terminal) {
    const { values, positionals } = parse(args, OPTIONS)
    const [token] = positionals
    if (token === undefined || positionals.length > 1) {
      throw new UsageError(`Expected one token, not ${positionals.length} arguments`)
    }
    const secret = secretFrom(terminal.env, values['secret-env'])
    if (values.user !== undefined && secret === undefined) {
      throw new UsageError('--user is verified with the secret: put that into the environment variable TIDEMARK_SECRET')
    }
    return run(token, { secret, user: values.user, json: values.json === true }, terminal)
  },
}

interface TokenOptions {
  readonly secret: string | undefined
  readonly user: string | undefined
  readonly json: boolean
}

function run(token: string, { secret, user, json }: TokenOptions, terminal: Terminal): number {
  let explained: ExplainedToken
  try {
    explained = explainToken(token, { secret, user, now: Date.now() })
  } catch (error) {
    if (!(error instanceof TokenRejectedError)) throw error
    terminal.fail(`This is not a Tidemark token: ${error.message}. Copy it whole, from the cookie or header that carried it.`)
    return EXIT.FAILED
  }
  if (json) terminal.print(JSON.stringify(explained, null, 2))
  else terminal.print(...describe(explained, user, terminal.paint))
  return explained.signature === 'refused' ? EXIT.FAILED : EXIT.OK
}

function secretFrom(env: NodeJS.ProcessEnv, name: string | undefined): string | undefined {
  const secret = env[name ?? 'TIDEMARK_SECRET'] || undefined
  if (name !== undefined && secret === undefined) {
    throw new UsageError(`--secret-env: the environment has no variable ${name}, or it is empty`)
  }
  return secret
}

function describe(token: ExplainedToken, user: string | undefined, paint: Paint): string[] {
  const facts: [string, string][] = [
    ['Version', String(token.version)],
    ['Key', token.keyId],
    ['Signature', describeSignature(token, paint)],
    ['Issued', `${token.issuedAt} (${age(token.ageMs)})`],
    ['Bound', describeBinding(token, user)],
    ...token.writes.map((position): [string, string] => ['Writes', describePosition(position)]),
    ...token.reads.map((position): [string, string] => ['Reads', describePosition(position)]),
    ['Uncertain', token.uncertain ? paint('yellow', 'yes') : 'no'],
  ]
  return [...facts.map(([name, value]) => `${paint('dim', name.padEnd(10))} ${value}`), '', ...meaning(token)]
}

function describeSignature(token: ExplainedToken, paint: Paint): string {
  if (token.signature === 'valid') return paint('green', 'valid')
  if (token.signature === 'refused') return paint('red', `REFUSED: ${token.message}`)
  return paint('yellow', 'NOT VERIFIED: no secret in the environment, so anybody may have made this token')
}

function describeBinding({ bound, signature }: ExplainedToken, user: string | undefined): string {
  if (!bound) return 'to nobody: accepted from anybody'
  if (user === undefined) return 'to one user (--user tells whether to a certain one)'
  return signature === 'valid' ? `to ${printable(user)}` : 'to one user'
}

function describePosition({ lineage, system, timeline, lsn, offset }: TokenPosition): string {
  return lsn === undefined ? `${offset} of ${printable(lineage)}` : `${lsn} on timeline ${timeline} of system ${system}`
}

function age(ms: number): string {
  return ms < 0 ? `${duration(-ms)} in the future` : `${duration(ms)} ago`
}

/** What it has a router do. */
function meaning(token: ExplainedToken): string[] {
  if (token.signature === 'refused') return ['This token counts as no token: the request is served as if it had none.']
  const lines: string[] = []
  const { writes, reads, uncertain } = token
  if (uncertain) {
    lines.push(
      'The holder may have written something whose position is not known: its next read goes to the primary, which settles that.',
    )
  } else if (writes.length === 0) {
    lines.push('The holder has written nothing that is still to be waited for: any healthy replica may serve its reads.')
  } else if (writes.length === 1) {
    lines.push('A read of the holder is served by a replica that has applied its writes; where none has, by the primary.')
    if (writes[0]?.lsn !== undefined) {
      lines.push(`On a replica, this tells whether it has: SELECT pg_last_wal_replay_lsn() >= '${writes[0].lsn}';`)
    }
  } else {
    lines.push(
      'The writes belong to several histories: there was a failover in between. What the present one lacks is reported as possibly lost.',
    )
  }
  if (reads.length > 0) lines.push('Under monotonic reads the same holds for what it has read.')
  if (token.bound) lines.push('Another user who presents it is treated as if there were no token.')
  return lines
}
