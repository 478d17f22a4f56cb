/** What is judged. Names are stable. */
export const RULES = Object.freeze({
  'read-your-writes': 'A read shows every acknowledged write that its session completed before',
  'monotonic-reads': 'A read shows everything that an earlier read of its session has shown',
  'monotonic-writes': 'Whoever sees a write also sees the writes that its session completed before it',
  'writes-follow-reads': 'Whoever sees a write also sees what its session had read before it',
  'no-silent-downgrade': 'A read gives less than was asked only where the caller allowed it',
  'lost-writes-reported': 'A session that looks again is told of every acknowledged write that was lost',
  'no-value-from-nowhere': 'A read shows only values that were written',
  'no-value-of-another-key': 'A read shows no value that was written under another key',
  'failed-writes-invisible': 'What a failed write wrote is never seen',
  'no-read-from-the-future': 'A read shows no write that began after the read had ended',
  'own-cache-isolated': "An author's own cache shows only what that session wrote or read",
  'atomic-visibility': 'Of writes that take effect together, one snapshot shows all or none',
  'deadlines-kept': 'Every answer comes within its deadline',
  'bounds-kept': 'Nothing that has a bound goes beyond it',
})

export type RuleName = keyof typeof RULES

export const RULE_NAMES = Object.freeze(Object.keys(RULES)) as readonly RuleName[]
