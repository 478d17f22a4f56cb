// Tidemark with each preset, through its own middleware; a read says which row it reads, and a write which it writes.
import { tidemark } from '../../dist/engines/postgres/index.js'
import { readYourWrites } from '../../dist/http/node.js'
import { PRESETS } from '../../dist/index.js'
import { POOL_SIZE, READ, WRITE } from './statements.mjs'

/** The `node` of an outcome that no server had to be asked for. */
const SESSION_CACHE = 'session-cache'
const USES_KEYS = new Set(['write-through-cache'])

function preset(name) {
  return {
    name: `Tidemark ${name}`,
    why: 'through the middleware for node:http, token by cookie, each statement with its scope; all else is default',
    async open({ primary, replicas }) {
      const db = await tidemark({
        primary,
        replicas,
        preset: name,
        secret: 'a secret of the comparison only',
        pool: { max: POOL_SIZE, idleTimeoutMillis: 0 },
      })
      const usesKeys = USES_KEYS.has(name)
      const options = id => ({ scope: `photo ${id}`, ...(usesKeys && { cache: `photo ${id}` }) })
      // What is to be kept, a write has to return.
      const statement = usesKeys ? { name: 'compare_keep', text: `${WRITE.text} RETURNING version` } : WRITE
      return {
        middleware: readYourWrites(db),
        async read({ id }) {
          const session = db.currentSession
          const { rows } = await session.query(READ, [id], options(id))
          return session.lastOutcome.node === SESSION_CACHE ? { ...rows[0], port: 0 } : rows[0]
        },
        write: ({ id, version }) => db.currentSession.query(statement, [id, version], options(id)),
        close: () => db.close(),
      }
    },
  }
}

export const tidemarkOptions = Object.keys(PRESETS).map(preset)
