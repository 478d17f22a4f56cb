import { type Generated, Kysely, PostgresDialect, sql } from 'kysely'
import Cursor from 'pg-cursor'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectReadYourWrites, knowsTable, nodesServing, type Setup, setUp } from './setup.js'

// Kysely, unchanged, on `db.pool`.

interface Database {
  notes: { id: Generated<number>; title: string }
}

let setup: Setup
let orm: Kysely<Database>

beforeAll(async () => {
  setup = await setUp()
  orm = new Kysely({ dialect: new PostgresDialect({ pool: setup.db.pool, cursor: Cursor as never }) })
  await orm.schema
    .createTable('notes')
    .addColumn('id', 'serial', column => column.primaryKey())
    .addColumn('title', 'text', column => column.notNull().unique())
    .execute()
  await knowsTable(setup.db, 'notes')
})

afterAll(() => setup?.close())

test('works as usual', async () => {
  const first = await orm.insertInto('notes').values({ title: 'first' }).returningAll().executeTakeFirstOrThrow()
  expect(first).toEqual({ id: expect.any(Number), title: 'first' })
  expect(await orm.selectFrom('notes').selectAll().where('id', '=', first.id).execute()).toEqual([first])

  await orm.transaction().execute(async transaction => {
    await transaction.insertInto('notes').values({ title: 'committed' }).execute()
    const { rows } = await sql`select from notes where title = 'committed'`.execute(transaction)
    expect(rows).toHaveLength(1)
  })
  const oops = new Error('oops')
  const rolledBack = orm.transaction().execute(async transaction => {
    await transaction.insertInto('notes').values({ title: 'rolled back' }).execute()
    throw oops
  })
  await expect(rolledBack).rejects.toBe(oops)
  const titles = await orm.selectFrom('notes').select('title').orderBy('id').execute()
  expect(titles).toEqual([{ title: 'first' }, { title: 'committed' }])

  const failed = orm.insertInto('notes').values({ title: 'first' }).execute()
  await expect(failed).rejects.toMatchObject({ code: '23505', constraint: 'notes_title_key' })
})

test('a controlled transaction with a savepoint', async () => {
  const transaction = await orm.startTransaction().execute()
  await transaction.insertInto('notes').values({ title: 'kept' }).execute()
  const nested = await transaction.savepoint('here').execute()
  await nested.insertInto('notes').values({ title: 'undone' }).execute()
  const outer = await nested.rollbackToSavepoint('here').execute()
  await outer.commit().execute()
  const titles = await orm.selectFrom('notes').select('title').where('title', 'in', ['kept', 'undone']).execute()
  expect(titles).toEqual([{ title: 'kept' }])
})

test('a read-only transaction, a stream: on a replica', async () => {
  await setup.cluster.caughtUp()
  await setup.db.session().run(async () => {
    const nodes = await nodesServing(async () => {
      await orm
        .transaction()
        .setAccessMode('read only')
        .execute(transaction => transaction.selectFrom('notes').selectAll().execute())
      const titles: string[] = []
      for await (const { title } of orm.selectFrom('notes').select('title').orderBy('id').stream(1)) titles.push(title)
      expect(titles).toEqual(['first', 'committed', 'kept'])
      for await (const _ of orm.selectFrom('notes').select('title').stream(1)) break
    })
    expect(nodes).toHaveLength(3)
    expect(nodes).not.toContain('primary')
  })
})

test('read-your-writes', () =>
  expectReadYourWrites(setup, {
    on: pool => new Kysely<Database>({ dialect: new PostgresDialect({ pool }) }),
    write: (on, title) => on.insertInto('notes').values({ title }).execute(),
    sees: async (on, title) => (await on.selectFrom('notes').selectAll().where('title', '=', title).execute()).length === 1,
  }))

test('read-your-writes of transactions', () =>
  expectReadYourWrites(setup, {
    on: pool => new Kysely<Database>({ dialect: new PostgresDialect({ pool }) }),
    write: (on, key) =>
      on.transaction().execute(transaction =>
        transaction
          .insertInto('notes')
          .values({ title: `t: ${key}` })
          .execute(),
      ),
    sees: async (on, key) => (await on.selectFrom('notes').selectAll().where('title', '=', `t: ${key}`).execute()).length === 1,
  }))
