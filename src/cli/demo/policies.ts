/**
 * Three ways to answer reads on the same cluster, behind one interface, so that the photo application is the same under
 * each and only this file tells what it takes to change from one to the other.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type pg from 'pg'
import type { Tidemark } from '../../engines/postgres/index.js'
import { readYourWrites, sessionOf } from '../../http/node.js'
import type { PolicyName } from './scoreboard.js'

/** Where the application keeps its photos, for one request. */
export interface Store {
  write<R extends pg.QueryResultRow>(sql: string, values: readonly unknown[]): Promise<R[]>
  read<R extends pg.QueryResultRow>(sql: string, values: readonly unknown[]): Promise<Answer<R>>
}

export interface Answer<R> {
  readonly rows: R[]
  /** The node that served. */
  readonly node: string
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

/** Replication is asynchronous, and nobody keeps track of who wrote what. */
export function anyReplica(primary: NamedPool, replicas: readonly NamedPool[]): Policy {
  return plain('any replica', primary, () => replicas[Math.floor(Math.random() * replicas.length)]!)
}

export function onlyPrimary(primary: NamedPool): Policy {
  return plain('primary', primary, () => primary)
}

/** The middleware, and `db.pool` in place of a pool: that is all. */
export function tidemarkPolicy(db: Tidemark): Policy {
  const middleware = readYourWrites(db)
  return {
    name: 'tidemark',
    listener: handler =>
      middleware((req, res) =>
        handler(req, res, {
          write: async (sql, values) => (await db.pool.query(sql, [...values])).rows,
          read: async (sql, values) => {
            const { rows } = await db.pool.query(sql, [...values])
            return { rows, node: sessionOf(db, req).lastOutcome!.node }
          },
        }),
      ),
  }
}

function plain(name: PolicyName, primary: NamedPool, choose: () => NamedPool): Policy {
  const store: Store = {
    write: async (sql, values) => (await primary.pool.query(sql, [...values])).rows,
    read: async (sql, values) => {
      const { node, pool } = choose()
      return { rows: (await pool.query(sql, [...values])).rows, node }
    },
  }
  return { name, listener: handler => (req, res) => handler(req, res, store) }
}
