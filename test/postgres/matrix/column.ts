/** One column of the matrix: all presets and patterns at once on one cluster whose replicas lag, before, during, after a promotion. */
import { PRESETS, type PresetName } from '../../../src/core/presets.js'
import type { Tidemark } from '../../../src/engines/postgres/index.js'
import { memoryTokenStore } from '../../../src/index.js'
import { type Cluster, startCluster } from '../../../src/testing/index.js'
import { openDatabase, until } from '../../support/database.js'
import { Author, SCHEMA } from './author.js'
import { PATTERNS, type PatternName, type Routers, type Workload } from './patterns.js'
import { isPromoted, Promotion } from './promotion.js'
import { Tally } from './tally.js'

export type Lag = 0 | 100 | 1_000 | 'paused'
export type Phase = 'before' | 'during' | 'after'
export const PHASES: readonly Phase[] = ['before', 'during', 'after']
export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[]
export const PATTERN_NAMES = Object.keys(PATTERNS) as PatternName[]

export interface Cell {
  readonly lag: Lag
  readonly preset: PresetName
  readonly pattern: PatternName
  readonly phase: Phase
  readonly tally: Tally
}

export interface Column {
  readonly cells: readonly Cell[]
  readonly controls: ReadonlyMap<Phase, Tally>
}

/** Fewer where a write waits for its second. */
const ROUNDS = new Map<Lag, number>([
  [0, 8],
  [100, 6],
  [1_000, 3],
  ['paused', 3],
])
/** At least this many, and on until one has missed a write, but not for ever. */
const CONTROL_READS = [20, 500] as const

interface Running extends Pick<Cell, 'preset' | 'pattern'> {
  readonly workload: Workload
  /** Another of the same, which does nothing while the primary changes. */
  readonly idle: Workload
  /** And one that only reads meanwhile. */
  readonly reading: Workload
  readonly routers: Routers
}

type Work = (running: Running, tally: Tally) => Promise<void>

export async function runColumn(lag: Lag): Promise<Column> {
  const cluster = await startCluster({ replicas: 2 })
  const databases: Tidemark[] = []
  try {
    await cluster.query('primary', SCHEMA)
    await cluster.caughtUp()
    const workloads = await openAll(cluster, databases)
    const cells: Cell[] = []
    const controls = new Map<Phase, Tally>()
    const start = async (phase: Phase, work: Work) => {
      const all = workloads.map(running => {
        const { preset, pattern } = running
        const tally = new Tally()
        cells.push({ lag, preset, pattern, phase, tally })
        return work(running, tally)
      })
      await Promise.all(all)
    }
    const { here } = workloads.find(({ preset }) => preset === 'two-level')!.routers
    const calm = async (phase: Phase) => {
      const control = new Tally()
      controls.set(phase, control)
      const rounds = start(phase, async ({ workload }, tally) => {
        for (let round = 0; round < ROUNDS.get(lag)!; round++) {
          await workload.write(tally)
          await workload.read(tally)
        }
      })
      await Promise.all([rounds, runControl(here, phase, control)])
    }
    await slowDown(cluster, cluster.replicas, lag)
    await calm('before')
    const promotion = new Promotion()
    const during = start('during', async ({ workload, idle, reading, routers }, tally) => {
      await Promise.all([
        promotion.busy(workload, routers, tally),
        promotion.idle(idle, tally),
        promotion.reading(reading, routers, tally),
      ])
    })
    await Promise.all([during, promotion.run(cluster, databases)])
    await cluster.rejoin('primary')
    await slowDown(cluster, ['primary'], lag)
    await until(() => databases.every(isWhole), 'every router uses every node', 30_000)
    await calm('after')
    return { cells, controls }
  } finally {
    await Promise.all(databases.map(db => db.close()))
    await cluster.close()
  }
}

/** Two routers for each preset, and every pattern on them. What the two devices need, the others do without. */
async function openAll(cluster: Cluster, databases: Tidemark[]): Promise<Running[]> {
  const open = async (preset: PresetName) => {
    const store = memoryTokenStore()
    const [here, there] = await Promise.all([0, 1].map(() => openDatabase(cluster, { preset, store, pool: { max: 4 } })))
    databases.push(here!, there!)
    const routers = { here: here!, there: there! }
    return PATTERN_NAMES.map(pattern => ({
      preset,
      pattern,
      routers,
      workload: PATTERNS[pattern](routers, `${preset}, ${pattern}`),
      idle: PATTERNS[pattern](routers, `${preset}, ${pattern}, idle`),
      reading: PATTERNS[pattern](routers, `${preset}, ${pattern}, reading`),
    }))
  }
  return (await Promise.all(PRESET_NAMES.map(open))).flat()
}

/**
 * `paused` is one replica: with both, no write would reach a quorum, and every one would wait for its second. It is not the one that
 * will be promoted. The former primary comes back as a replica that is not paused.
 */
async function slowDown(cluster: Cluster, replicas: readonly string[], lag: Lag): Promise<void> {
  if (lag !== 'paused') await Promise.all(replicas.map(node => cluster.lag(node, lag)))
  else if (replicas.includes('replica-2')) await cluster.pause('replica-2')
}

function isWhole(db: Tidemark): boolean {
  return isPromoted(db) && db.status().every(({ usable }) => usable)
}

async function runControl(db: Tidemark, phase: Phase, tally: Tally): Promise<void> {
  const author = new Author(`control ${phase}`)
  const session = db.session()
  const written = new Tally()
  const [least, most] = CONTROL_READS
  while (tally.reads < least || (tally.violations === 0 && tally.reads < most)) {
    await author.write(session, written)
    await author.readUnfenced(db, tally)
  }
}
