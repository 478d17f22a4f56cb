/** What a run of many seeds must have seen at least once, or it has proven nothing of it. */
import type { Coverage } from './seed-report.js'

const FAULTS = [
  'crash', 'freeze', 'cut', 'cut-replication', 'slow-link', 'slow-replication', 'delay-replay', 'pause-replay', 'lose-answers', 'reset',
  'rebuild', 'failover', 'split', 'clock-jump', 'clock-drift', 'peer-clock-jump', 'join', 'leave', 'store-fails', 'cache-fails', 'router-restart',
] // biome-ignore format: a list of words
const RUNGS = ['replica', 'wait', 'primary', 'pinned', 'quorum(majority)', 'sessionCache', 'stale']
const GUARANTEES = ['eventual', 'read-your-writes', 'monotonic-reads']
const REROUTES = ['new-incarnation', 'not-caught-up', 'unreachable']
const VERDICTS = ['possibly-lost', 'foreign', 'unknown']
const PRESETS = ['leader-reads', 'token-fence', 'quorum', 'write-through-cache', 'fence-on-write', 'two-level']
const FATES = ['request-lost', 'response-lost', 'response-doubled']
const FORGERIES = ['altered', 'cut', 'of-another-user']
const ERRORS = ['TIDEMARK_NOT_SERVED', 'TIDEMARK_NOT_READY', 'TIDEMARK_LOST_WRITE', 'TIDEMARK_NOT_APPLIED', 'TIDEMARK_NO_PRIMARY']
const OTHERS = [
  'topology physical', 'topology leaderless', 'commit asynchronous', 'commit in doubt', 'write acknowledged by a policy',
  'write not acknowledged in time', 'loss reported', 'loss by a commit that nobody can tell', 'token store fails: never',
  'token store fails: gets', 'token store fails: raises', 'cached value served', 'known user without a token', 'scoped action',
  'action read', 'action write', 'action transaction', 'action snapshot', 'action cached', 'error gave up', 'membership change refused',
] // biome-ignore format: a list of words

export const EXPECTED: readonly string[] = [
  ...FAULTS.map(each => `fault ${each}`),
  ...RUNGS.map(each => `rung ${each}`),
  ...GUARANTEES.map(each => `guarantee ${each}`),
  ...REROUTES.map(each => `reroute ${each}`),
  ...VERDICTS.map(each => `verdict ${each}`),
  ...PRESETS.map(each => `preset ${each}`),
  ...FATES.map(each => `carrier ${each}`),
  ...FORGERIES.map(each => `forged ${each}`),
  ...ERRORS.map(each => `error ${each}`),
  ...OTHERS,
]

export function neverHappened(coverage: Coverage): readonly string[] {
  return EXPECTED.filter(what => (coverage[what] ?? 0) === 0)
}
