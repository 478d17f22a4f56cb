/**
 * The patterns on real clusters: pins, the session cache, write policies, scopes. What must not be missed is held against
 * a control that does miss it, or that does go elsewhere. Quorums are in `quorum.test.ts`.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pinned, primary, replica, sessionCache } from '../../src/core/ladder.js'
import { SESSION_CACHE } from '../../src/core/router.js'
import { appliedOn, COMMITTED, NotAppliedError } from '../../src/core/write-policy.js'
import type { PostgresSession, Tidemark, TidemarkConfig } from '../../src/engines/postgres/index.js'
import { systemClock } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase, portOf, until, withPort } from '../support/database.js'
import { tcpProxy } from '../support/tcp-proxy.js'

const LATEST = 'SELECT coalesce(max(n), 0)::int AS n FROM notes WHERE author = $1'
const SAVE = 'INSERT INTO notes (author, n) VALUES ($1, $2)'
const RETURNING = `${SAVE} RETURNING n`
const FENCED = [replica(), primary()]

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({ replicas: 2 })
  await cluster.query('primary', 'CREATE TABLE notes (author text, n int)')
  await cluster.query('primary', 'CREATE INDEX ON notes (author, n)')
  await cluster.caughtUp()
})
afterAll(() => cluster?.close())

/** With these replicas paused; all goes on afterwards. */
async function paused(replicas: readonly string[], work: () => Promise<void>): Promise<void> {
  try {
    for (const name of replicas) await cluster.pause(name)
    await work()
  } finally {
    for (const name of replicas) await cluster.resume(name)
    await cluster.caughtUp()
  }
}

async function using(config: Partial<TidemarkConfig>, work: (db: Tidemark) => Promise<void>): Promise<void> {
  const db = await openDatabase(cluster, config)
  try {
    await work(db)
  } finally {
    await db.close()
  }
}

let authors = 0
const newAuthor = () => `author ${authors++}`
const onNode = async (node: string, author: string) => (await cluster.query<{ n: number }>(node, LATEST, [author]))[0]!.n

/** What a read shows, and by which rung. */
async function read(session: PostgresSession, author: string, options?: Parameters<PostgresSession['query']>[2]) {
  const { rows } = await session.query<{ n: number }>(LATEST, [author], options)
  const { node, rung } = session.lastOutcome!
  return { n: rows[0]!.n, node, rung }
}

describe('pinned', () => {
  const ladder = [pinned({ maxShare: 1 }), ...FENCED]

  test('reads stay on the primary until both replicas have the write, also where only the token is', async () => {
    await using({ ladder }, here =>
      using({ ladder }, async there => {
        const author = newAuthor()
        const session = here.session()
        let elsewhere: PostgresSession | undefined
        await paused(['replica-2'], async () => {
          await session.query(SAVE, [author, 1])
          const token = session.token()
          for (const db of [here, there]) {
            // Control: without the pin it reads from the first replica that has it, so both routers know of one that does.
            await until(
              async () => (await read(db.session(token, { ladder: FENCED }), author)).node === 'replica-1',
              'a replica is known to have the write',
            )
          }
          elsewhere = there.session(token)
          for (const each of [session, elsewhere]) {
            for (let i = 0; i < 20; i++) expect(await read(each, author)).toEqual({ n: 1, node: 'primary', rung: 'pinned' })
          }
          expect(await onNode('replica-2', author)).toBe(0)
        })
        for (const each of [session, elsewhere!]) {
          await until(async () => (await read(each, author)).rung === 'replica', 'the pin ends')
          for (let i = 0; i < 20; i++) expect(await read(each, author)).toMatchObject({ n: 1, rung: 'replica' })
        }
      }),
    )
  })

  test('beyond its share of the reads the fence takes over, and nothing is missed', async () => {
    await using({ ladder: [pinned({ maxShare: 0.01 }), ...FENCED] }, async db => {
      const author = newAuthor()
      const session = db.session()
      await paused(['replica-2'], async () => {
        await session.query(SAVE, [author, 1])
        await until(async () => (await read(session, author)).rung === 'replica', 'the share is used up')
        const reads = []
        for (let i = 0; i < 100; i++) reads.push(await read(session, author))
        expect(reads.filter(({ n }) => n !== 1)).toEqual([])
        // Now and then one is due to the pin, and only then.
        expect(reads.filter(({ rung }) => rung === 'replica').length).toBeGreaterThan(90)
        expect(reads.every(({ rung, node }) => (rung === 'pinned' ? node === 'primary' : node === 'replica-1'))).toBe(true)
      })
    })
  })
})

