// A photo app with Express and Drizzle. An author sees a new photo at once; replicas serve everybody else.
import type { AddressInfo } from 'node:net'
import { desc, eq } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import express, { type Request } from 'express'
import { notReadyHandler, readYourWrites } from 'tidemark/express'
import { type TidemarkConfig, tidemark } from 'tidemark/postgres'

const photos = pgTable('photos', {
  id: integer().primaryKey().generatedAlwaysAsIdentity(),
  author: text().notNull(),
  caption: text().notNull(),
})

export async function createApp(config: TidemarkConfig, port = 0) {
  const db = await tidemark(config)
  const orm = drizzle(db.pool)

  const app = express()
  app.use(express.urlencoded())
  app.use(readYourWrites(db, { user: userOf }))

  app.post('/photos', async (req, res) => {
    await orm.insert(photos).values({ author: userOf(req), caption: req.body.caption })
    res.redirect(303, '/me')
  })
  app.get('/me', async (req, res) => {
    const own = eq(photos.author, userOf(req))
    res.json(await orm.select().from(photos).where(own).orderBy(desc(photos.id)).limit(20))
  })
  app.get('/feed', async (_req, res) => {
    res.json(await orm.select().from(photos).orderBy(desc(photos.id)).limit(20))
  })
  app.use(notReadyHandler)

  const server = app.listen(port)
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject))
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    async close() {
      await new Promise(resolve => server.close(resolve))
      await db.close()
    },
  }
}

/** Stands for your authentication. The empty text is nobody. */
function userOf(req: Request): string {
  return req.get('x-user') ?? ''
}

if (process.argv[1] === import.meta.filename) {
  const { PRIMARY_URL, REPLICA_URL, TIDEMARK_SECRET } = process.env
  const app = await createApp({ primary: PRIMARY_URL!, replicas: [REPLICA_URL!], secret: TIDEMARK_SECRET }, 3000)
  console.log(`Listening on ${app.url}`)
}
