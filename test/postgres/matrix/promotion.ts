/** A promotion that loses writes, while workloads run. */
import { setImmediate } from 'node:timers/promises'
import type { Tidemark } from '../../../src/engines/postgres/index.js'
import type { Cluster } from '../../../src/testing/index.js'
import { until } from '../../support/database.js'
import { hasPrimary } from './author.js'
import type { Routers, Workload } from './patterns.js'
import type { Tally } from './tally.js'

/** Replicas receive; they do not, so that what is acknowledged then will be lost; the primary dies, one is promoted; all know of it. */
const STAGES = ['healthy', 'deaf', 'failing', 'over'] as const
type Stage = (typeof STAGES)[number]
/** At least. */
const ROUNDS: Readonly<Record<Stage, number>> = { healthy: 1, deaf: 1, failing: 1, over: 2 }

/** Which stage it is, and who has come how far. */
export class Promotion {
  #stage: Stage = 'healthy'
  /** Rounds of all busy workloads. */
  #rounds = 0
  #workloads = 0
  readonly #finished: Record<Stage, number> = { healthy: 0, deaf: 0, failing: 0, over: 0 }

  async run(cluster: Cluster, databases: readonly Tidemark[]): Promise<void> {
    await this.#everyoneHas('healthy')
    // The one that is not promoted first: it must not have more than the new primary, or it could not follow it.
    await cluster.pauseReceiver('replica-2')
    await cluster.pauseReceiver('replica-1')
    this.#stage = 'deaf'
    await this.#everyoneHas('deaf')
    this.#stage = 'failing'
    // In the middle of it.
    const rounds = this.#rounds + this.#workloads
    await until(() => this.#rounds >= rounds, 'the busy are busy')
    await cluster.kill('primary')
    await cluster.promote('replica-1')
    await cluster.resumeReceiver('replica-2')
    await until(() => databases.every(isPromoted), 'every router knows the new primary', 30_000)
    this.#stage = 'over'
  }

  /** Writes and reads at every stage, and without a pause while the primary changes. */
  async busy(workload: Workload, routers: Routers, tally: Tally): Promise<void> {
    this.#workloads++
    for (const stage of STAGES) {
      await this.#begins(stage)
      for (let round = 0; round < ROUNDS[stage] || (stage === 'failing' && this.#stage === stage); round++) {
        await this.#round(workload, routers, tally)
      }
      this.#finished[stage]++
    }
  }

  /** Has a lost write acknowledged, and comes back when all is over: to read first. */
  async idle(workload: Workload, tally: Tally): Promise<void> {
    this.#workloads++
    await workload.write(tally)
    await workload.read(tally)
    this.#finished.healthy++
    await this.#begins('deaf')
    await workload.write(tally)
    this.#finished.deaf++
    await this.#begins('over')
    await workload.read(tally)
    await workload.write(tally)
    await workload.read(tally)
  }

  /** Has a lost write acknowledged, and only reads while the primary changes: where writes wait for their second, nobody else would. */
  async reading(workload: Workload, routers: Routers, tally: Tally): Promise<void> {
    this.#workloads++
    await workload.write(tally)
    await workload.read(tally)
    this.#finished.healthy++
    await this.#begins('deaf')
    await workload.write(tally)
    this.#finished.deaf++
    await this.#begins('failing')
    while (this.#stage === 'failing') {
      await this.#attempt(workload, routers, tally, () => workload.read(tally))
      // What the session cache serves takes no turn of the event loop, and nothing else would get one.
      await setImmediate()
    }
    await workload.read(tally)
  }

  async #round(workload: Workload, routers: Routers, tally: Tally): Promise<void> {
    await this.#attempt(workload, routers, tally, async () => {
      await workload.write(tally)
      await workload.read(tally)
    })
    this.#rounds++
  }

  /** After a failure nothing is gained by trying again before there is a primary. */
  async #attempt(workload: Workload, { here, there }: Routers, tally: Tally, work: () => Promise<void>): Promise<void> {
    const { unavailable } = tally
    await work()
    if (tally.unavailable === unavailable) return
    await until(() => hasPrimary(here) && hasPrimary(there), 'both routers know a primary', 30_000)
    // Before the next write: what was acknowledged has to be there, or to be reported.
    await workload.read(tally)
  }

  async #begins(stage: Stage): Promise<void> {
    await until(() => STAGES.indexOf(this.#stage) >= STAGES.indexOf(stage), `the stage "${stage}" begins`, 60_000)
  }

  async #everyoneHas(stage: Stage): Promise<void> {
    await until(() => this.#finished[stage] === this.#workloads, `every workload is through the stage "${stage}"`, 30_000)
  }
}

export function isPromoted(db: Tidemark): boolean {
  const isNew = db.status().some(({ node, role, timeline }) => node === 'replica-1' && role === 'primary' && timeline === 2)
  return isNew && hasPrimary(db)
}
