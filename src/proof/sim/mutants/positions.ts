/** Mutants of positions, fences, and the picture of the cluster. */
import type { Mutant } from './mutant.js'

export const POSITION_MUTANTS: readonly Mutant[] = [
  {
    name: 'position-kept-across-incarnations',
    breaks:
      'what a node had applied in an earlier life counts in this one, when the monitor hears of it and when a connection is had',
    edits: [
      {
        file: 'core/cluster.js',
        find: 'const sameLife = before.incarnation === seen.incarnation && node.role === seen.role;',
        replace: 'const sameLife = node.role === seen.role;',
      },
    ],
    focus: { world: { topology: 'physical' }, faults: ['rebuild'] },
  },
  {
    name: 'fence-not-judged-again',
    breaks: 'once a read has its connection, nobody looks whether the node still qualifies',
    edits: [
      {
        file: 'core/execution/still-serves.js',
        find: 'return opens(withoutLost(fence), node);',
        replace: 'return true;',
      },
    ],
    focus: { world: { topology: 'physical' }, faults: ['rebuild'] },
  },
  {
    name: 'positions-compared-across-timelines',
    breaks: 'offsets of different timelines are compared as numbers',
    edits: [
      {
        file: 'core/node.js',
        find: 'if (this.lineage === lineage)',
        replace: 'if (this.peer === undefined)',
      },
    ],
    focus: { world: { topology: 'physical' }, faults: ['split'] },
  },
  {
    name: 'every-older-position-preserved',
    breaks: 'a position beyond the point where its history was left counts as part of the present one',
    edits: [{ file: 'core/ancestry.js', find: 'if (offset <= ancestor.includedUpTo)', replace: 'if (true)' }],
  },
  {
    name: 'null-is-caught-up',
    breaks: 'a node that does not say where it is counts as caught up',
    edits: [
      {
        file: 'core/node.js',
        find: 'if (this.lineage === lineage)',
        replace: 'if (this.lineage === undefined && this.peer === undefined) return true;\n        if (this.lineage === lineage)',
      },
    ],
  },
  {
    name: 'unknown-timeline-guessed',
    breaks: 'a node that does not say in which history it is counts as being in the present one',
    edits: [
      {
        file: 'core/cluster.js',
        find: 'const lineage = seen.epoch === undefined ? undefined',
        replace: 'const lineage = seen.epoch === undefined ? this.lineage',
      },
    ],
    focus: { world: { topology: 'physical' }, nodes: 4, faults: ['failover'] },
  },
  {
    name: 'old-primary-taken',
    breaks: 'an old primary that came back is taken for the primary',
    edits: [{ file: 'core/cluster.js', find: 'if (seen.epoch < this.#epoch)', replace: 'if (false)' }],
    focus: { world: { topology: 'physical' }, faults: ['split'] },
  },
  {
    name: 'later-history-not-heard-of',
    breaks: 'a token of a later history does not make a router look for the new primary',
    edits: [
      {
        file: 'core/execution/judge.js',
        find: '!someLineage(history, each => isLater(each, lineage))',
        replace: 'true',
      },
    ],
    focus: { world: { topology: 'physical' }, faults: ['split'] },
  },
  {
    name: 'fence-ignored-on-retry',
    breaks: 'a read that was moved goes to any healthy replica',
    edits: [
      {
        file: 'core/router.js',
        find: 'cluster: this.cluster,\n            fence: request.fence,',
        replace:
          "cluster: Object.assign(this.cluster, { moved: excluded !== undefined }),\n            fence: excluded !== undefined ? { kind: 'none' } : request.fence,",
      },
      {
        file: 'core/execution/still-serves.js',
        find: 'return opens(withoutLost(fence), node);',
        replace: 'return cluster.moved || opens(withoutLost(fence), node);',
      },
    ],
  },
  {
    name: 'stale-without-being-asked',
    breaks: 'where no replica has caught up, one that has not serves, and says that it has',
    edits: [
      {
        file: 'core/ladder.js',
        find: 'if (!opens(fence, node))',
        replace: 'if (turn % 8 > 0 && !opens(fence, node))',
      },
      {
        file: 'core/execution/still-serves.js',
        find: 'return opens(withoutLost(fence), node);',
        replace: 'return opens(withoutLost(fence), node) || node.follows;',
      },
    ],
  },
  {
    name: 'degraded-without-being-asked',
    breaks: 'the default strategy ends in a stale read',
    edits: [
      {
        file: 'core/presets.js',
        find: "'two-level': { ladder: DEFAULT_LADDER }",
        replace:
          "'two-level': { ladder: [...DEFAULT_LADDER.slice(0, 3), { ...DEFAULT_LADDER[2], name: 'stale', fenced: false, step: ({ cluster }) => cluster.nodes.find(node => node.usable && node.role === 'replica') }, DEFAULT_LADDER[4]] }",
      },
    ],
  },
  {
    name: 'unpinned-after-one-replica',
    breaks: 'a pin ends when one replica has caught up, not every one',
    edits: [
      {
        file: 'core/ladder.js',
        find: '(near.length > 0 ? near : replicas).every(',
        replace: '(near.length > 0 ? near : replicas).some(',
      },
    ],
  },
  {
    name: 'quorum-over-changed-membership',
    breaks: 'quorums go on counting the nodes that there were in the beginning',
    edits: [
      {
        file: 'core/quorum.js',
        find: 'return having.length >= sizeOf(cluster.nodes.length);',
        replace: 'return having.length >= sizeOf((cluster.first ??= cluster.nodes.length));',
      },
      {
        file: 'core/quorum.js',
        find: 'const nodeCount = cluster.nodes.length;\n            const readSize',
        replace: 'const nodeCount = (cluster.first ??= cluster.nodes.length);\n            const readSize',
      },
    ],
    focus: { world: { quorums: true }, nodes: 3, faults: ['join'] },
  },
  {
    name: 'quorum-not-the-freshest',
    breaks: 'a quorum reads from the first that answers, not from the freshest',
    edits: [
      {
        file: 'core/execution/gather.js',
        find: 'const isFresher = best?.seen.applied === undefined || applied > best.seen.applied;',
        replace: 'const isFresher = best?.seen.applied === undefined;',
      },
    ],
    focus: { world: { quorums: true } },
  },
  {
    name: 'quorum-write-one-short',
    breaks: 'a write is acknowledged by a quorum that is one node short',
    edits: [
      {
        file: 'core/quorum.js',
        find: 'return having.length >= sizeOf(cluster.nodes.length);',
        replace: 'return having.length >= sizeOf(cluster.nodes.length) - 1;',
      },
    ],
    focus: { world: { quorums: true } },
  },
]
