/** The network links of a cluster. What goes past them at the same time is the control: the server itself is well. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from './index.js'
import { Link } from './link.js'

const HOUR_MS = 3_600_000
const MIB = 1_048_576

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ replicas: 1, links: true })
  await cluster.query('primary', 'create table notes (id int primary key)')
})

afterAll(() => cluster.close())

afterEach(async () => {
  for (const node of cluster.nodes) await cluster.heal(node)
})

const portOf = (url: string) => Number(new URL(url).port)

async function connected(node = 'primary'): Promise<pg.Client> {
  const client = new pg.Client(cluster.url(node))
  client.on('error', () => undefined)
  await client.connect()
  return client
}

async function ids(node = 'primary'): Promise<number[]> {
  return (await cluster.query<{ id: number }>(node, 'select id from notes')).map(row => row.id)
}

const pidOf = async (client: pg.Client) => (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid

const endOf = (client: pg.Client) => new Promise<void>(resolve => client.once('end', resolve))

/** Whether a query has been answered by now, one way or the other. */
function observed(query: Promise<unknown>): () => boolean {
  let ended = false
  const end = () => {
    ended = true
  }
  query.then(end, end)
  return () => ended
}

test('a URL leads through the link, and a direct one past it', async () => {
  for (const node of cluster.nodes) {
    const [through, past] = [portOf(cluster.url(node)), portOf(cluster.url(node, { direct: true }))]
    expect(through).not.toBe(past)
    for (const connectionString of [cluster.url(node), cluster.url(node, { direct: true })]) {
      const client = new pg.Client(connectionString)
      await client.connect()
      expect((await client.query('select inet_server_port() as port')).rows).toEqual([{ port: past }])
      await client.end()
    }
  }
  expect(cluster.urls).toEqual(cluster.nodes.map(node => cluster.url(node)))
})

describe('delay', () => {
  test('makes a round trip take as long as asked for', async () => {
    const client = await connected()
    await cluster.delay('primary', 200)
    const startedAt = performance.now()
    await client.query('select 1')
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(200)
    await client.end()
  })

  test('holds up both directions, and nothing else, until it is reset', async () => {
    const client = await connected()
    await cluster.delay('primary', HOUR_MS)
    const insert = client.query('insert into notes values (1)')
    const isAnswered = observed(insert)
    await cluster.query('primary', 'insert into notes values (2)')
    await cluster.caughtUp()
    expect(await ids('replica-1')).toEqual([2])
    expect(isAnswered()).toBe(false)
    await cluster.delay('primary', 0)
    await insert
    expect(await ids()).toContain(1)
    await client.end()
  })
})

describe('cut', () => {
  test('resets connections, old and new, until heal; replication goes on', async () => {
    const client = await connected()
    const closed = endOf(client)
    await cluster.cut('primary')
    await closed
    await expect(client.query('select 1')).rejects.toThrow()
    await expect(connected()).rejects.toMatchObject({ code: 'ECONNRESET' })
    await cluster.query('primary', 'insert into notes values (3)')
    await cluster.caughtUp()
    expect(await ids('replica-1')).toContain(3)
    const other = await connected('replica-1')
    await other.end()
    await cluster.heal('primary')
    await (await connected()).end()
  })

  test('loses what was on its way', async () => {
    const client = await connected()
    await cluster.delay('primary', HOUR_MS)
    const insert = client.query('insert into notes values (4)')
    await cluster.cut('primary')
    await expect(insert).rejects.toThrow()
    await cluster.heal('primary')
    const next = await connected()
    await next.query('insert into notes values (5)')
    expect(await ids()).toContain(5)
    expect(await ids()).not.toContain(4)
    await next.end()
  })
})

