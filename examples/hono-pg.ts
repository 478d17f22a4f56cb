// A photo app with Hono and plain SQL. An author sees a new photo at once; replicas serve everybody else.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { readYourWrites } from 'tidemark/hono'
import { type TidemarkConfig, tidemark } from 'tidemark/postgres'

export async function createApp(config: TidemarkConfig, port = 0) {
  const db = await tidemark(config)

  const app = new Hono()
  app.use(readYourWrites(db, { user: userOf }))

  app.post('/photos', async c => {
    const { caption } = await c.req.parseBody()
    await db.pool.query('insert into photos (author, caption) values ($1, $2)', [userOf(c), caption])
    return c.redirect('/me', 303)
  })
  app.get('/me', async c => {
    const sql = 'select id, author, caption from photos where author = $1 order by id desc limit 20'
    const { rows } = await db.pool.query(sql, [userOf(c)])
    return c.json(rows)
  })
  app.get('/feed', async c => {
    const { rows } = await db.pool.query('select id, author, caption from photos order by id desc limit 20')
    return c.json(rows)
  })

  const server = serve({ fetch: app.fetch, port })
  if (!server.listening) await once(server, 'listening')
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    async close() {
      await new Promise(resolve => server.close(resolve))
      await db.close()
    },
  }
}

/** Stands for your authentication. The empty text is nobody. */
function userOf(c: Context): string {
  return c.req.header('x-user') ?? ''
}

if (process.argv[1] === import.meta.filename) {
  const { PRIMARY_URL, REPLICA_URL, TIDEMARK_SECRET } = process.env
  const app = await createApp({ primary: PRIMARY_URL!, replicas: [REPLICA_URL!], secret: TIDEMARK_SECRET }, 3000)
  console.log(`Listening on ${app.url}`)
}
