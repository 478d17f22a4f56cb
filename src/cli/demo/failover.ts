/** Kills the primary and promotes a replica, as often as there is one, and says what happened. */

import { setTimeout as sleep } from 'node:timers/promises'
import { parseLsn } from '../../engines/postgres/lsn.js'
import type { Cluster } from '../../testing/index.js'

/** Whatever looks after a real cluster takes at least this long to notice that its primary is gone. */
const NOTICED_AFTER_MS = 1_000

/** A cluster that can make its old primary a standby again. */
interface Rejoining {
  rejoin(node: string): Promise<void>
}

function canRejoin(cluster: object): cluster is Rejoining {
  return 'rejoin' in cluster
}

export interface FailoverState {
  readonly promotions: number
  /** Why nothing can be promoted now; `null` when something can. */
  readonly blocked: string | null
  /** What happened at the last promotion, in a sentence; `null` before the first. */
  readonly story: string | null
}

export class Failover {
  readonly #cluster: Cluster
  /** Called when a node has come back as a standby, to make it lag like the others. */
  readonly #onStandby: (node: string) => Promise<void>
  #promotions = 0
  #step: 'none' | 'promoting' | 'rejoining' = 'none'
  #story: string | null = null
  #ended: Promise<void> = Promise.resolve()

  constructor(cluster: Cluster, onStandby: (node: string) => Promise<void>) {
    this.#cluster = cluster
    this.#onStandby = onStandby
  }

  get state(): FailoverState {
    return { promotions: this.#promotions, blocked: this.#blocked(), story: this.#story }
  }

  /** Settles when nothing is under way. Never rejects. */
  get ended(): Promise<void> {
    return this.#ended
  }

  get isUnderWay(): boolean {
    return this.#step !== 'none'
  }

  /** The replicas that run. */
  get standbys(): string[] {
    return this.#cluster.replicas.filter(node => this.#cluster.isRunning(node))
  }

  /**
   * Resolves when the new primary takes writes; the old one comes back after that, where the cluster can do it. Only while
   * `state.blocked` is `null`.
   */
  async promote(onError: (message: string, error: unknown) => void): Promise<void> {
    const old = this.#cluster.primary
    const promoting = this.#failOver(old)
    this.#ended = promoting.then(
      told => this.#bringBack(old, told, onError),
      () => {},
    )
    await promoting
  }

  #blocked(): string | null {
    if (this.#step === 'promoting') return 'A replica is being promoted.'
    if (this.#step === 'rejoining') return 'The old primary is on its way back as a standby.'
    if (this.standbys.length > 0) return null
    return 'No replica is left to promote, and the primary serves all reads. Restart the demo for a fresh cluster.'
  }

  /** The beginning of the story. */
  async #failOver(old: string): Promise<string> {
    this.#step = 'promoting'
    this.#story = `“${old}” was killed. There is no primary until that is noticed and a replica promoted.`
    const startedAt = performance.now()
    try {
      // It is down already when an earlier promotion failed half way.
      if (this.#cluster.isRunning(old)) await this.#cluster.kill(old)
      await sleep(NOTICED_AFTER_MS)
      const next = await this.#mostAdvanced()
      await this.#cluster.promote(next)
      this.#promotions++
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
      return `“${old}” was killed and “${next}” promoted: no primary for ${seconds} s.`
    } catch (error) {
      this.#step = 'none'
      this.#story = `“${old}” was killed, and promoting a replica failed: the demo’s terminal says why. Try again.`
      throw error
    }
  }

  async #bringBack(old: string, told: string, onError: (message: string, error: unknown) => void): Promise<void> {
    const cluster: object = this.#cluster
    try {
      if (!canRejoin(cluster)) {
        this.#story = `${told} “${old}” stays down, so there is one replica fewer.`
        return
      }
      this.#step = 'rejoining'
      this.#story = `${told} “${old}” is on its way back as a standby.`
      await cluster.rejoin(old)
      await this.#onStandby(old)
      this.#story = `${told} “${old}” is back as a standby.`
    } catch (error) {
      this.#story = `${told} “${old}” could not be brought back, so there is one replica fewer.`
      onError(`${old} could not be brought back`, error)
    } finally {
      this.#step = 'none'
    }
  }

  /** Promoting any other would lose what this one has, and leave it on a history that nobody goes on with. */
  async #mostAdvanced(): Promise<string> {
    const sql = 'select greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text as lsn'
    const received = await Promise.all(
      this.standbys.map(async node => {
        const [row] = await this.#cluster.query<{ lsn: string }>(node, sql)
        return { node, lsn: parseLsn(row!.lsn) }
      }),
    )
    return received.reduce((best, each) => (each.lsn > best.lsn ? each : best)).node
  }
}
