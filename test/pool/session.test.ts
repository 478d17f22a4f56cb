import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Tidemark, tidemark } from '../../src/engines/postgres/index.js'
import type { Guarantee } from '../../src/index.js'
import { until } from '../../src/testing/until.js'
import { createNotes, type Setup, setUp, withClient } from './setup.js'

// What goes through the clients of a session's pool belongs to the session: what they commit, and what they show.

let setup: Setup
let db: Tidemark

beforeAll(async () => {
  setup = await setUp()
  db = setup.db
  await createNotes(setup)
})

afterAll(() => setup?.close())

test('what is left of a deadline may be a fraction of a millisecond; what is no time is refused in words', async () => {
  const session = db.session()
  expect((await session.query('select 1 as n', [], { timeoutMs: 9_999.5 })).rows).toEqual([{ n: 1 }])
  expect(await session.transaction(async () => 'done', { timeoutMs: 9_999.5 })).toBe('done')
  for (const timeoutMs of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => session.query('select 1', [], { timeoutMs })).toThrow(/^timeoutMs is .*; expected a number of at least 0/)
  }
})

describe('what replicas have shown', () => {
  // replica-1 follows, replica-2 stands still: reads that move from the one to the other go back in time.
  const text = 'shown by replica-1'
  beforeAll(async () => {
    await setup.cluster.pause('replica-2')
    await db.pool.query('insert into notes (text) values ($1)', [text])
    await setup.cluster.caughtUp('replica-1')
  })
  afterAll(async () => {
    await setup.cluster.resume('replica-2')
    await setup.cluster.caughtUp()
  })

  /** How many of twenty reads at once miss what a transaction on replica-1, still open, has shown. */
  async function countMisses(guarantee: Guarantee): Promise<number> {
    for (;;) {
      const session = db.session(undefined, { guarantee })
      const client = await session.pool.connect()
      try {
        await client.query('begin read only')
        if ((await setup.nodeOf(client)) !== 'replica-1') continue
        expect((await client.query('select from notes where text = $1', [text])).rowCount).toBe(1)
        const read = () => session.query('select from notes where text = $1', [text])
        const results = await Promise.all(Array.from({ length: 20 }, read))
        return results.filter(({ rowCount }) => rowCount === 0).length
      } finally {
        client.release()
      }
    }
  }

  test('is not unseen with monotonic reads', async () => {
    expect(await countMisses('monotonic-reads')).toBe(0)
    expect(await countMisses('read-your-writes')).toBeGreaterThan(0)
  })

  test('an address that hides several servers does not get a transaction that needs a position', async () => {
    const balanced = await tidemark({
      primary: setup.cluster.url('primary'),
      replicas: [{ url: setup.cluster.url('replica-2'), balanced: true }],
      secret: 'only for tests, sixteen bytes and more',
    })
    try {
      const session = balanced.session()
      await session.query("insert into notes (text) values ('balanced')")
      await withClient(session.pool, async client => {
        await client.query('begin read only')
        expect((await client.query("select from notes where text = 'balanced'")).rowCount).toBe(1)
        await client.query('commit')
      })
      // Without a position to ask for, it does.
      await withClient(balanced.session().pool, async client => {
        await client.query('begin read only')
        expect(await setup.nodeOf(client)).toBe('replica-2')
      })
    } finally {
      await balanced.close()
    }
  })
})

