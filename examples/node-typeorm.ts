// A photo app with node:http and TypeORM. An author sees a new photo at once; replicas serve everybody else.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import pg from 'pg'
import { readYourWrites } from 'tidemark/node'
import { type TidemarkConfig, tidemark } from 'tidemark/postgres'
import { DataSource, EntitySchema } from 'typeorm'

interface Photo {
  id: number
  author: string
  caption: string
}

const PhotoEntity = new EntitySchema<Photo>({
  name: 'photo',
  tableName: 'photos',
  columns: { id: { type: Number, primary: true, generated: true }, author: { type: String }, caption: { type: String } },
})

export async function createApp(config: TidemarkConfig, port = 0) {
  const db = await tidemark(config)
  const orm = new DataSource({ type: 'postgres', driver: { ...pg, Pool }, entities: [PhotoEntity] })
  // TypeORM makes its pool itself, with the driver it is given: this one hands it ours.
  function Pool() {
    return db.pool
  }
  await orm.initialize()
  const photos = orm.getRepository(PhotoEntity)
  const newestFirst = { order: { id: 'desc' }, take: 20 } as const

  const routes: Record<string, (req: IncomingMessage, res: ServerResponse) => Promise<unknown>> = {
    async 'POST /photos'(req, res) {
      const form = new URLSearchParams(await text(req))
      await photos.insert({ author: userOf(req), caption: form.get('caption') ?? '' })
      res.writeHead(303, { location: '/me' }).end()
    },
    async 'GET /me'(req, res) {
      sendJson(res, await photos.find({ where: { author: userOf(req) }, ...newestFirst }))
    },
    async 'GET /feed'(_req, res) {
      sendJson(res, await photos.find(newestFirst))
    },
  }

  const listener = readYourWrites(db, { user: userOf })(async (req, res) => {
    try {
      const route = routes[`${req.method} ${req.url}`]
      if (route === undefined) res.writeHead(404).end()
      else await route(req, res)
    } catch (error) {
      console.error(error)
      if (res.headersSent) res.destroy()
      else res.writeHead(500).end()
    }
  })
  const server = createServer(listener).listen(port)
  await once(server, 'listening')
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    async close() {
      await new Promise(resolve => server.close(resolve))
      // Ends the pool, and that closes the database.
      await orm.destroy()
    },
  }
}

/** Stands for your authentication. The empty text is nobody. */
function userOf(req: IncomingMessage): string {
  const user = req.headers['x-user']
  return typeof user === 'string' ? user : ''
}

function sendJson(res: ServerResponse, body: unknown): void {
  res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

if (process.argv[1] === import.meta.filename) {
  const { PRIMARY_URL, REPLICA_URL, TIDEMARK_SECRET } = process.env
  const app = await createApp({ primary: PRIMARY_URL!, replicas: [REPLICA_URL!], secret: TIDEMARK_SECRET }, 3000)
  console.log(`Listening on ${app.url}`)
}
