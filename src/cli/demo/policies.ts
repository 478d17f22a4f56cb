/**
 * Ways to answer reads on the same cluster, behind one interface, so that the photo application is the same under each.
 * The two here are those without Tidemark; `tidemark-policy.ts` tells what it takes to change to it.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type pg from 'pg'
import type { PolicyName } from './scoreboard.js'

/** Where the application keeps its photos, for one request. */
export interface Store {
  write<R extends pg.QueryResultRow>(sql: string, values: readonly unknown[]): Promise<R[]>
  /** `cache` names what is read, where it is the reader's own and may come from memory. */
  read<R extends pg.QueryResultRow>(sql: string, values: readonly unknown[], cache?: string): Promise<Answer<R>>
}

export interface Answer<R> {
  readonly rows: R[]
  /** The node that served. */
  readonly node: string
  /** It was reported, with this very answer, that a write of the reader may be lost. */
  readonly possiblyLost: boolean
}

export type StoreHandler = (req: IncomingMessage, res: ServerResponse, store: Store) => Promise<void>

export interface Policy {
  readonly name: PolicyName
  listener(handler: StoreHandler): RequestListener
}

export interface NamedPool {
  readonly node: string
  readonly pool: pg.Pool
}

/** Who is what at the moment. The primary may be down; the replicas are those that run. */
export interface Roles {
  readonly primary: NamedPool
  readonly replicas: readonly NamedPool[]
}

/** Replication is asynchronous, and nobody keeps track of who wrote what. */
export function anyReplica(roles: () => Roles): Policy {
  return plain('any replica', roles, ({ primary, replicas }) => replicas[Math.floor(Math.random() * replicas.length)] ?? primary)
}

export function onlyPrimary(roles: () => Roles): Policy {
  return plain('primary', roles, ({ primary }) => primary)
}

/** It is told of a promotion at once, which is as good as such an application can be. */
function plain(name: PolicyName, roles: () => Roles, choose: (roles: Roles) => NamedPool): Policy {
  const store: Store = {
    write: async (sql, values) => (await roles().primary.pool.query(sql, [...values])).rows,
    read: async (sql, values) => {
      const { node, pool } = choose(roles())
      return { rows: (await pool.query(sql, [...values])).rows, node, possiblyLost: false }
    },
  }
  return { name, listener: handler => (req, res) => handler(req, res, store) }
}