describe('the session cache', () => {
  const BOTH = ['replica-1', 'replica-2']
  const config: Partial<TidemarkConfig> = { preset: 'write-through-cache' }
  const OWN = { cache: 'latest' }
  const own = (n: number) => ({ n, node: SESSION_CACHE, rung: 'sessionCache' })

  test("serves what the author's write returned while no replica has it, and nobody else", async () => {
    await using(config, async db => {
      const author = newAuthor()
      const [session, bob] = [db.session(), db.session(undefined, { user: 'bob' })]
      const ann = db.session(undefined, { user: 'ann' })
      await paused(BOTH, async () => {
        // Both are known to the primary: from here on there is nothing to settle.
        await Promise.all([bob, ann].map(each => each.query(LATEST, [author])))
        await bob.query(SAVE, ['bob', 1])
        await session.query(RETURNING, [author, 1], OWN)
        await ann.query(RETURNING, [author, 2], OWN)

        expect(await read(session, author, OWN)).toEqual(own(1))
        expect(await read(session.fork(), author, OWN)).toEqual(own(1))
        expect(await read(ann, author, OWN)).toEqual(own(2))
        expect(await read(db.session(ann.token(), { user: 'ann' }), author, OWN)).toEqual(own(2))
        // Another user, for whom Ann's value would be new enough; an anonymous session that brings the token.
        expect(await read(bob, author, OWN)).toEqual({ n: 2, node: 'primary', rung: 'primary' })
        expect(await read(db.session(session.token()), author, OWN)).toEqual({ n: 2, node: 'primary', rung: 'primary' })
        // Nobody's: any replica serves it, and misses the write.
        expect(await read(db.session(), author, OWN)).toMatchObject({ n: 0, rung: 'replica' })
        // Without the key the author goes where the fence says.
        expect(await read(session, author)).toEqual({ n: 2, node: 'primary', rung: 'primary' })
      })
    })
  })

  test.each<[string, Partial<TidemarkConfig>]>([
    ['of the preset', config],
    ['that looks into the cache first', { ladder: [sessionCache({ ttlMs: 3_600_000 }), ...FENCED] }],
  ])('is done with a value once a replica has it, on a ladder %s', async (_, on) => {
    await using(on, async db => {
      const author = newAuthor()
      const session = db.session()
      await paused(BOTH, async () => {
        await session.query(RETURNING, [author, 1], OWN)
        expect(await read(session, author, OWN)).toEqual(own(1))
        // Of somebody else: the author's own value does not show it, what a replica has later does.
        await cluster.query('primary', SAVE, [author, 7])
        expect(await read(session, author, OWN)).toEqual(own(1))
        await cluster.resume('replica-1')
        await cluster.caughtUp('replica-1')
        await until(async () => (await read(session, author, OWN)).rung !== 'sessionCache', 'the replica serves')
        expect(await read(session, author, OWN)).toEqual({ n: 7, node: 'replica-1', rung: 'replica' })
      })
    })
  })

  test('is done with a value once its time is up', async () => {
    let later = 0
    const clock = { ...systemClock, now: () => systemClock.now() + later }
    const ladder = [replica(), sessionCache({ ttlMs: 3_600_000 }), primary()]
    await using({ ladder, clock }, async db => {
      const author = newAuthor()
      const session = db.session()
      await paused(BOTH, async () => {
        await session.query(RETURNING, [author, 1], OWN)
        await cluster.query('primary', SAVE, [author, 7])
        expect(await read(session, author, OWN)).toEqual(own(1))
        later = 3_600_000
        expect(await read(session, author, OWN)).toMatchObject({ n: 7, rung: 'primary' })
        // Loaded anew, it is kept for as long again.
        expect(await read(session, author, OWN)).toEqual(own(7))
      })
    })
  })

  test('what is put, and what a transaction puts or returns, if it commits', async () => {
    await using(config, async db => {
      const ways: Record<string, (session: PostgresSession, author: string, fail: () => void) => Promise<unknown>> = {
        'a statement of the transaction': (session, author, fail) =>
          session.transaction(async tx => {
            await tx.query(RETURNING, [author, 5], OWN)
            fail()
          }),
        'put of the transaction': (session, author, fail) =>
          session.transaction(async tx => {
            await tx.query(SAVE, [author, 5])
            tx.put('latest', { n: 5 })
            fail()
          }),
        'put of the session meanwhile': (session, author, fail) =>
          session.transaction(async tx => {
            await tx.query(SAVE, [author, 5])
            session.put('latest', [{ n: 5 }])
            fail()
          }),
      }
      await paused(BOTH, async () => {
        for (const [way, work] of Object.entries(ways)) {
          const [committed, aborted] = [newAuthor(), newAuthor()]
          const session = db.session()
          // So that no replica has what the session needs, whatever becomes of the transaction.
          await session.query(SAVE, [aborted, 1])
          const failing = work(session, aborted, () => {
            throw new Error('no')
          })
          await expect(failing, way).rejects.toThrow('no')
          expect(await read(session, aborted, OWN), way).toEqual({ n: 1, node: 'primary', rung: 'primary' })
          await work(session, committed, () => {})
          expect(await read(session, committed, OWN), way).toEqual(own(5))
        }
        const author = newAuthor()
        const session = db.session()
        await session.query(SAVE, [author, 1])
        session.put('latest', { n: 1 })
        expect(await read(session, author, OWN)).toEqual(own(1))
      })
    })
  })

  test('a later write of everything makes a value useless, one of another scope does not', async () => {
    await using(config, async db => {
      const author = newAuthor()
      const session = db.session()
      const scoped = { ...OWN, scope: author }
      await paused(BOTH, async () => {
        await session.query(RETURNING, [author, 1], scoped)
        await session.query(SAVE, ['somebody', 1], { scope: 'other' })
        expect(await read(session, author, scoped)).toEqual(own(1))
        // A read that does not say what it reads may read what was written last.
        expect((await read(session, author, OWN)).rung).toBe('primary')
        await session.query(SAVE, [author, 2])
        expect(await read(session, author, scoped)).toEqual({ n: 2, node: 'primary', rung: 'primary' })
      })
    })
  })

  test('many who want the same value at once load it once, and each gets rows of its own', async () => {
    const proxy = await tcpProxy(portOf(cluster.url('primary')))
    let sent = ''
    proxy.onRequest = chunk => {
      sent += chunk.toString('latin1')
    }
    const nodes = cluster.nodes.map(name => {
      const url = cluster.url(name)
      return { name, url: name === 'primary' ? withPort(url, proxy.port) : url }
    })
    const author = newAuthor()
    try {
      await using({ ...config, nodes }, async db => {
        const session = db.session()
        const all = (text: string, options?: { cache: string }) =>
          Promise.all(Array.from({ length: 50 }, () => session.query<{ n: number }>(text, [author], options)))
        await paused(BOTH, async () => {
          await session.query(SAVE, [author, 1])
          const answers = await all(`${LATEST} -- of one load`, OWN)
          expect(sent.split('-- of one load')).toHaveLength(1 + 1)
          answers[0]!.rows[0]!.n = 666
          expect(answers.slice(1).map(({ rows }) => rows)).toEqual(Array.from({ length: 49 }, () => [{ n: 1 }]))
          expect(await read(session, author, OWN)).toEqual(own(1))
          // Control: without the key each is a load.
          await all(`${LATEST} -- of its own`)
          expect(sent.split('-- of its own')).toHaveLength(1 + 50)
        })
      })
    } finally {
      await proxy.close()
    }
  })

  test('a read with a deadline fails alone', async () => {
    await using(config, async db => {
      const author = newAuthor()
      const session = db.session()
      await paused(BOTH, async () => {
        await session.query(SAVE, [author, 1])
        const controller = new AbortController()
        const slow = `${LATEST} AND pg_sleep(0.2) IS NOT NULL`
        const aborted = session.query(slow, [author], { ...OWN, signal: controller.signal })
        const other = session.query(slow, [author], OWN)
        controller.abort(new Error('gone'))
        await expect(aborted).rejects.toThrow('gone')
        expect((await other).rows).toEqual([{ n: 1 }])
      })
    })
  })
})

