import 'reflect-metadata'
import pg from 'pg'
import { DataSource, EntitySchema, QueryFailedError } from 'typeorm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectReadYourWrites, knowsTable, nodesServing, type Setup, setUp } from './setup.js'

// TypeORM, unchanged, on `db.pool`: it makes its pool with the `Pool` of the driver that it is given.

interface Note {
  id: number
  title: string
}

const NoteSchema = new EntitySchema<Note>({
  name: 'notes',
  columns: { id: { type: 'int', primary: true, generated: true }, title: { type: 'text', unique: true } },
})

let setup: Setup
let orm: DataSource

function dataSource(pool: pg.Pool, options: { synchronize?: boolean } = {}): DataSource {
  function Pool() {
    return pool
  }
  return new DataSource({ type: 'postgres', driver: { ...pg, Pool }, entities: [NoteSchema], ...options })
}

beforeAll(async () => {
  setup = await setUp()
  orm = await dataSource(setup.db.pool, { synchronize: true }).initialize()
  await knowsTable(setup.db, 'notes')
})

afterAll(() => setup?.close())

test('works as usual', async () => {
  const repository = orm.getRepository(NoteSchema)
  const first = await repository.save({ title: 'first' })
  expect(first).toEqual({ id: expect.any(Number), title: 'first' })
  expect(await repository.findBy({ id: first.id })).toEqual([first])

  await orm.transaction(async manager => {
    await manager.insert(NoteSchema, { title: 'committed' })
    expect(await manager.countBy(NoteSchema, { title: 'committed' })).toBe(1)
    // A nested one is a savepoint.
    const undone = manager.transaction(async nested => {
      await nested.insert(NoteSchema, { title: 'undone' })
      throw new Error('undo')
    })
    await expect(undone).rejects.toThrow('undo')
  })
  const oops = new Error('oops')
  const rolledBack = orm.transaction(async manager => {
    await manager.insert(NoteSchema, { title: 'rolled back' })
    throw oops
  })
  await expect(rolledBack).rejects.toBe(oops)
  const titles = (await repository.find({ order: { id: 'asc' } })).map(note => note.title)
  expect(titles).toEqual(['first', 'committed'])

  const failed = await repository.insert({ title: 'first' }).catch(error => error)
  expect(failed).toBeInstanceOf(QueryFailedError)
  expect(failed.driverError).toMatchObject({ code: '23505' })
})

test('a query runner keeps to one client; a stream runs on a replica', async () => {
  await setup.cluster.caughtUp()
  await setup.db.session().run(async () => {
    const runner = orm.createQueryRunner()
    await runner.startTransaction('REPEATABLE READ')
    await runner.manager.insert(NoteSchema, { title: 'by hand' })
    await runner.rollbackTransaction()
    const nodes = await nodesServing(async () => {
      const stream = await runner.stream('select title from notes order by id')
      expect(await stream.toArray()).toEqual([{ title: 'first' }, { title: 'committed' }])
    })
    expect(nodes).toHaveLength(1)
    expect(nodes[0]).toMatch(/^replica/)
    await runner.release()
  })
})

test('read-your-writes', async () => {
  const sources = new Map<pg.Pool, DataSource>()
  for (const pool of Object.values(setup.plain)) sources.set(pool, await dataSource(pool).initialize())
  await expectReadYourWrites(setup, {
    on: pool => sources.get(pool) ?? orm,
    write: (on, title) => on.getRepository(NoteSchema).save({ title }),
    sees: (on, title) => on.getRepository(NoteSchema).existsBy({ title }),
  })
  await expectReadYourWrites(setup, {
    on: pool => sources.get(pool) ?? orm,
    write: (on, key) => on.transaction(manager => manager.insert(NoteSchema, { title: `t: ${key}` })),
    sees: (on, key) => on.getRepository(NoteSchema).existsBy({ title: `t: ${key}` }),
  })
})