describe('halfOpen', () => {
  test('accepts connections and never answers', async () => {
    await cluster.halfOpen('primary')
    const client = new pg.Client({ connectionString: cluster.url('primary'), connectionTimeoutMillis: 200 })
    const accepted = once(client.connection, 'connect')
    await expect(client.connect()).rejects.toThrow('timeout')
    await accepted
    await cluster.heal('primary')
    await (await connected()).end()
  })

  test('swallows requests; heal resets who sent them, and spares who did not', async () => {
    const [speaking, silent] = [await connected(), await connected()]
    const pid = await pidOf(silent)
    await cluster.halfOpen('primary')
    const insert = speaking.query('insert into notes values (6)')
    const isAnswered = observed(insert)
    await cluster.query('primary', 'insert into notes values (7)')
    expect(isAnswered()).toBe(false)
    await cluster.heal('primary')
    await expect(insert).rejects.toThrow()
    expect(await pidOf(silent)).toBe(pid)
    expect(await ids()).toContain(7)
    expect(await ids()).not.toContain(6)
    await silent.end()
  })

  test('swallows the answer to a statement that was done', async () => {
    const [client, blocker] = [await connected(), new pg.Client(cluster.url('primary', { direct: true }))]
    await blocker.connect()
    await blocker.query('begin; lock notes')
    const pid = await pidOf(client)
    const insert = client.query('insert into notes values (8)')
    const isAnswered = observed(insert)
    const waiting = 'select wait_event_type as event from pg_stat_activity where pid = $1'
    await expect.poll(() => cluster.query('primary', waiting, [pid])).toEqual([{ event: 'Lock' }])
    await cluster.halfOpen('primary')
    await blocker.query('commit')
    await blocker.end()
    await expect.poll(() => ids()).toContain(8)
    expect(isAnswered()).toBe(false)
    await cluster.heal('primary')
    await expect(insert).rejects.toThrow()
  })

  test('hides that the server has gone', async () => {
    const client = await connected('replica-1')
    let ended = false
    client.once('end', () => {
      ended = true
    })
    await cluster.halfOpen('replica-1')
    await cluster.restart('replica-1')
    expect(await cluster.query('replica-1', 'select 1 as one')).toEqual([{ one: 1 }])
    expect(ended).toBe(false)
    const end = endOf(client)
    await cluster.heal('replica-1')
    await end
  })
})

describe('slow', () => {
  const large = `select repeat('x', 100_000) as text`

  test('throttles answers to the rate asked for', async () => {
    const client = await connected()
    await cluster.slow('primary', 200_000)
    const startedAt = performance.now()
    expect((await client.query<{ text: string }>(large)).rows[0]!.text).toHaveLength(100_000)
    // What passes at once is a twentieth of a second's worth.
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(450)
    await client.end()
  })

  test('does not hold up requests, and ends with heal', async () => {
    const client = await connected()
    await cluster.slow('primary', 1)
    const select = client.query(`with new as (insert into notes values (9)) ${large}`)
    const isAnswered = observed(select)
    await expect.poll(() => ids()).toContain(9)
    expect(isAnswered()).toBe(false)
    await cluster.heal('primary')
    expect((await select).rows).toHaveLength(1)
    await client.end()
  })
})

test('a node that is down resets connections, and is reached at the same URL when it is back', async () => {
  const url = cluster.url('replica-1')
  await cluster.kill('replica-1')
  await expect(connected('replica-1')).rejects.toThrow()
  await cluster.start('replica-1')
  expect(cluster.url('replica-1')).toBe(url)
  await (await connected('replica-1')).end()
})

test('an added replica has a link, and keeps it when it rejoins', async () => {
  const node = await cluster.addReplica()
  const url = cluster.url(node)
  expect(portOf(url)).not.toBe(portOf(cluster.url(node, { direct: true })))
  await cluster.rejoin(node)
  expect(cluster.url(node)).toBe(url)
  await (await connected(node)).end()
})