describe('appliedOn', () => {
  const places: Record<string, (has: { r1: boolean; r2: boolean }) => boolean> = {
    any: ({ r1, r2 }) => r1 || r2,
    all: ({ r1, r2 }) => r1 && r2,
    'replica-1': ({ r1 }) => r1,
    us: ({ r2 }) => r2,
  }
  const regions: Record<string, string> = { primary: 'eu', 'replica-1': 'eu', 'replica-2': 'us' }
  const nodes = () => cluster.nodes.map(name => ({ name, url: cluster.url(name), region: regions[name]! }))

  async function whoHas(author: string) {
    const [r1, r2] = await Promise.all([onNode('replica-1', author), onNode('replica-2', author)])
    return { r1: r1 === 1, r2: r2 === 1 }
  }

  test.each(Object.keys(places))('%s: acknowledged when it is so', async where => {
    await using({ nodes: nodes(), writePolicy: appliedOn(where, { timeoutMs: 10_000 }) }, async db => {
      try {
        await Promise.all([cluster.lag('replica-1', 200), cluster.lag('replica-2', 400)])
        const missing: boolean[] = []
        for (let i = 0; i < 4; i++) {
          const [held, inTransaction, control] = [newAuthor(), newAuthor(), newAuthor()]
          const session = db.session()
          await session.query(SAVE, [held, 1])
          expect(places[where]!(await whoHas(held))).toBe(true)
          expect(session.lastWrite).toMatchObject({ policy: `appliedOn(${where})`, acknowledged: true })
          await session.transaction(tx => tx.query(SAVE, [inTransaction, 1]))
          expect(places[where]!(await whoHas(inTransaction))).toBe(true)
          await session.query(SAVE, [control, 1], { writePolicy: COMMITTED })
          missing.push(!places[where]!(await whoHas(control)))
        }
        // Control: what is only committed is not there yet.
        expect(missing).toContain(true)
      } finally {
        await Promise.all(cluster.replicas.map(name => cluster.lag(name, 0)))
        await cluster.caughtUp()
      }
    })
  })

  test('a time-out says that the write is committed, and so it is; any other replica is enough for any', async () => {
    await using({ writePolicy: appliedOn('replica-1', { timeoutMs: 100 }) }, async db => {
      await paused(['replica-1'], async () => {
        const session = db.session()
        for (const write of [
          (author: string) => session.query(SAVE, [author, 1]),
          (author: string) => session.transaction(tx => tx.query(SAVE, [author, 1])),
          (author: string) => session.pool.query(SAVE, [author, 1]),
          (author: string) => db.pool.query(SAVE, [author, 1]),
        ]) {
          const author = newAuthor()
          const error = await write(author).catch((reason: unknown) => reason)
          expect(error).toBeInstanceOf(NotAppliedError)
          expect(error).toMatchObject({ code: 'TIDEMARK_NOT_APPLIED', committed: true, policy: 'appliedOn(replica-1)' })
          expect((error as Error).message).toMatch(/^the write is committed, at .+Do not repeat it/)
          expect(await onNode('primary', author)).toBe(1)
        }
        expect(session.lastWrite).toMatchObject({ acknowledged: false, policy: 'appliedOn(replica-1)' })
        const author = newAuthor()
        await session.query(SAVE, [author, 1], { writePolicy: appliedOn('any', { timeoutMs: 10_000 }) })
        expect(session.lastWrite).toMatchObject({ acknowledged: true, policy: 'appliedOn(any)' })
        expect(await onNode('replica-2', author)).toBe(1)
      })
    })
  })

  test('or it returns, says so, and the next read still sees the write', async () => {
    await using(
      { preset: 'fence-on-write', writePolicy: appliedOn('all', { timeoutMs: 100, onTimeout: 'return' }) },
      async db => {
        await paused(['replica-1', 'replica-2'], async () => {
          const author = newAuthor()
          const session = db.session()
          await session.query(SAVE, [author, 1])
          expect(session.lastWrite).toMatchObject({ acknowledged: false, policy: 'appliedOn(all)' })
          expect(await read(session, author)).toEqual({ n: 1, node: 'primary', rung: 'primary' })
          expect((await db.eventual.query(LATEST, [author])).rows).toEqual([{ n: 0 }])
        })
      },
    )
  })

  test('a place that is not there is refused at the start', async () => {
    const error = await openDatabase(cluster, { writePolicy: appliedOn('replica-9') }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'TIDEMARK_CONFIGURATION' })
    expect((error as Error).message).toContain('names neither a node (primary, replica-1, replica-2) nor a region')
  })
})

