import { DrizzleQueryError, eq } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { pgTable, serial, text } from 'drizzle-orm/pg-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectReadYourWrites, knowsTable, nodesServing, type Setup, setUp } from './setup.js'

// Drizzle, unchanged, on `db.pool`.

const notes = pgTable('notes', { id: serial().primaryKey(), title: text().notNull().unique() })
let setup: Setup

beforeAll(async () => {
  setup = await setUp()
  await drizzle(setup.db.pool).execute('create table notes (id serial primary key, title text not null unique)')
  await knowsTable(setup.db, 'notes')
})

afterAll(() => setup?.close())

test('works as usual', async () => {
  const orm = drizzle(setup.db.pool)
  const [first] = await orm.insert(notes).values({ title: 'first' }).returning()
  expect(first).toEqual({ id: expect.any(Number), title: 'first' })
  expect(await orm.select().from(notes).where(eq(notes.id, first!.id))).toEqual([first])

  await orm.transaction(async transaction => {
    await transaction.insert(notes).values({ title: 'committed' })
    expect(await transaction.select().from(notes).where(eq(notes.title, 'committed'))).toHaveLength(1)
    // A nested one is a savepoint.
    const undone = transaction.transaction(async nested => {
      await nested.insert(notes).values({ title: 'undone' })
      nested.rollback()
    })
    await expect(undone).rejects.toThrow('Rollback')
  })
  const oops = new Error('oops')
  const rolledBack = orm.transaction(async transaction => {
    await transaction.insert(notes).values({ title: 'rolled back' })
    throw oops
  })
  await expect(rolledBack).rejects.toBe(oops)
  const titles = await orm.select({ title: notes.title }).from(notes).orderBy(notes.id)
  expect(titles).toEqual([{ title: 'first' }, { title: 'committed' }])

  const failed = await orm
    .insert(notes)
    .values({ title: 'first' })
    .catch(error => error)
  expect(failed).toBeInstanceOf(DrizzleQueryError)
  expect(failed.cause).toMatchObject({ code: '23505', constraint: 'notes_title_key' })
})

test('a prepared statement, and a read-only transaction on a replica', async () => {
  const { db } = setup
  const orm = drizzle(db.pool)
  const prepared = orm.select().from(notes).where(eq(notes.title, 'first')).prepare('first_note')
  await setup.cluster.caughtUp()
  await db.session().run(async () => {
    for (let n = 0; n < 5; n++) expect(await prepared.execute()).toHaveLength(1)
    const nodes = await nodesServing(() =>
      orm.transaction(transaction => transaction.select().from(notes), { accessMode: 'read only' }),
    )
    expect(nodes[0]).toMatch(/^replica/)
  })
})

test('a query that is not awaited within session.run belongs to the session nevertheless', async () => {
  const orm = drizzle(setup.db.pool)
  const session = setup.db.session()
  await session.run(() => orm.insert(notes).values({ title: 'lazy' }))
  expect(session.history.writes.isZero).toBe(false)
  expect(await session.run(() => orm.select().from(notes).where(eq(notes.title, 'lazy')))).toHaveLength(1)
  await expect(session.run(() => orm.insert(notes).values({ title: 'lazy' }))).rejects.toThrow()
})

test('read-your-writes', () =>
  expectReadYourWrites(setup, {
    on: pool => drizzle(pool),
    write: (orm, title) => orm.insert(notes).values({ title }),
    sees: async (orm, title) => (await orm.select().from(notes).where(eq(notes.title, title))).length === 1,
  }))

test('read-your-writes of transactions', () =>
  expectReadYourWrites(setup, {
    on: pool => drizzle(pool),
    write: (orm, key) => orm.transaction(transaction => transaction.insert(notes).values({ title: `in a transaction: ${key}` })),
    sees: async (orm, key) =>
      (
        await orm
          .select()
          .from(notes)
          .where(eq(notes.title, `in a transaction: ${key}`))
      ).length === 1,
  }))
