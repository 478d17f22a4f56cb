/** Mutants of sessions, tokens, stores and caches. */
import type { Mutant } from './mutant.js'

export const SESSION_MUTANTS: readonly Mutant[] = [
  {
    name: 'commit-without-answer-not-committed',
    breaks: 'a COMMIT whose answer was lost leaves the session as certain as before',
    edits: [
      {
        file: 'core/execution/writes.js',
        find: 'session.doubt(acknowledged || cluster.logs === undefined ? lineage : undefined, acknowledged);',
        replace: '',
      },
    ],
  },
  {
    name: 'join-takes-the-last',
    breaks: 'of two positions of one history the last one counts, not the greater',
    edits: [
      {
        file: 'core/position.js',
        find: 'if (this.includes(other))\n            return this;',
        replace: 'if (!other.isZero && other.entries.length === this.entries.length)\n            return other;',
      },
    ],
  },
  {
    name: 'token-expires',
    breaks: 'a token that is a fifth of a second old counts as out of date',
    edits: [
      {
        file: 'core/token/codec.js',
        find: 'return content;',
        replace:
          'return content.issuedAt < this.#clock.wallNow() - 200 ? { ...content, history: { ...content.history, writes: content.history.reads } } : content;',
      },
    ],
  },
  {
    name: 'last-cookie-wins',
    breaks: 'a response replaces all tokens that the client holds, whatever it knew of them',
    edits: [
      {
        file: 'http/token-set.js',
        find: 'this.#tokens.set(name, token);\n        this.#attempt(',
        replace: 'this.#tokens.clear();\n        this.#tokens.set(name, token);\n        this.#attempt(',
      },
    ],
  },
  {
    name: 'signature-not-checked',
    breaks: 'a token is believed although its signature does not fit',
    edits: [
      {
        file: 'core/token/codec.js',
        find: 'if (!timingSafeEqual(sign(key, body), bytes.subarray(body.length)))',
        replace: 'if (false)',
      },
    ],
  },
  {
    name: 'binding-not-checked',
    breaks: 'a token of one user is taken from another',
    edits: [
      { file: 'core/token/codec.js', find: '!timingSafeEqual(bind(key, options.boundTo), content.binding)', replace: 'false' },
    ],
  },
  {
    name: 'store-failure-is-no-writes',
    breaks: 'a user whom the token store does not know, or cannot tell of, counts as one who has written nothing',
    edits: [{ file: 'core/session.js', find: 'this.#unknown = true;\n            this.doubt();', replace: '' }],
    focus: { store: true, faults: ['store-fails'] },
  },
  {
    name: 'unknown-user-has-not-written',
    breaks: 'a user of whom nothing is known counts as one who has written nothing',
    edits: [{ file: 'core/session.js', find: 'else if (!ofUser)', replace: 'else if (false)' }],
    focus: { store: false },
  },
  {
    name: 'acknowledged-before-stored',
    breaks: 'a write is acknowledged before the store has its position',
    edits: [
      {
        file: 'core/execution/writes.js',
        find: 'return session.wrote(position, scopes);',
        replace: 'void session.wrote(position, scopes);\n            return undefined;',
      },
    ],
    focus: { store: true },
  },
  {
    name: 'lost-write-not-told',
    breaks: 'a write beyond the point where its history was left is dropped in silence',
    edits: [
      {
        file: 'core/router.js',
        find: "const possiblyLost = fence.kind === 'possibly-lost' ||",
        replace: "const possiblyLost = (fence.kind === 'possibly-lost' && false) ||",
      },
    ],
    focus: { world: { topology: 'physical' }, faults: ['failover'] },
  },
  {
    name: 'settled-by-any-answer',
    breaks: 'a read settles also the doubts that came up while it was under way',
    edits: [{ file: 'core/session.js', find: 'const current = doubts === this.#doubts;', replace: 'const current = true;' }],
    focus: { world: { topology: 'leaderless' }, store: false },
  },
  {
    name: 'scope-needs-nothing',
    breaks: 'a read of a scope is not held back by the writes of that scope',
    edits: [{ file: 'core/history.js', find: 'needed = needed.join(mark);', replace: 'needed = needed;' }],
  },
  {
    name: 'unscoped-read-ignores-scopes',
    breaks: 'a read of everything is not held back by the writes of scopes',
    edits: [
      {
        file: 'core/history.js',
        find: 'let needed = scopes === undefined ? allWrites(history) : history.writes;',
        replace: 'let needed = history.writes;',
      },
    ],
  },
  {
    name: 'reads-not-remembered',
    breaks: 'what a session has read does not hold back its next reads',
    edits: [{ file: 'core/session.js', find: 'this.join({ ...EMPTY_HISTORY, reads: position });', replace: '' }],
  },
  {
    name: 'fill-not-fenced',
    breaks: 'a value that was read before an invalidation enters the shared cache after it',
    edits: [
      {
        file: 'core/fenced-cache.js',
        find: 'there !== undefined && readAt.includes(there) ?',
        replace: 'true ?',
      },
    ],
  },
  {
    name: 'shared-cache-not-fenced',
    breaks: 'the shared cache serves sessions that have written since',
    edits: [{ file: 'core/fenced-cache.js', find: 'positionOf(entry)?.includes(needed)', replace: 'true' }],
  },
  {
    name: 'session-cache-by-key-only',
    breaks: "an author's own values are kept by key, for whoever asks",
    edits: [
      {
        file: 'core/session-cache.js',
        find: 'return this.#byAuthor.get(author)?.entries.get(key);',
        replace: "return this.#of('').entries.get(key);",
      },
      {
        file: 'core/session-cache.js',
        find: 'const { entries } = this.#of(author);',
        replace: "const { entries } = this.#of('');",
      },
    ],
  },
  {
    name: 'session-cache-not-fenced',
    breaks: "an author's own value is served although the author has written since",
    edits: [
      { file: 'core/execution/own-values.js', find: 'entry?.position.includes(needed) && ', replace: 'entry !== undefined && ' },
      {
        file: 'core/session-cache.js',
        find: 'if (position === undefined || entry.position.includes(position))',
        replace: 'if (false)',
      },
    ],
  },
  {
    name: 'wait-without-deadline',
    breaks: 'a read that waits for replication waits for as long as it takes',
    edits: [{ file: 'core/waiting-room.js', find: 'budgetMs, { keepAlive: true }', replace: '1e9, { keepAlive: true }' }],
  },
]
