// A job sees what its author had written when it was queued: the job carries the session's token.
import { type TidemarkConfig, tidemark } from 'tidemark/postgres'

/** Stands for your queue. Whatever it is made of, jobs go through it as text. */
class Queue {
  readonly #jobs: string[] = []
  push(job: Job): void {
    this.#jobs.push(JSON.stringify(job))
  }
  take(): Job | undefined {
    const job = this.#jobs.shift()
    return job === undefined ? undefined : JSON.parse(job)
  }
}

interface Job {
  readonly photoId: number
  readonly token: string
}

type Tidemark = Awaited<ReturnType<typeof tidemark>>

/** In the web server. */
async function postPhoto(db: Tidemark, queue: Queue, caption: string): Promise<void> {
  const session = db.session()
  const insert = "insert into photos (author, caption) values ('ada', $1) returning id"
  const { rows } = await session.query<{ id: number }>(insert, [caption])
  // After the write: the token says how far a node must be for the job to find the photo.
  queue.push({ photoId: rows[0]!.id, token: session.token() })
}

/** In the worker, which may be another process on another machine, with the same secret. Tells which node the photo came from. */
async function work(db: Tidemark, { photoId, token }: Job): Promise<string> {
  const session = db.session(token)
  const { rows } = await session.query<{ caption: string }>('select caption from photos where id = $1', [photoId])
  const [photo] = rows
  // Without the token this happens whenever the job is faster than the replica.
  if (photo === undefined) throw new Error(`photo ${photoId} does not exist`)
  const node = session.lastOutcome!.node
  await session.query('update photos set caption = $1 where id = $2', [photo.caption.toUpperCase(), photoId])
  return node
}

// When the queue is a table of the same database (`for update skip locked`), the job needs no token: taking it from the table
// is a write of the worker's session. What the session reads then includes all that was committed before.

export async function run(config: TidemarkConfig, jobs = 10): Promise<string[]> {
  const db = await tidemark(config)
  try {
    const queue = new Queue()
    for (let i = 0; i < jobs; i++) await postPhoto(db, queue, `photo ${i}`)
    const nodes: string[] = []
    for (let job = queue.take(); job !== undefined; job = queue.take()) nodes.push(await work(db, job))
    return nodes
  } finally {
    await db.close()
  }
}

if (process.argv[1] === import.meta.filename) {
  const { PRIMARY_URL, REPLICA_URL, TIDEMARK_SECRET } = process.env
  const nodes = await run({ primary: PRIMARY_URL!, replicas: [REPLICA_URL!], secret: TIDEMARK_SECRET })
  console.log(`All photos were found, on: ${nodes.join(', ')}`)
}