test('arguments that make no sense are refused, and so is a cluster without links', async () => {
  const refused = { code: 'TIDEMARK_CONFIGURATION' }
  for (const ms of [-1, 0.5, Number.NaN, 2 ** 31]) await expect(cluster.delay('primary', ms)).rejects.toMatchObject(refused)
  for (const rate of [0, -1, 0.5, Number.POSITIVE_INFINITY]) {
    await expect(cluster.slow('primary', rate)).rejects.toMatchObject(refused)
  }
  await expect(cluster.cut('replica-7')).rejects.toThrow('"replica-7"')

  await using plain = await startCluster({ replicas: 0 })
  expect(plain.url('primary', { direct: true })).toBe(plain.url('primary'))
  const node = 'primary'
  const calls = [plain.delay(node, 1), plain.slow(node, 1), plain.cut(node), plain.halfOpen(node), plain.heal(node)]
  for (const { reason } of (await Promise.allSettled(calls)) as PromiseRejectedResult[]) {
    expect(reason).toMatchObject(refused)
    expect(reason.message).toContain('startCluster({ links: true })')
  }
})

test('a closed cluster has closed its links', async () => {
  const other = await startCluster({ replicas: 0, links: true })
  const url = other.url('primary')
  await other.close()
  await expect(new pg.Client(url).connect()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
})

describe('a link by itself', () => {
  let link: Link
  let accept: (socket: Socket) => void
  const target = createServer({ allowHalfOpen: true }, socket => {
    // The link resets what is open when it is closed.
    socket.on('error', () => undefined)
    accept(socket)
  })

  beforeAll(async () => {
    await once(target.listen(0, '127.0.0.1'), 'listening')
  })
  beforeEach(async () => {
    link = await Link.open(() => (target.address() as AddressInfo).port)
  })
  afterEach(() => link.close())
  afterAll(() => target.close())

  const client = () => connect({ port: link.port, host: '127.0.0.1', allowHalfOpen: true })

  test('keeps bytes, their order and the end of each direction, whatever changes meanwhile', async () => {
    accept = socket => socket.pipe(socket)
    const sent = randomBytes(4 * MIB)
    const received = createHash('sha256')
    const socket = client()
    let bytes = 0
    socket.on('data', chunk => {
      received.update(chunk)
      bytes += chunk.length
      link.delay(bytes % 7)
      link.slow(20 * MIB + (bytes % MIB))
    })
    socket.end(sent)
    await once(socket, 'end')
    expect(bytes).toBe(sent.length)
    expect(received.digest('hex')).toBe(createHash('sha256').update(sent).digest('hex'))
  })

  test('leaves what it cannot hold with the sender', async () => {
    const chunk = Buffer.alloc(MIB / 16)
    const sent = 64 * MIB
    /** One chunk after the other, so that what the system has taken is known. */
    const send = async (socket: Socket, taken = (_bytes: number) => {}) => {
      for (let bytes = 0; bytes < sent; bytes += chunk.length) {
        await new Promise(resolve => socket.write(chunk, resolve))
        taken(bytes + chunk.length)
      }
      socket.end()
    }
    const receive = async (socket: Socket) => {
      let bytes = 0
      for await (const received of socket) bytes += (received as Buffer).length
      return bytes
    }
    const accepted = () =>
      new Promise<Socket>(resolve => {
        accept = resolve
      })
    const [answering, answered] = [accepted(), client()]
    const sender = await answering
    link.slow(1)
    let taken = 0
    const answers = send(sender, bytes => {
      taken = bytes
    })
    // The control: requests are not throttled, and as many bytes of them, sent later, have all arrived.
    const [requested, requesting] = [accepted(), client()]
    const requests = send(requesting)
    expect(await receive(await requested)).toBe(sent)
    await requests
    // What is not with the sender any more is with the link or in the buffers of the system.
    expect(taken).toBeLessThan(sent / 2)
    link.heal()
    expect(await receive(answered)).toBe(sent)
    await answers
  })
})