describe('scopes', () => {
  const ladder = FENCED
  const ON_PRIMARY = { n: 1, node: 'primary', rung: 'primary' }

  test('a write of one scope holds back reads of that scope and of none, not of another; also where only the token is', async () => {
    await using({ ladder }, here =>
      using({ ladder }, async there => {
        await paused(['replica-1', 'replica-2'], async () => {
          const writes: Record<string, (session: PostgresSession, author: string) => Promise<unknown>> = {
            'one statement': (session, author) => session.query(SAVE, [author, 1], { scope: 'a' }),
            'a transaction': (session, author) => session.transaction(tx => tx.query(SAVE, [author, 1]), { scope: 'a' }),
            'statements of a transaction': (session, author) =>
              session.transaction(async tx => {
                await tx.query(SAVE, [author, 1], { scope: 'a' })
                await tx.query(SAVE, ['somebody', 1], { scope: ['c', 'd'] })
              }),
          }
          for (const [way, write] of Object.entries(writes)) {
            const author = newAuthor()
            const session = here.session()
            await write(session, author)
            for (const each of [session, there.session(session.token())]) {
              expect(await read(each, author, { scope: 'a' }), way).toEqual(ON_PRIMARY)
              expect(await read(each, author, { scope: ['b', 'a'] }), way).toEqual(ON_PRIMARY)
              expect(await read(each, author), way).toEqual(ON_PRIMARY)
              // A paused replica serves it: it is not held back. That it misses the write shows that the others were.
              expect(await read(each, author, { scope: 'b' }), way).toMatchObject({ n: 0, rung: 'replica' })
              expect(await read(each, author, { scope: 'c' }), way).toMatchObject({
                rung: way === 'statements of a transaction' ? 'primary' : 'replica',
              })
            }
          }
        })
      }),
    )
  })

  test('what is written without a scope holds back every scope, in a transaction of others too', async () => {
    await using({ ladder }, async db => {
      await paused(['replica-1', 'replica-2'], async () => {
        const author = newAuthor()
        const [one, mixed] = [db.session(), db.session()]
        await one.query(SAVE, [author, 1])
        expect(await read(one, author, { scope: 'b' })).toEqual(ON_PRIMARY)
        await mixed.transaction(async tx => {
          await tx.query(SAVE, [author, 1], { scope: 'a' })
          await tx.query(SAVE, [author, 1])
          await tx.query(SAVE, [author, 1], { scope: 'c' })
        })
        for (const scope of ['a', 'b', 'c']) expect(await read(mixed, author, { scope })).toEqual(ON_PRIMARY)
      })
    })
  })

  test('more of the reads of an author go to replicas with scopes than without, and none misses anything', async () => {
    await using({ ladder }, async db => {
      await paused(['replica-1', 'replica-2'], async () => {
        const share = async (scoped: boolean) => {
          const objects = Array.from({ length: 6 }, newAuthor)
          const session = db.session()
          let [reads, onReplicas] = [0, 0]
          for (const [i, object] of objects.entries()) {
            await session.query(SAVE, [object, 1], scoped ? { scope: object } : {})
            for (const [j, other] of objects.entries()) {
              const { n, rung } = await read(session, other, scoped ? { scope: other } : {})
              expect(n).toBe(j <= i ? 1 : 0)
              reads++
              if (rung === 'replica') onReplicas++
            }
          }
          return onReplicas / reads
        }
        const [without, withScopes] = [await share(false), await share(true)]
        console.log(`reads that went to any replica: ${without * 100} % without scopes, ${Math.round(withScopes * 100)} % with`)
        expect(without).toBe(0)
        // Of 36 reads, those of the objects that are not written yet.
        expect(withScopes).toBe(15 / 36)
      })
    })
  })
})
