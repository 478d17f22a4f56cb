/** What in a cluster endangers the guarantee, or makes it dear. Pure functions of what the nodes say. */
import type { NodeStatus } from '../../engines/postgres/index.js'
import { duration } from '../format.js'
import type { Inspection, ServerFacts } from './inspect.js'

export interface Finding {
  /** `fatal`: the guarantee cannot be given; `warning`: it is in danger, or a node is of no use; `note`: it costs more than it has to. */
  readonly severity: 'fatal' | 'warning' | 'note'
  /** `undefined`: the cluster as a whole. */
  readonly node: string | undefined
  readonly found: string
  readonly why: string
  readonly advice: string
}

export interface NodeReport {
  readonly status: NodeStatus
  readonly inspection: Inspection
}

type Problem = Omit<Finding, 'node'>

/** Beyond this a query on a standby holds up replay for longer than people wait. */
const LONG_CONFLICT_MS = 60_000
const LONG_LAG_MS = 10_000
const MIN_VERSION = 130_000

/** The gravest first. */
export function findingsOf(reports: readonly NodeReport[]): Finding[] {
  const findings = [
    ...clusterProblems(reports).map(problem => ({ ...problem, node: undefined })),
    ...reports.flatMap(report => nodeProblems(report).map(problem => ({ ...problem, node: report.status.node }))),
  ]
  const rank = { fatal: 0, warning: 1, note: 2 }
  return findings.sort((a, b) => rank[a.severity] - rank[b.severity])
}

function clusterProblems(reports: readonly NodeReport[]): Problem[] {
  const problems: Problem[] = []
  const usable = reports.filter(({ status }) => status.usable)
  const facts = reports.flatMap(({ inspection }) => ('facts' in inspection ? [inspection.facts] : []))
  const primaries = facts.filter(({ recovering }) => !recovering).length
  if (usable.length === 0) {
    problems.push({
      severity: 'fatal',
      found: 'not one node can be used',
      why: 'nothing can be read or written',
      advice: 'see what is said of each node',
    })
  } else if (!usable.some(({ status }) => status.role === 'primary')) {
    problems.push({
      severity: 'fatal',
      found: 'there is no primary that can be used',
      why: 'nothing can be written, and what no replica has applied cannot be read',
      advice: primaries > 0 ? 'see what is said of each node' : 'give the URL of the primary too, or promote a standby',
    })
  }
  const systems = new Set(facts.map(({ system }) => system)).size
  if (systems > 1) {
    problems.push({
      severity: 'warning',
      found: `these nodes belong to ${systems} different systems`,
      why: 'they do not replicate each other, so only those of one system are used: the first that answers',
      advice: 'leave out the URLs of the others',
    })
  }
  if (primaries > 1 && systems === 1) {
    problems.push({
      severity: 'warning',
      found: `${primaries} of these nodes are out of recovery`,
      why: 'what is written to one of them the others lack for ever',
      advice: 'find out which is the primary, and rejoin the others as standbys (pg_rewind or a new base backup)',
    })
  }
  if (usable.length > 0 && !usable.some(({ status }) => status.role === 'replica')) {
    problems.push({
      severity: 'note',
      found: 'there is no replica that can be used',
      why: 'the primary serves every read',
      advice: reports.length > usable.length ? 'see what is said of each node' : 'give the URLs of the replicas too',
    })
  }
  return problems
}

function nodeProblems({ status, inspection }: NodeReport): Problem[] {
  if ('failure' in inspection) {
    const { message, hotStandbyOff } = inspection.failure
    const [why, advice] = hotStandbyOff
      ? ['a standby with hot_standby = off refuses every query', 'set hot_standby = on and restart it']
      : ['a node that does not answer serves nothing', 'check its address, that it runs, and that pg_hba.conf lets this user in']
    return [{ severity: 'warning', found: `does not answer: ${message}`, why, advice }]
  }
  const { facts } = inspection
  if (facts.versionNumber < MIN_VERSION) {
    return [
      {
        severity: 'warning',
        found: `PostgreSQL ${facts.version} is too old`,
        why: 'it does not tell the positions that Tidemark relies on',
        advice: 'upgrade the server to 13 or newer',
      },
    ]
  }
  const problems = facts.recovering ? standbyProblems(facts, status) : primaryProblems(facts)
  // For want of that right it is not used, which has been said.
  const explained = facts.recovering && !facts.maySeeReceiver
  if (!status.usable && !explained) problems.unshift(unusable(status))
  return problems
}

function unusable({ problem }: NodeStatus): Problem {
  return {
    severity: 'warning',
    found: `is not used: ${problem}`,
    why: 'it serves nothing',
    advice: 'mend it, or leave its URL out',
  }
}

