/** Quorums on real clusters: Tidemark's own, and those that drive PostgreSQL's (`remoteApply`). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { primary, replica } from '../../src/core/ladder.js'
import { quorum } from '../../src/core/quorum.js'
import { COMMITTED, NotAppliedError } from '../../src/core/write-policy.js'
import type { PostgresSession, Tidemark, TidemarkConfig } from '../../src/engines/postgres/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase } from '../support/database.js'

const COUNT = 'SELECT count(*)::int AS n FROM notes WHERE author = $1'
const SAVE = 'INSERT INTO notes (author) VALUES ($1)'
const BOTH = ['replica-1', 'replica-2']

let cluster: Cluster
let authors = 0
const newAuthor = () => `author ${authors++}`
const onNode = async (node: string, author: string) => (await cluster.query<{ n: number }>(node, COUNT, [author]))[0]!.n

function aCluster(settings: Record<string, string>): void {
  beforeAll(async () => {
    cluster = await startCluster({ replicas: 2, settings })
    await cluster.query('primary', 'CREATE TABLE notes (author text)')
    await cluster.caughtUp()
  })
  afterAll(() => cluster?.close())
}

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

async function count(session: PostgresSession, author: string) {
  const { rows } = await session.query<{ n: number }>(COUNT, [author])
  return { n: rows[0]!.n, rung: session.lastOutcome!.rung }
}

describe('quorums of the router', () => {
  aCluster({})

  test('a write that no majority has is not acknowledged; it is committed, and its author sees it', async () => {
    await using({ preset: 'quorum', writePolicy: quorum('majority', { timeoutMs: 100 }) }, async db => {
      await paused(BOTH, async () => {
        const author = newAuthor()
        const session = db.session()
        const error = await session.query(SAVE, [author]).catch((reason: unknown) => reason)
        expect(error).toBeInstanceOf(NotAppliedError)
        expect(error).toMatchObject({ committed: true, policy: 'quorum(majority)' })
        expect(session.lastWrite).toMatchObject({ acknowledged: false, policy: 'quorum(majority)' })
        expect(await onNode('primary', author)).toBe(1)
        // Both replicas answer first, and have not got it: the primary does.
        for (let i = 0; i < 10; i++) expect((await count(session, author)).n).toBe(1)
        expect(session.lastOutcome).toMatchObject({ node: 'primary', guarantee: 'read-your-writes' })
      })
    })
  })

  test.each(BOTH)('with %s paused: acknowledged, and seen by a stranger without a token', async slow => {
    for (const [name, size] of [
      ['quorum(majority)', 'majority'],
      ['quorum(2)', 2],
    ] as const) {
      const config = { ladder: [quorum(size)], writePolicy: quorum(size, { timeoutMs: 10_000 }) }
      const nodes = ['primary', slow].map(node => ({ name: node, url: cluster.url(node) }))
      await using(config, here =>
        using(config, there =>
          using({ nodes, ladder: [replica()] }, async unlucky => {
            await paused([slow], async () => {
              for (let i = 0; i < 5; i++) {
                const author = newAuthor()
                const session = here.session()
                await session.query(SAVE, [author])
                expect(session.lastWrite).toMatchObject({ acknowledged: true, policy: name })
                for (let j = 0; j < 6; j++) expect(await count(there.session(), author)).toEqual({ n: 1, rung: name })
                // Control: a stranger who reads from that replica misses it.
                expect(await count(unlucky.session(), author)).toEqual({ n: 0, rung: 'replica' })
              }
            })
          }),
        ),
      )
    }
  })

  test('a quorum that cannot be had passes to the next rung', async () => {
    const config = { ladder: [quorum(3, { timeoutMs: 2_000 }), primary()] }
    await using(config, async db => {
      const author = newAuthor()
      expect(await count(db.session(), author)).toEqual({ n: 0, rung: 'quorum(3)' })
      await cluster.stop('replica-1')
      try {
        expect(await count(db.session(), author)).toEqual({ n: 0, rung: 'primary' })
      } finally {
        await cluster.start('replica-1')
      }
    })
  })

  test('w + r ≤ n is refused at the start, with the numbers; said to be meant, its reads are eventual', async () => {
    const error = await openDatabase(cluster, { ladder: [quorum(2)] }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'TIDEMARK_CONFIGURATION' })
    expect((error as Error).message).toContain('acknowledged by 1 and reads ask 2 of 3 nodes, and 1 + 2 is not more than 3')
    // A ladder of one session comes later, and is refused all the same.
    await using({}, async db => {
      const own = db.session(undefined, { ladder: [quorum(2)] })
      await expect(own.query(COUNT, ['x'])).rejects.toThrow('1 + 2 is not more than 3')
    })
    await using({ ladder: [quorum(2, { allowPartial: true })] }, async db => {
      const author = newAuthor()
      const session = db.session()
      await paused(BOTH, async () => {
        await session.query(SAVE, [author])
        const read = await count(session, author)
        // It misses the write, and says that it may.
        expect(read).toEqual({ n: 0, rung: 'quorum(2)' })
        expect(session.lastOutcome).toMatchObject({ guarantee: 'eventual' })
      })
    })
  })

  test('remoteApply on a server that waits for nobody is warned of', async () => {
    const warnings: string[] = []
    const config = { writePolicy: quorum(2, { remoteApply: true }), onWarning: (message: string) => warnings.push(message) }
    await using(config, async () => {
      expect(warnings).toEqual([
        expect.stringContaining("waits for 2 nodes, and the primary's synchronous_standby_names = '' for 1"),
      ])
    })
  })
})

describe('quorums of the server', () => {
  aCluster({ synchronous_standby_names: 'ANY 1 (*)' })

  /** Commits that are not to wait for the router, so that what waits is the server. */
  const SERVER_ONLY = { remoteApply: true, timeoutMs: 20_000 }
  const writes: Record<string, (session: PostgresSession, author: string) => Promise<unknown>> = {
    'a statement': (session, author) => session.query(SAVE, [author]),
    'a transaction': (session, author) => session.transaction(tx => tx.query(SAVE, [author])),
  }

  test.each(Object.keys(writes))('%s returns only when a standby has applied it', async way => {
    await paused(['replica-1'], async () => {
      try {
        await cluster.lag('replica-2', 200)
        await using({ writePolicy: quorum(1, SERVER_ONLY) }, db =>
          using({}, async plain => {
            const missing: number[] = []
            for (let i = 0; i < 4; i++) {
              const [author, control] = [newAuthor(), newAuthor()]
              await writes[way]!(db.session(), author)
              expect(await onNode('replica-2', author)).toBe(1)
              await writes[way]!(plain.session(), control)
              missing.push(1 - (await onNode('replica-2', control)))
            }
            // Control: a plain commit waits for the standby to have it on disk, not to show it.
            expect(missing).toContain(1)
          }),
        )
      } finally {
        await cluster.lag('replica-2', 0)
      }
    })
  })

  test.each(Object.keys(writes))(
    '%s that no standby applies returns in time, as committed, and leaves a clean connection',
    async way => {
      // One connection, so that what is asked afterwards is asked on the one that committed.
      const config = { writePolicy: quorum(2, { remoteApply: true, timeoutMs: 200 }), pool: { max: 1 } }
      const setting = async (db: Tidemark) => (await db.pool.query('SHOW synchronous_commit')).rows
      await using(config, async db => {
        await paused(BOTH, async () => {
          const author = newAuthor()
          const session = db.session()
          const pids = async () =>
            (await session.query('SELECT pg_backend_pid() AS pid', [], { on: 'primary', writePolicy: COMMITTED })).rows
          const before = await pids()
          const error = await writes[way]!(session, author).catch((reason: unknown) => reason)
          expect(error).toBeInstanceOf(NotAppliedError)
          expect(error).toMatchObject({ committed: true, policy: 'quorum(2)' })
          expect(await onNode('primary', author)).toBe(1)
          expect(await setting(db)).toEqual([{ synchronous_commit: 'on' }])
          expect(await pids()).toEqual(before)
          expect((await count(session, author)).n).toBe(1)
        })
        const author = newAuthor()
        await writes[way]!(db.session(), author)
        expect((await onNode('replica-1', author)) + (await onNode('replica-2', author))).toBeGreaterThan(0)
      })
    },
  )

  test('a statement that fails leaves a clean connection too', async () => {
    const config = { writePolicy: quorum(2, { remoteApply: true }), pool: { max: 1 } }
    await using(config, async db => {
      await expect(db.session().query('INSERT INTO notes (author) VALUES (1 / $1::int)', [0])).rejects.toThrow('division by zero')
      expect((await db.pool.query('SHOW synchronous_commit')).rows).toEqual([{ synchronous_commit: 'on' }])
    })
  })

  test('nothing is warned of where the server waits for as many', async () => {
    const warnings: string[] = []
    const config = { writePolicy: quorum(2, { remoteApply: true }), onWarning: (message: string) => warnings.push(message) }
    await using(config, async () => expect(warnings).toEqual([]))
  })
})
