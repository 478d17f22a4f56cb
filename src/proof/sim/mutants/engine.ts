/** Mutants of what an engine has to do: rules 1 and 2, and the logs of peers, on the simulated one. */
import type { Mutant } from './mutant.js'

const STATEMENTS = 'engines/simulated/statements.js'
const ANSWERS = 'engines/simulated/position-answers.js'
const PEER = 'engines/simulated/peer.js'

export const ENGINE_MUTANTS: readonly Mutant[] = [
  {
    name: 'captured-before-commit',
    breaks: 'the position is asked for before the write, not behind its commit',
    edits: [
      {
        file: STATEMENTS,
        find: "const written = lease.connection.request({ kind: 'write', values, asyncCommit });\n        const captured = plan.capture ? capture(lease) : undefined;",
        replace:
          "const captured = plan.capture ? capture(lease) : undefined;\n        const written = lease.connection.request({ kind: 'write', values, asyncCommit });",
      },
    ],
  },
  {
    name: 'flush-position-captured',
    breaks: 'what is on disk is captured, which is behind an asynchronous commit',
    edits: [{ file: ANSWERS, find: 'endOfLastRecord(end.insert, geometry)', replace: 'endOfLastRecord(end.flush, geometry)' }],
    focus: { world: { asyncCommit: true } },
  },
  {
    name: 'page-boundary-not-rounded',
    breaks: "at a page's beginning the position behind the page's header is taken for the end of the last record",
    edits: [
      {
        file: ANSWERS,
        find: 'const inSegment = Number(insert % BigInt(segmentSize));',
        replace: 'return insert;\n    const inSegment = Number(insert % BigInt(segmentSize));',
      },
    ],
  },
  {
    name: 'received-is-applied',
    breaks: 'what a standby has received counts as what its readers see',
    edits: [{ file: ANSWERS, find: 'applied: row.recovering ? row.applied', replace: 'applied: row.recovering ? row.received' }],
  },
  {
    name: 'read-bound-too-low',
    breaks: 'the replay position is taken for an upper bound of what a read has shown',
    edits: [
      {
        file: ANSWERS,
        find: "const mayBeInFlight = role === 'replica' && (row.received === null || row.received > applied);",
        replace: 'const mayBeInFlight = false;',
      },
    ],
    focus: { world: { topology: 'physical' }, latePositions: true, monotonic: true },
  },
  {
    name: 'balanced-checked-elsewhere',
    breaks: 'behind a balanced address the check and the read go over different connections',
    edits: [
      {
        file: STATEMENTS,
        find: 'return await SENDERS[form](lease, keys);',
        replace: `if (form !== 'checked') return await SENDERS[form](lease, keys);
        const other = await target.acquired(undefined, signal);
        const answer = await SENDERS[form](other, keys).finally(() => other.release());
        return { ...answer, result: await rowsOf(lease, keys) };`,
      },
    ],
    focus: { balanced: true },
  },
  {
    name: 'hlc-without-persistence',
    breaks: 'after a restart a hybrid logical clock knows nothing of the stamps that it gave out before',
    edits: [{ file: PEER, find: 'bound: this.#bound,', replace: 'bound: 0n,' }],
    focus: { world: { topology: 'leaderless' }, faults: ['peer-clock-jump'] },
  },
  {
    name: 'torn-log-continued',
    breaks: 'a peer that may have lost the end of its log goes on writing the same one',
    edits: [{ file: PEER, find: 'if (this.#torn) {', replace: "if (this.log === '') {" }],
    focus: { world: { topology: 'leaderless' } },
  },
]
