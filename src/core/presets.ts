/** Whole strategies by one word, each written with the public rungs and policies: copy one to change it. */
import { DEFAULT_LADDER, type Ladder, pinned, primary, replica, sessionCache, wait } from './ladder.js'
import { quorum } from './quorum.js'
import { appliedOn, type WritePolicy } from './write-policy.js'

export interface Preset {
  readonly ladder: Ladder
  readonly writePolicy?: WritePolicy
}

export type PresetName = 'leader-reads' | 'token-fence' | 'quorum' | 'write-through-cache' | 'fence-on-write' | 'two-level'

const near = replica({ region: 'own' })

export const PRESETS: Readonly<Record<PresetName, Preset>> = Object.freeze({
  /** After a write, the author reads from the primary until every replica has applied it. */
  'leader-reads': { ladder: [pinned(), near, replica(), primary()] },
  /** Reads wait for a replica rather than burden the primary. */
  'token-fence': { ladder: [near, wait({ region: 'own' }), replica(), wait({ budgetMs: 1_000 }), primary()] },
  /** Writes reach a majority before they are acknowledged, reads ask a majority. */
  quorum: { ladder: [quorum(), primary()], writePolicy: quorum() },
  /** The author's own values come from memory until a replica has them. */
  'write-through-cache': { ladder: [near, replica(), sessionCache(), wait(), primary()] },
  /** A write is acknowledged when every replica has applied it; a slow replica makes writes slow, up to the time-out. */
  'fence-on-write': { ladder: [near, replica(), primary()], writePolicy: appliedOn('all', { onTimeout: 'return' }) },
  /** The default: a replica that has the write, else a short wait for one, else the primary. */
  'two-level': { ladder: DEFAULT_LADDER },
})
