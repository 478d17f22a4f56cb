// Parallel work: each branch gets a session of its own, and what they wrote is brought together again.
import { type TidemarkConfig, tidemark } from 'tidemark/postgres'

export interface Report {
  readonly written: number
  readonly seen: number
}

export async function run(config: TidemarkConfig, branches = 8): Promise<Report> {
  const db = await tidemark(config)
  try {
    const session = db.session()
    const insert = "insert into photos (author, caption) values ('ada', $1) returning id"
    const { rows } = await session.query<{ id: number }>(insert, ['the album'])
    const albumId = rows[0]!.id

    const forks = await Promise.all(
      Array.from({ length: branches }, async (_, branch) => {
        // A fork begins with all that was written up to here, so it sees the album. It never waits for the other branches.
        const fork = session.fork()
        const album = await fork.query<{ caption: string }>('select caption from photos where id = $1', [albumId])
        await fork.query(insert, [`photo ${branch} of ${album.rows[0]!.caption}`])
        return fork
      }),
    )

    // Now the session sees what all branches wrote, and so does whoever gets its token.
    session.merge(...forks)
    const { rows: photos } = await session.query('select from photos where id > $1 and author = $2', [albumId, 'ada'])
    return { written: forks.length, seen: photos.length }
  } finally {
    await db.close()
  }
}

if (process.argv[1] === import.meta.filename) {
  const { PRIMARY_URL, REPLICA_URL, TIDEMARK_SECRET } = process.env
  const { written, seen } = await run({ primary: PRIMARY_URL!, replicas: [REPLICA_URL!], secret: TIDEMARK_SECRET })
  console.log(`${written} branches wrote a photo each; the session sees ${seen}`)
}
