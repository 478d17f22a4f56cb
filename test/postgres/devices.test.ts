/** One user, several devices and processes: what one writes, the others see, by way of a shared token store. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgresTokenStore, type Tidemark, type TidemarkConfig } from '../../src/engines/postgres/index.js'
import { memoryTokenStore, type TokenStore } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase } from '../support/database.js'

let cluster: Cluster
const SAVE = 'INSERT INTO notes (author, n) VALUES ($1, $2)'
const LATEST = 'SELECT coalesce(max(n), 0)::int AS n FROM notes WHERE author = $1'

beforeAll(async () => {
  cluster = await startCluster({ replicas: 2 })
  await cluster.query('primary', 'CREATE TABLE notes (author text, n int)')
  await cluster.caughtUp()
  for (const name of cluster.replicas) await cluster.pause(name)
})
afterAll(() => cluster?.close())

async function withRouters(
  store: TidemarkConfig['store'],
  work: (here: Tidemark, there: Tidemark) => Promise<void>,
): Promise<void> {
  const options = store === undefined ? {} : { store }
  const routers = await Promise.all([openDatabase(cluster, options), openDatabase(cluster, options)])
  try {
    await work(routers[0], routers[1])
  } finally {
    await Promise.all(routers.map(router => router.close()))
  }
}

const latest = async (db: Tidemark, tokens: string | undefined, user: string) => {
  const session = db.session(tokens, { user })
  const { rows } = await session.query<{ n: number }>(LATEST, [user])
  return { n: rows[0]!.n, session }
}

const stores: Record<string, () => TidemarkConfig['store']> = {
  memory: () => memoryTokenStore(),
  'the primary itself': () => postgresTokenStore(),
}
for (const [name, create] of Object.entries(stores)) {
  describe(`with a store in ${name}`, () => {
    test('a second device sees what the first one wrote, without a token and with an older one of its own', async () => {
      await withRouters(create(), async (here, there) => {
        const user = `ann of ${name}`
        const first = there.session(undefined, { user })
        await first.query(SAVE, [user, 1])
        const older = first.token()
        await here.session(undefined, { user }).query(SAVE, [user, 2])
        expect((await latest(there, undefined, user)).n).toBe(2)
        const { n, session } = await latest(there, older, user)
        expect(n).toBe(2)
        // What it knows now, its own token says too.
        expect(session.changed).toBe(true)
      })
    })
  })
}

test('control: without a store, the second device that carries an older token misses the write', async () => {
  await withRouters(undefined, async (here, there) => {
    const user = 'without'
    for (const replica of cluster.replicas) await cluster.resume(replica)
    const first = there.session(undefined, { user })
    await first.query(SAVE, [user, 1])
    // A known user without a token is uncertain until the primary has answered once.
    await first.query(LATEST, [user])
    await cluster.caughtUp()
    for (const replica of cluster.replicas) await cluster.pause(replica)
    await here.session(undefined, { user }).query(SAVE, [user, 2])
    // The replicas have what its token asks for, and not the other device's write.
    await expect.poll(async () => (await latest(there, first.token(), user)).n, { timeout: 10_000 }).toBe(1)
  })
})

test('one look-up a request however many reads, none for strangers, and forks share it', async () => {
  const kept = memoryTokenStore()
  let lookUps = 0
  const store: TokenStore = {
    raise: (...args) => kept.raise(...args),
    get: user => {
      lookUps++
      return kept.get(user)
    },
  }
  await withRouters(store, async here => {
    const session = here.session(undefined, { user: 'counted' })
    await Promise.all([session, session.fork(), session.fork()].map(each => each.query(LATEST, ['counted'])))
    for (let i = 0; i < 5; i++) await session.query(LATEST, ['counted'])
    expect(lookUps).toBe(1)
    await here.session().query(LATEST, ['nobody'])
    expect(lookUps).toBe(1)
  })
})

describe('a store that is down', () => {
  const down: TokenStore = { raise: () => Promise.reject(new Error('down')), get: () => new Promise(() => {}) }
  test('sends the reads of a known user to the primary, lets writes go on, and hangs nothing', async () => {
    await withRouters(down, async here => {
      const session = here.session(undefined, { user: 'down' })
      await session.query(SAVE, ['down', 1])
      const { n, session: other } = await latest(here, session.token(), 'down')
      expect(n).toBe(1)
      expect(other.lastOutcome).toMatchObject({ node: 'primary', guarantee: 'read-your-writes' })
    })
  })
})
