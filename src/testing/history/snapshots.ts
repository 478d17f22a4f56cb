import { relation } from './evidence.js'
import type { Findings } from './findings.js'
import type { Operation } from './operation.js'
import type { RuleName } from './rules.js'
import { excuseOfWrites } from './session-guarantees.js'
import type { Missing } from './timeline.js'
import { includes, type Version } from './version.js'
import { byOperation, quote } from './words.js'

/** How many versions of other keys are asked what a version lacks; with more to ask, it is undecided. */
const MAX_ASKED = 32

/**
 * What a snapshot of several keys shows: writes that take effect together, and, across keys, monotonic writes and writes that follow
 * reads. A snapshot that shows a write, or a descendant of it, must show on its other keys what the write's session had written, or
 * read, before. Each key that is shown beside another one of which a write is known is a case.
 */
export function judgeSnapshot(read: Operation, findings: Findings): void {
  if (read.reads.length < 2) return
  // Of a key that was read twice, the later one counts.
  const versions = [...new Map(read.reads.map(version => [version.of, version])).values()]
  versions.sort((a, b) => b.newestStart - a.newestStart)
  for (const shown of versions) judgeShown({ read, shown, versions }, findings)
}

/** One of the versions that a read shows together. */
interface Shown {
  readonly read: Operation
  readonly shown: Version
  /** All of them; those with an effect that began late come first. */
  readonly versions: readonly Version[]
}

function judgeShown(about: Shown, findings: Findings): void {
  const { shown, versions } = about
  const written = versions.some(version => version !== shown && version.newestStart !== Number.NEGATIVE_INFINITY)
  if (!written) return
  const effects = mayShowMore(about)
  judge('monotonic-writes', about, effects, findings, writer =>
    writer.session.key(shown.of)?.written?.missing(shown, writer, excuseOfWrites),
  )
  judge('writes-follow-reads', about, effects, findings, writer =>
    writer.session.key(shown.of)?.seen?.missing(shown, writer, excuseOfWrites),
  )
  if (versions.some(version => version !== shown && version.together)) {
    judge('atomic-visibility', about, effects, findings, writer => missingOfTogether(shown, writer))
  }
}

/** Versions, or more than are asked. */
interface Effects {
  readonly asked: readonly Version[]
  readonly more: boolean
}

/**
 * The versions of other keys, and their ancestors, whose writers may have known more of the key than the snapshot shows. What `shown`
 * does not include had left no sign before it was outgrown, so only who began to write later can have known it. In a store
 * that gives snapshots these are few, however long the lines, which makes the whole linear. Elsewhere a whole line may have to be
 * walked for each pair of keys; hence the bound.
 */
function mayShowMore({ read, shown, versions }: Shown): Effects {
  const asked: Version[] = []
  let steps = 0
  for (const version of versions) {
    if (version.newestStart < shown.outgrown) break
    if (version === shown) continue
    for (let effect: Version | undefined = version; effect && effect.newestStart >= shown.outgrown; effect = effect.parent) {
      if (++steps > MAX_ASKED) return { asked, more: true }
      const { writer } = effect
      if (writer === undefined || writer === read || writer.start < shown.outgrown) continue
      asked.push(effect)
    }
  }
  return { asked, more: false }
}

type Lacks = (writer: Operation) => Missing | Lack | undefined

interface Lack {
  readonly version: Version
  readonly operation: Operation
}

function judge(rule: RuleName, about: Shown, { asked, more }: Effects, findings: Findings, lacks: Lacks): void {
  let undecided = more
  for (const effect of asked) {
    const lack = lacks(effect.writer!)
    if (typeof lack === 'object') {
      violated(rule, about, effect, lack, findings)
      return
    }
    if (lack === 'undecided') undecided = true
  }
  if (undecided) findings.undecided(rule)
  else findings.holds(rule)
}

function missingOfTogether(shown: Version, writer: Operation): Lack | 'undecided' | undefined {
  const version = writer.writes.findLast(({ of }) => of === shown.of)
  const included = version === undefined || includes(shown, version)
  if (included === undefined) return 'undecided'
  return included ? undefined : { version: version!, operation: writer }
}

function violated(rule: RuleName, { read, shown, versions }: Shown, effect: Version, lack: Lack, findings: Findings): void {
  findings.violated(rule, () => {
    const writer = effect.writer!.record
    const because = lack.operation.record
    const shows = versions.find(version => version.of === effect.of)!
    const what = `${quote(lack.version.value)} of ${quote(shown.key)}`
    const then = `${quote(effect.value)} of ${quote(effect.key)}`
    const happened =
      rule === 'atomic-visibility'
        ? `${byOperation(writer)} wrote ${what} and ${then} together`
        : `${byOperation(because)} ${rule === 'monotonic-writes' ? 'wrote' : 'read'} ${what}; ` +
          `operation ${writer.id}, which began later, wrote ${then}`
    const shownOf = `of ${quote(shown.key)} ${quote(shown.value)}`
    return {
      message: `${happened}; operation ${read.record.id} shows the latter, and ${shownOf}, without the former`,
      session: writer.session,
      key: shown.key,
      records: [...new Set([read.record, writer, because])],
      context: [...shows.records(), ...relation(shows, effect), ...relation(effect, shows), ...relation(shown, lack.version)],
    }
  })
}
