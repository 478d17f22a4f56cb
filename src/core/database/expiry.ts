/** What every replica has applied, a token store need not keep for ever (rule 6). */
import type { Clock, Timer } from '../clock.js'
import type { Cluster } from '../cluster.js'
import { Position } from '../position.js'
import type { StoredPositions } from '../stored-positions.js'

const INTERVAL_MS = 60_000

export class Expiry {
  readonly #stored: StoredPositions
  readonly #cluster: Cluster
  readonly #clock: Clock
  #timer: Timer | undefined
  #stopped = false

  constructor(stored: StoredPositions, cluster: Cluster, clock: Clock) {
    this.#stored = stored
    this.#cluster = cluster
    this.#clock = clock
  }

  start(): void {
    this.#timer = this.#clock.setTimer(() => {
      const applied = appliedByAll(this.#cluster)
      void (applied === undefined ? Promise.resolve() : this.#stored.expire(applied)).then(() => {
        if (!this.#stopped) this.start()
      })
    }, INTERVAL_MS)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }
}

/** Unknown is not applied, so one replica that cannot be asked keeps everything. */
export function appliedByAll({ nodes, primary, lineage, logs }: Cluster): Position | undefined {
  if (logs !== undefined) return logs.appliedByAll()
  if (lineage === undefined) return undefined
  let least: bigint | undefined
  for (const node of nodes) {
    if (node === primary) continue
    if (!node.usable || node.lineage !== lineage || node.applied === undefined) return undefined
    if (least === undefined || node.applied < least) least = node.applied
  }
  return least === undefined ? undefined : Position.at(lineage, least)
}
