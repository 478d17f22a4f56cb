import knex, { type Knex } from 'knex'
import QueryStream from 'pg-query-stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectReadYourWrites, knowsTable, nodesServing, type Setup, setUp } from './setup.js'

// Knex, unchanged, on `db.pool`: it takes a pool as `connectionPool`, from 3.3 on.

let setup: Setup
let orm: Knex

beforeAll(async () => {
  setup = await setUp()
  orm = knex({ client: 'pg', connectionPool: setup.db.pool })
  await orm.schema.createTable('notes', table => {
    table.increments('id')
    table.text('title').notNullable().unique()
  })
  await knowsTable(setup.db, 'notes')
})

afterAll(async () => {
  // Leaves the pool alone: Knex does not own it.
  await orm?.destroy()
  await setup?.close()
})

test('works as usual', async () => {
  const [first] = await orm('notes').insert({ title: 'first' }).returning('*')
  expect(first).toEqual({ id: expect.any(Number), title: 'first' })
  expect(await orm('notes').where({ id: first.id })).toEqual([first])

  await orm.transaction(async transaction => {
    await transaction('notes').insert({ title: 'committed' })
    expect(await transaction('notes').where({ title: 'committed' })).toHaveLength(1)
    // A nested one is a savepoint.
    const undone = transaction.transaction(async nested => {
      await nested('notes').insert({ title: 'undone' })
      throw new Error('undo')
    })
    await expect(undone).rejects.toThrow('undo')
  })
  const oops = new Error('oops')
  const rolledBack = orm.transaction(async transaction => {
    await transaction('notes').insert({ title: 'rolled back' })
    throw oops
  })
  await expect(rolledBack).rejects.toBe(oops)
  expect(await orm('notes').orderBy('id').pluck('title')).toEqual(['first', 'committed'])

  const failed = orm('notes').insert({ title: 'first' })
  await expect(failed).rejects.toMatchObject({ code: '23505', constraint: 'notes_title_unique' })
})

// Not `.stream()`: with a pool that is not its own, Knex 3.3.0 gives a stream's client back twice, which crashes on a plain
// pg.Pool, too.
test('a read-only transaction, and a stream beside Knex: on a replica', async () => {
  await setup.cluster.caughtUp()
  await setup.db.session().run(async () => {
    const nodes = await nodesServing(async () => {
      await orm.transaction(transaction => transaction('notes').select(), { readOnly: true })
      const { sql, bindings } = orm('notes').whereNot({ title: 'nothing' }).orderBy('id').toSQL().toNative()
      const stream = new QueryStream(sql, [...bindings])
      setup.db.pool.query(stream)
      expect((await stream.toArray()).map(note => note.title)).toEqual(['first', 'committed'])
    })
    expect(nodes).toHaveLength(2)
    expect(nodes).not.toContain('primary')
  })
})

test('a query that is not awaited within session.run belongs to the session nevertheless', async () => {
  const session = setup.db.session()
  await session.run(() => orm('notes').insert({ title: 'lazy' }))
  expect(session.history.writes.isZero).toBe(false)
  expect(await session.run(() => orm('notes').where({ title: 'lazy' }))).toHaveLength(1)
  await expect(session.run(() => orm('notes').insert({ title: 'lazy' }))).rejects.toThrow()
})

test('read-your-writes', () =>
  expectReadYourWrites(setup, {
    on: pool => knex({ client: 'pg', connectionPool: pool }),
    write: async (on, title) => on('notes').insert({ title }),
    sees: async (on, title) => (await on('notes').where({ title })).length === 1,
  }))

test('read-your-writes of transactions', () =>
  expectReadYourWrites(setup, {
    on: pool => knex({ client: 'pg', connectionPool: pool }),
    write: (on, key) => on.transaction(async transaction => transaction('notes').insert({ title: `t: ${key}` })),
    sees: async (on, key) => (await on('notes').where({ title: `t: ${key}` })).length === 1,
  }))
