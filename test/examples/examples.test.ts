/** Every example runs against real servers, one replica a little behind and one that never catches up. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as expressDrizzle from '../../examples/express-drizzle.js'
import * as fastifyKysely from '../../examples/fastify-kysely.js'
import * as forkMerge from '../../examples/fork-merge.js'
import * as honoPg from '../../examples/hono-pg.js'
import * as koaKnex from '../../examples/koa-knex.js'
import * as nodeTypeorm from '../../examples/node-typeorm.js'
import * as queueJob from '../../examples/queue-job.js'
import * as readPolicy from '../../examples/read-policy.js'
import type { TidemarkConfig } from '../../src/engines/postgres/index.js'
import type { Events } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { Browser } from './browser.js'

interface Photo {
  readonly id: number
  readonly author: string
  readonly caption: string
}

const ROUNDS = 25
const SCHEMA =
  'create table photos (id int generated always as identity primary key, author text not null, caption text not null)'

let cluster: Cluster
let config: TidemarkConfig

beforeAll(async () => {
  cluster = await startCluster({ replicas: 2 })
  await cluster.query('primary', SCHEMA)
  await cluster.query('primary', "insert into photos (author, caption) values ('grace', 'The harbour at seven')")
  await cluster.caughtUp()
  await cluster.lag('replica-1', 20)
  await cluster.lag('replica-2', 600_000)
  const node = (name: string) => ({ name, url: cluster.url(name) })
  config = {
    primary: node('primary'),
    replicas: [node('replica-1'), node('replica-2')],
    secret: 'a secret of the examples’ tests',
    onWarning: () => {},
  }
})
afterAll(() => cluster?.close())

describe.each(
  Object.entries({
    'express-drizzle': expressDrizzle,
    'fastify-kysely': fastifyKysely,
    'hono-pg': honoPg,
    'koa-knex': koaKnex,
    'node-typeorm': nodeTypeorm,
  }),
)('%s', (name, example) => {
  let app: Awaited<ReturnType<typeof example.createApp>>
  beforeAll(async () => {
    app = await example.createApp(config)
  })
  afterAll(() => app?.close())

  test('an author sees each photo on the page that the post redirects to', async () => {
    const author = new Browser(app.url, { 'x-user': name })
    const missed: string[] = []
    for (let round = 1; round <= ROUNDS; round++) {
      const caption = `${name} ${round}`
      const own = (await author.post('/photos', { caption })) as Photo[]
      expect(own.every(photo => photo.author === name)).toBe(true)
      if (own[0]?.caption !== caption) missed.push(caption)
      const feed = (await author.get('/feed')) as Photo[]
      if (!feed.some(photo => photo.caption === caption)) missed.push(`${caption} in the feed`)
    }
    expect(missed).toEqual([])
    const [row] = await cluster.query('replica-2', 'select count(*)::int as photos from photos where author = $1', [name])
    expect(row, 'a replica would have missed them all').toEqual({ photos: 0 })
  })

  test('replicas serve the feed to everybody else', async () => {
    const visitor = new Browser(app.url)
    const nodes = await nodesServing(async () => {
      for (let round = 1; round <= ROUNDS; round++) expect(await visitor.get('/feed')).not.toEqual([])
    })
    expect(nodes).toHaveLength(ROUNDS)
    expect(nodes).not.toContain('primary')
  })
})

test('queue-job: workers find what was written before the job', async () => {
  const nodes = await queueJob.run(config)
  expect(nodes).toHaveLength(10)
  expect(nodes).not.toContain('replica-2')
})

test('fork-merge: a session sees what its merged forks wrote', async () => {
  expect(await forkMerge.run(config)).toEqual({ written: 8, seen: 8 })
})

test('read-policy: replicas that catch up serve every ladder', async () => {
  const report = await readPolicy.run({ ...config, replicas: [config.replicas![0]!] })
  for (const line of report) expect(line).toMatch(/^served by (replica|wait): read-your-writes$/)
  expect(report).toHaveLength(4)
})

test('read-policy: each ladder ends as it says when no replica catches up', async () => {
  // How stale a replica is can be told only once it has been where the primary was.
  await cluster.lag('replica-2', 0)
  await cluster.caughtUp('replica-2')
  await cluster.lag('replica-2', 600_000)
  expect(await readPolicy.run({ ...config, replicas: [config.replicas![1]!] })).toEqual([
    'served by primary: read-your-writes',
    'served by stale: eventual',
    'not ready: again in 500 ms',
    'given up after 50 ms',
  ])
})

/** The nodes that served the reads which Tidemark routed while `work` ran. */
async function nodesServing(work: () => Promise<void>): Promise<string[]> {
  const nodes: string[] = []
  const listener = (message: unknown) => void nodes.push((message as Events['tidemark:read']).node)
  subscribe('tidemark:read', listener)
  try {
    await work()
  } finally {
    unsubscribe('tidemark:read', listener)
  }
  return nodes
}
