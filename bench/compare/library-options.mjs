// The real packages, each configured as its documentation says for a primary and replicas, with pools of the same size.
import { eq, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { integer, pgTable, withReplicas } from 'drizzle-orm/pg-core'
import { Kysely, sql as kyselySql, PostgresDialect } from 'kysely'
import { KyselyReplicationDialect } from 'kysely-replication'
import { RandomReplicaStrategy } from 'kysely-replication/strategy/random'
import pg from 'pg'
import { POOL_SIZE, poolConfig, READ_TEXT, WRITE_TEXT } from './statements.mjs'

export const drizzleReplicas = {
  name: 'Drizzle withReplicas',
  why: 'withReplicas(primary, replicas): a random replica serves every select; prepared, as Drizzle recommends, would pin the replica, so not',
  open({ primary, replicas }) {
    const photos = pgTable('photos', { id: integer().primaryKey(), version: integer().notNull() })
    const pools = [primary, ...replicas].map(url => new pg.Pool(poolConfig(url)).on('error', () => {}))
    const [main, ...others] = pools.map(pool => drizzle(pool))
    const db = withReplicas(main, others)
    const columns = { version: photos.version, port: sql`inet_server_port()` }
    return {
      read: async ({ id }) => (await db.select(columns).from(photos).where(eq(photos.id, id)))[0],
      write: ({ id, version }) => db.update(photos).set({ version }).where(eq(photos.id, id)),
      close: () => Promise.all(pools.map(pool => pool.end())),
    }
  },
}

export const kyselyReplicas = {
  name: 'kysely-replication',
  why: 'RandomReplicaStrategy; selects go to replicas, all else to the primary',
  open({ primary, replicas }) {
    const dialect = url => new PostgresDialect({ pool: new pg.Pool(poolConfig(url)).on('error', () => {}) })
    const db = new Kysely({
      dialect: new KyselyReplicationDialect({
        primaryDialect: dialect(primary),
        replicaDialects: replicas.map(dialect),
        replicaStrategy: new RandomReplicaStrategy(),
      }),
    })
    const port = kyselySql`inet_server_port()`.as('port')
    return {
      read: ({ id }) => db.selectFrom('photos').select(['version', port]).where('id', '=', id).executeTakeFirst(),
      write: ({ id, version }) => db.updateTable('photos').set({ version }).where('id', '=', id).execute(),
      close: () => db.destroy(),
    }
  },
}

export const typeormReplicas = {
  name: 'TypeORM replication',
  why: 'replication: { master, slaves }, as its documentation has it; statements as text, which spares TypeORM its entities',
  async open({ primary, replicas }) {
    await import('reflect-metadata')
    const { DataSource } = await import('typeorm')
    const source = new DataSource({
      type: 'postgres',
      replication: { master: { url: primary }, slaves: replicas.map(url => ({ url })) },
      poolSize: POOL_SIZE,
      entities: [],
    })
    await source.initialize()
    const run = async (mode, text, values) => {
      const runner = source.createQueryRunner(mode)
      try {
        return await runner.query(text, values)
      } finally {
        await runner.release()
      }
    }
    return {
      read: async ({ id }) => (await run('slave', READ_TEXT, [id]))[0],
      write: ({ id, version }) => run('master', WRITE_TEXT, [id, version]),
      close: () => source.destroy(),
    }
  },
}