function primaryProblems({ settings, user, maySeeReceiver }: ServerFacts): Problem[] {
  const problems: Problem[] = []
  if (settings.default_transaction_read_only === 'on') {
    problems.push({
      severity: 'warning',
      found: 'default_transaction_read_only = on',
      why: 'writes fail',
      advice: 'turn it off for the server, the database and the user',
    })
  }
  if (settings.synchronous_commit === 'off') {
    problems.push({
      severity: 'warning',
      found: 'synchronous_commit = off',
      why: 'a crash of the primary loses the newest commits after they were confirmed, and no token brings them back',
      advice: 'set it to on, or at least to local; leave off to single transactions that may be lost',
    })
  }
  for (const name of ['fsync', 'full_page_writes'] as const) {
    if (settings[name] !== 'off') continue
    problems.push({
      severity: 'warning',
      found: `${name} = off`,
      why: 'a crash of the machine can lose or corrupt everything',
      advice: 'turn it on, except for tests',
    })
  }
  if (!maySeeReceiver) {
    problems.push({
      severity: 'note',
      found: `the user ${user} lacks pg_monitor`,
      why: 'after a failover this node is a standby, and could not be used',
      advice: `on the primary, run: GRANT pg_monitor TO ${quoted(user)}`,
    })
  }
  return problems
}

function standbyProblems(facts: ServerFacts, status: NodeStatus): Problem[] {
  const { settings } = facts
  const problems: Problem[] = receiverProblems(facts)
  const delayMs = Number(settings.recovery_min_apply_delay)
  const conflictMs = Number(settings.max_standby_streaming_delay)
  if (facts.replayPaused) {
    problems.push({
      severity: 'warning',
      found: 'replay is paused',
      why: 'it never catches up with a write, so authors are served by other nodes',
      advice: 'run: SELECT pg_wal_replay_resume()',
    })
  }
  if (delayMs > 0) {
    problems.push({
      severity: 'note',
      found: `recovery_min_apply_delay = ${duration(delayMs)}`,
      why: 'after each write its author is served by other nodes for that long',
      advice: 'set it to 0, unless this is the standby that protects against mistakes; leave its URL out then',
    })
  }
  if ((conflictMs < 0 || conflictMs > LONG_CONFLICT_MS) && settings.hot_standby_feedback === 'off') {
    problems.push({
      severity: 'note',
      found: `max_standby_streaming_delay = ${conflictMs < 0 ? '-1' : duration(conflictMs)} with hot_standby_feedback = off`,
      why: `a long query here may hold up replay ${conflictMs < 0 ? 'for ever' : 'for that long'}, and authors are served by other nodes meanwhile`,
      advice: 'set hot_standby_feedback = on, or a delay of at most 30s: a cancelled read is repeated elsewhere',
    })
  }
  if (settings.recovery_target_timeline !== 'latest') {
    problems.push({
      severity: 'note',
      found: `recovery_target_timeline = ${settings.recovery_target_timeline}`,
      why: 'after a failover it does not follow the new primary',
      advice: 'set it to latest',
    })
  }
  if (status.stalenessMs !== undefined && status.stalenessMs > LONG_LAG_MS) {
    problems.push({
      severity: 'note',
      found: `shows the primary as it was ${duration(status.stalenessMs)} ago`,
      why: 'after each write its author is served by other nodes for about that long',
      advice: 'look at its load, its disk and the network to it',
    })
  }
  return problems
}

function receiverProblems({ maySeeReceiver, receiver, settings, user }: ServerFacts): Problem[] {
  if (!maySeeReceiver) {
    return [
      {
        severity: 'warning',
        found: `the user ${user} lacks pg_monitor`,
        why: 'it may not see which history this standby follows, and unknown counts as not caught up',
        advice: `on the primary, run: GRANT pg_monitor TO ${quoted(user)}`,
      },
    ]
  }
  if (receiver === 'streaming') return []
  if (receiver === undefined && (settings.restore_command ?? '') !== '') {
    return [
      {
        severity: 'warning',
        found: 'is fed from an archive and does not stream',
        why: 'its history is not known to be the primary’s, so it never counts as caught up',
        advice: 'set primary_conninfo, so that it streams from the primary',
      },
    ]
  }
  return [
    {
      severity: 'warning',
      found: receiver === undefined ? 'no WAL receiver is running' : `the WAL receiver is ${receiver}, not streaming`,
      why: 'nothing new arrives, so it does not catch up',
      advice: 'check primary_conninfo, that the primary runs, and its pg_hba.conf; the standby’s log tells more',
    },
  ]
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}
