/** The ways in which one author writes, and comes back to read what it wrote. */
import type { Tidemark } from '../../../src/engines/postgres/index.js'
import { tokenExchange } from '../../../src/http/exchange.js'
import { Author } from './author.js'
import type { Tally } from './tally.js'

/** Two routers of one deployment. */
export interface Routers {
  readonly here: Tidemark
  readonly there: Tidemark
}

export interface Workload {
  write(tally: Tally): Promise<void>
  /** Must see all writes before. */
  read(tally: Tally): Promise<void>
}

export type PatternName = 'one session' | 'two devices' | 'roaming' | 'concurrent responses'

export const PATTERNS: Readonly<Record<PatternName, (routers: Routers, name: string) => Workload>> = {
  'one session': oneSession,
  'two devices': twoDevices,
  roaming,
  'concurrent responses': concurrentResponses,
}

/** One long session, on one router. */
function oneSession({ here }: Routers, name: string): Workload {
  const author = new Author(name)
  const session = here.session()
  return {
    write: tally => author.write(session, tally),
    read: tally => author.read(here, session, tally),
  }
}

/**
 * One user. What the one device writes, the other must see, although it carries only a token of its own, which is older than that
 * write: the token store knows. They change routers after every read.
 */
function twoDevices({ here, there }: Routers, name: string): Workload {
  const author = new Author(name)
  let [writing, reading]: [Tidemark, Tidemark] = [here, there]
  let first: string | undefined
  let second: string | undefined
  return {
    async write(tally) {
      const writer = writing.session(first, { user: name })
      await author.write(writer, tally)
      first = writer.token()
    },
    async read(tally) {
      const reader = reading.session(second, { user: name })
      await author.read(reading, reader, tally)
      second = reader.token()
      ;[writing, reading] = [reading, writing]
    },
  }
}

/** Every request goes to the other router, and only the token says what was before. Two reads, so that writes change routers, too. */
function roaming({ here, there }: Routers, name: string): Workload {
  const author = new Author(name)
  let [next, other]: [Tidemark, Tidemark] = [here, there]
  let token: string | undefined
  const request = () => {
    const db = next
    ;[next, other] = [other, next]
    return { db, session: db.session(token) }
  }
  return {
    async write(tally) {
      const { session } = request()
      await author.write(session, tally)
      token = session.token()
    },
    async read(tally) {
      for (let reads = 0; reads < 2; reads++) {
        const { db, session } = request()
        await author.read(db, session, tally)
        token = session.token()
      }
    },
  }
}

/** Two requests of one browser at a time, each with a write of its own, from the same cookies; the next one must see both. */
function concurrentResponses({ here, there }: Routers, name: string): Workload {
  const author = new Author(`${name} 0`, `${name} 1`)
  const exchanges = new Map([here, there].map(db => [db, tokenExchange(db)]))
  const cookies = new Map<string, string>()
  const sent = (db: Tidemark) => {
    const cookie = [...cookies].map(pair => pair.join('=')).join('; ')
    return exchanges.get(db)!(new Headers({ cookie }))
  }
  const answered = (exchange: ReturnType<typeof sent>) => {
    const headers = new Headers()
    exchange.apply(headers)
    exchange.finish()
    for (const line of headers.getSetCookie()) {
      const [, cookie, value] = /^([^=]+)=([^;]*)/.exec(line)!
      if (line.includes('Max-Age=0')) cookies.delete(cookie!)
      else cookies.set(cookie!, value!)
    }
  }
  return {
    async write(tally) {
      // Both leave before either is answered.
      const requests = [sent(here), sent(there)]
      const answers = requests.map(async (exchange, index) => {
        await author.write(exchange.session, tally, index)
        answered(exchange)
      })
      await Promise.all(answers)
    },
    async read(tally) {
      for (const db of [here, there]) {
        const exchange = sent(db)
        await author.read(db, exchange.session, tally)
        answered(exchange)
      }
    },
  }
}
