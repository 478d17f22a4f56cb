// The floor: reads that *any* correct router must send to the primary or make wait, since at that moment no replica had applied the
// user's own last write. Where everybody is, is asked of the servers themselves, all the time, on connections of its own.
import pg from 'pg'

const EVERY_MS = 5

export class Positions {
  #clients = []
  #timer
  /** Of each server, [when asked, when answered, position]; the primary's first. */
  #samples = []
  #asking

  static async watch({ primary, replicas }) {
    const positions = new Positions()
    for (const [index, url] of [primary, ...replicas].entries()) {
      positions.#clients.push(await connect(url))
      positions.#samples[index] = []
    }
    positions.#again()
    return positions
  }

  #again() {
    this.#timer = setTimeout(() => {
      this.#asking = this.#ask().then(() => this.#again())
    }, EVERY_MS)
  }

  async #ask() {
    await Promise.all(
      this.#clients.map(async (client, index) => {
        const text = index === 0 ? 'pg_current_wal_insert_lsn()' : 'pg_last_wal_replay_lsn()'
        const asked = performance.now()
        try {
          const { rows } = await client.query({ name: 'compare_where', text: `SELECT (${text} - '0/0')::float8 AS at` })
          this.#samples[index].push([asked, performance.now(), rows[0].at])
        } catch (error) {
          // Replay ends what is in its way (40001). A moment without a sample makes the floor lower, never higher.
          if (error.code !== '40001') throw error
          await client.end().catch(() => {})
          this.#clients[index] = await connect(client.url)
        }
      }),
    )
  }

  /** Forgets what was; to be called before a slot. */
  reset() {
    for (const samples of this.#samples) samples.splice(0, Math.max(0, samples.length - 1))
  }

  /** How many of the own reads no replica could have served when they began. */
  mustNotBeReplicas(ownReads) {
    const [primary, ...replicas] = this.#samples
    const isBehind = ({ at, writtenAt }) => {
      // Asked before the write was acknowledged: not beyond what was written, so the floor is none too high.
      const written = lastBefore(primary, writtenAt)
      if (written === undefined) return false
      return replicas.every(samples => {
        const seen = firstAfter(samples, at)
        return seen !== undefined && seen < written
      })
    }
    return ownReads.filter(isBehind).length
  }

  async close() {
    clearTimeout(this.#timer)
    await this.#asking
    clearTimeout(this.#timer)
    await Promise.all(this.#clients.map(client => client.end()))
  }
}

async function connect(url) {
  const client = Object.assign(new pg.Client({ connectionString: url }), { url })
  client.on('error', () => {})
  await client.connect()
  return client
}

function lastBefore(samples, time) {
  return samples[indexAfter(samples, time) - 1]?.[2]
}

/** Asked after the read had begun: what a replica had then it has now. */
function firstAfter(samples, time) {
  return samples[indexAfter(samples, time)]?.[2]
}

function indexAfter(samples, time) {
  let low = 0
  let high = samples.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (samples[middle][0] <= time) low = middle + 1
    else high = middle
  }
  return low
}