describe('what a client commits belongs to the session', () => {
  beforeAll(async () => {
    await Promise.all(setup.cluster.replicas.map(name => setup.cluster.lag(name, 300)))
  })
  afterAll(async () => {
    await Promise.all(setup.cluster.replicas.map(name => setup.cluster.lag(name, 0)))
    await setup.cluster.caughtUp()
  })

  const ways: Record<string, (client: pg.PoolClient, text: string) => Promise<unknown>> = {
    'BEGIN and COMMIT': async (client, text) => {
      await client.query('begin')
      await client.query('insert into notes (text) values ($1)', [text])
      await client.query('commit')
    },
    'one text': (client, text) => client.query(`begin; insert into notes (text) values ('${text}'); commit`),
    autocommit: (client, text) => client.query('insert into notes (text) values ($1)', [text]),
    'autocommit of a tied client': async (client, text) => {
      await client.query("set application_name = 'tied'")
      await client.query('insert into notes (text) values ($1)', [text])
    },
    'a writing function of a tied client': async (client, text) => {
      await client.query("set application_name = 'tied'")
      await client.query('select add_note($1)', [text])
    },
    'COMMIT AND CHAIN, with the next transaction still open': async (client, text) => {
      await client.query('begin')
      await client.query('insert into notes (text) values ($1)', [text])
      await client.query('commit and chain')
    },
    'a writing cursor in a transaction': async (client, text) => {
      await client.query('begin')
      await client.query(`declare c cursor for select add_note('${text}')`)
      await client.query('fetch all from c')
      await client.query('commit')
    },
    "the driver's own Query": (client, text) =>
      new Promise((resolve, reject) => {
        const query = client.query(new pg.Query(`insert into notes (text) values ('${text}')`))
        query.on('end', resolve).on('error', reject)
      }),
  }
  for (const [name, write] of Object.entries(ways)) {
    test(name, async () => {
      const session = db.session()
      const text = `written by ${name.replaceAll("'", '')}`
      await session.run(async () => {
        const client = await db.pool.connect()
        try {
          await write(client, text)
          expect((await db.pool.query('select from notes where text = $1', [text])).rowCount).toBe(1)
          expect(session.lastOutcome?.node).toBe('primary')
        } finally {
          client.release()
        }
      })
      expect(session.history.writes.isZero).toBe(false)
      // The control: the lagging replicas do not have it yet.
      const { rowCount } = await setup.plain['replica-1']!.query('select from notes where text = $1', [text])
      expect(rowCount).toBe(0)
    })
  }

  test('a COMMIT whose answer is lost leaves the session uncertain', async () => {
    const session = db.session()
    await withClient(session.pool, async client => {
      await client.query('begin')
      // Its deferred trigger holds the COMMIT up until the connection is cut.
      await client.query('insert into slow values (1)')
      const { processID } = client as unknown as { processID: number }
      const lost = expect(client.query('commit')).rejects.toMatchObject({ code: '57P01' })
      const isCommitting = async () => {
        const activity = 'select wait_event from pg_stat_activity where pid = $1'
        return (await setup.plain.primary!.query(activity, [processID])).rows[0]?.wait_event === 'PgSleep'
      }
      await until(isCommitting, { timeoutMs: 3_000, describe: () => 'the COMMIT had begun' })
      expect(session.history.uncertain).toBe(false)
      await setup.terminate(processID)
      await lost
    })
    expect(session.history.uncertain).toBe(true)
    expect((await session.query('select from slow')).rowCount).toBe(0)
    expect(session.lastOutcome?.node).toBe('primary')
    expect(session.history.uncertain).toBe(false)
    await setup.nothingLeased()
  })

  test('each session gets what was committed under it, also on a client tied long before', async () => {
    const client = await db.pool.connect()
    await client.query("set application_name = 'of nobody'")
    const sessions = [db.session(), db.session()]
    for (const [n, session] of sessions.entries()) {
      await session.run(() => client.query('insert into notes (text) values ($1)', [`of session ${n}`]))
      const { rowCount } = await session.query('select from notes where text = $1', [`of session ${n}`])
      expect(rowCount).toBe(1)
    }
    client.release()
    const bystander = db.session()
    await bystander.query('select count(*) from notes')
    expect(bystander.lastOutcome?.node).toMatch(/^replica/)
  })

  test('reading transactions commit nothing: the next read need not wait', async () => {
    const session = db.session()
    await withClient(session.pool, async client => {
      await client.query('begin')
      await client.query('select count(*) from notes')
      await client.query('commit')
    })
    expect(session.history.writes.isZero).toBe(true)
    expect(await setup.nodeOf(session)).toMatch(/^replica/)
  })

  test('monotonic reads: what a transaction on the primary has shown is not unseen afterwards', async () => {
    for (const tie of ['begin', "set application_name = 'tied'"]) {
      const session = db.session(undefined, { guarantee: 'monotonic-reads' })
      const text = `seen after ${tie}`
      await db.pool.query('insert into notes (text) values ($1)', [text])
      await withClient(session.pool, async client => {
        await client.query(tie)
        expect((await client.query('select from notes where text = $1', [text])).rowCount).toBe(1)
        // While the transaction is still open.
        expect((await session.query('select from notes where text = $1', [text])).rowCount).toBe(1)
      })
    }
  })
})
