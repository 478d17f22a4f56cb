// A photo app with Fastify and Kysely. An author sees a new photo at once; replicas serve everybody else.
import fastify, { type FastifyRequest } from 'fastify'
import { type Generated, Kysely, PostgresDialect } from 'kysely'
import { readYourWrites } from 'tidemark/fastify'
import { type TidemarkConfig, tidemark } from 'tidemark/postgres'

interface Database {
  photos: { id: Generated<number>; author: string; caption: string }
}

export async function createApp(config: TidemarkConfig, port = 0) {
  const db = await tidemark(config)
  const kysely = new Kysely<Database>({ dialect: new PostgresDialect({ pool: db.pool }) })

  const app = fastify()
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })
  app.register(readYourWrites(db, { user: userOf }))

  app.post<{ Body: { caption: string } }>('/photos', async (request, reply) => {
    const photo = { author: userOf(request), caption: request.body.caption }
    await kysely.insertInto('photos').values(photo).execute()
    return reply.redirect('/me', 303)
  })
  app.get('/me', request =>
    kysely.selectFrom('photos').selectAll().where('author', '=', userOf(request)).orderBy('id', 'desc').limit(20).execute(),
  )
  app.get('/feed', () => kysely.selectFrom('photos').selectAll().orderBy('id', 'desc').limit(20).execute())

  // Ends after the requests that are under way. Kysely ends its pool, and that closes the database.
  app.addHook('onClose', () => kysely.destroy())

  const url = await app.listen({ port })
  return { url, close: () => app.close() }
}

/** Stands for your authentication. The empty text is nobody. */
function userOf(request: FastifyRequest): string {
  const user = request.headers['x-user']
  return typeof user === 'string' ? user : ''
}

if (process.argv[1] === import.meta.filename) {
  const { PRIMARY_URL, REPLICA_URL, TIDEMARK_SECRET } = process.env
  const app = await createApp({ primary: PRIMARY_URL!, replicas: [REPLICA_URL!], secret: TIDEMARK_SECRET }, 3000)
  console.log(`Listening on ${app.url}`)
}
