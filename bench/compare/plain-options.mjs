// What applications do with two pools and a rule of their own.
import pg from 'pg'
import { poolConfig, READ, WRITE } from './statements.mjs'

/** Pools of a primary and its replicas, and one read on one of them. */
export class Pools {
  constructor({ primary, replicas }) {
    const pool = url => new pg.Pool(poolConfig(url)).on('error', () => {})
    this.primary = pool(primary)
    this.replicas = replicas.map(pool)
  }
  get anyReplica() {
    return this.replicas[Math.floor(Math.random() * this.replicas.length)]
  }
  async read(pool, id) {
    return (await pool.query({ ...READ, values: [id] })).rows[0]
  }
  async write(id, version) {
    await this.primary.query({ ...WRITE, values: [id, version] })
  }
  async close() {
    await Promise.all([this.primary, ...this.replicas].map(pool => pool.end()))
  }
}

export const alwaysThePrimary = {
  name: 'always the primary',
  why: 'the reference: never stale, and replicas are for nothing but failover',
  open(urls) {
    const pools = new Pools(urls)
    return {
      read: ({ id }) => pools.read(pools.primary, id),
      write: ({ id, version }) => pools.write(id, version),
      close: () => pools.close(),
    }
  },
}

export const randomReplica = {
  name: 'random replica',
  why: 'two pools of pg and a die: what the replica support of most libraries comes to; the least that reading from replicas can cost',
  open(urls) {
    const pools = new Pools(urls)
    return {
      read: ({ id }) => pools.read(pools.anyReplica, id),
      write: ({ id, version }) => pools.write(id, version),
      close: () => pools.close(),
    }
  },
}

const PIN_MS = 2_000

/** Rails' `database_selector` and Laravel's `sticky` with a session: the time of the last write travels in the client's cookie. */
export const sessionPin = {
  name: 'session pinned 2 s',
  why: 'the default of Rails (delay: 2.seconds): after a write, this client reads from the primary for two seconds',
  open(urls) {
    const pools = new Pools(urls)
    return {
      read: ({ id, cookies }) => {
        const pinned = Date.now() - Number(cookies().last_write ?? 0) < PIN_MS
        return pools.read(pinned ? pools.primary : pools.anyReplica, id)
      },
      async write({ id, version, setCookie }) {
        await pools.write(id, version)
        setCookie('last_write', String(Date.now()))
      },
      close: () => pools.close(),
    }
  },
}

/** Payload's `readReplicasAfterWriteInterval`. */
export const processPin = {
  name: 'process pinned 2 s',
  why: 'the default of Payload (readReplicasAfterWriteInterval: 2000): after any write, all reads of the process go to the primary for two seconds',
  open(urls) {
    const pools = new Pools(urls)
    let until = 0
    return {
      read: ({ id }) => pools.read(Date.now() < until ? pools.primary : pools.anyReplica, id),
      async write({ id, version }) {
        await pools.write(id, version)
        until = Date.now() + PIN_MS
      },
      close: () => pools.close(),
    }
  },
}

const FIXED_WAIT_MS = 100

export const fixedWait = {
  name: `fixed wait ${FIXED_WAIT_MS} ms`,
  why: `"replication takes a moment, so sleep": before a read of one's own within two seconds of a write ${FIXED_WAIT_MS} ms are waited; before every read it would be slower still`,
  open(urls) {
    const pools = new Pools(urls)
    return {
      async read({ id, cookies }) {
        if (Date.now() - Number(cookies().last_write ?? 0) < PIN_MS)
          await new Promise(resolve => setTimeout(resolve, FIXED_WAIT_MS))
        return pools.read(pools.anyReplica, id)
      },
      async write({ id, version, setCookie }) {
        await pools.write(id, version)
        setCookie('last_write', String(Date.now()))
      },
      close: () => pools.close(),
    }
  },
}

const STICKY_TTL_MS = 30_000

/**
 * GitLab's database load balancing: the position after a user's write is kept in a shared store for 30 seconds; while it is there,
 * each request asks the hosts whether one has replayed it. In the store's place stands a map in this process, which is faster
 * than any: the comparison is of the method, not of Redis.
 */
export const storedLsn = {
  name: 'LSN in a shared store',
  why: "GitLab's: a user's LSN is looked up per request and compared on the hosts; its store here is a map in memory, in its favour",
  open(urls) {
    const pools = new Pools(urls)
    const store = new Map()
    const caughtUp = { name: 'compare_caught_up', text: 'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS yes' }
    const position = { name: 'compare_position', text: 'SELECT pg_current_wal_insert_lsn() AS lsn' }
    return {
      async read({ id, user }) {
        const sticky = store.get(user)
        if (sticky === undefined || sticky.until < Date.now()) return pools.read(pools.anyReplica, id)
        const start = Math.floor(Math.random() * pools.replicas.length)
        for (let i = 0; i < pools.replicas.length; i++) {
          const replica = pools.replicas[(start + i) % pools.replicas.length]
          const { rows } = await replica.query({ ...caughtUp, values: [sticky.lsn] })
          if (rows[0].yes) return pools.read(replica, id)
        }
        return pools.read(pools.primary, id)
      },
      async write({ id, version, user }) {
        await pools.write(id, version)
        const { rows } = await pools.primary.query(position)
        store.set(user, { lsn: rows[0].lsn, until: Date.now() + STICKY_TTL_MS })
      },
      close: () => pools.close(),
    }
  },
}
