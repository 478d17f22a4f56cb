// A photo app with Koa and Knex. An author sees a new photo at once; replicas serve everybody else.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import knex from 'knex'
import Koa, { type Context } from 'koa'
import { readYourWrites } from 'tidemark/koa'
import { type TidemarkConfig, tidemark } from 'tidemark/postgres'

export async function createApp(config: TidemarkConfig, port = 0) {
  const db = await tidemark(config)
  const photos = knex({ client: 'pg', connectionPool: db.pool })

  const routes: Record<string, (ctx: Context) => Promise<void>> = {
    async 'POST /photos'(ctx) {
      const form = new URLSearchParams(await text(ctx.req))
      await photos('photos').insert({ author: userOf(ctx), caption: form.get('caption') })
      ctx.redirect('/me')
      ctx.status = 303
    },
    async 'GET /me'(ctx) {
      ctx.body = await photos('photos')
        .where({ author: userOf(ctx) })
        .orderBy('id', 'desc')
        .limit(20)
    },
    async 'GET /feed'(ctx) {
      ctx.body = await photos('photos').orderBy('id', 'desc').limit(20)
    },
  }

  const app = new Koa()
  app.use(readYourWrites(db, { user: userOf }))
  app.use(ctx => routes[`${ctx.method} ${ctx.path}`]?.(ctx))

  const server = app.listen(port)
  await once(server, 'listening')
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    async close() {
      await new Promise(resolve => server.close(resolve))
      await photos.destroy()
      await db.close()
    },
  }
}

/** Stands for your authentication. The empty text is nobody. */
function userOf(ctx: Context): string {
  return ctx.get('x-user')
}

if (process.argv[1] === import.meta.filename) {
  const { PRIMARY_URL, REPLICA_URL, TIDEMARK_SECRET } = process.env
  const app = await createApp({ primary: PRIMARY_URL!, replicas: [REPLICA_URL!], secret: TIDEMARK_SECRET }, 3000)
  console.log(`Listening on ${app.url}`)
}
