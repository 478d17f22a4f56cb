// What a read may cost and what it may miss is said by its ladder: the rungs are tried in order.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type Events, type Ladder, NotReadyError, notReady, primary, replica, stale, wait } from 'tidemark'
import { type TidemarkConfig, tidemark } from 'tidemark/postgres'

/** Waits for a replica longer than the default ladder does, to spare the primary. */
const patient: Ladder = [replica(), wait({ budgetMs: 2_000 }), primary({ maxInFlight: 8 })]

/** Rather a feed that lacks the newest photos than a slow one, but not one from last hour. */
const tolerant: Ladder = [replica(), stale({ maxLagMs: 60_000 }), primary()]

/** Never the primary: the caller is told to come back. */
const replicasOnly: Ladder = [replica(), wait({ budgetMs: 20 }), notReady({ retryAfterMs: 500 })]

/** Waits for replicas however long it takes: the caller sets the deadline. */
const endless: Ladder = [replica(), wait({ budgetMs: 3_600_000 })]

export async function run(config: TidemarkConfig): Promise<string[]> {
  const report: string[] = []
  const onRead = (message: unknown) => {
    const { rung, guarantee } = message as Events['tidemark:read']
    report.push(`served by ${rung}: ${guarantee}`)
  }
  subscribe('tidemark:read', onRead)
  const db = await tidemark({ ...config, ladder: patient })
  try {
    const session = db.session()
    await session.query("insert into photos (author, caption) values ('ada', 'new')")
    const count = 'select count(*) from photos'

    await session.query(count)
    await session.query(count, [], { ladder: tolerant })
    try {
      await session.query(count, [], { ladder: replicasOnly })
    } catch (error) {
      if (!(error instanceof NotReadyError)) throw error
      report.push(`not ready: again in ${error.retryAfterMs} ms`)
    }
    try {
      // A request's own signal does as well: the read ends when its client has gone away.
      await session.query(count, [], { ladder: endless, signal: AbortSignal.timeout(50) })
    } catch (error) {
      if (!(error instanceof DOMException && error.name === 'TimeoutError')) throw error
      report.push('given up after 50 ms')
    }
    return report
  } finally {
    await db.close()
    unsubscribe('tidemark:read', onRead)
  }
}

if (process.argv[1] === import.meta.filename) {
  const { PRIMARY_URL, REPLICA_URL, TIDEMARK_SECRET } = process.env
  const report = await run({ primary: PRIMARY_URL!, replicas: [REPLICA_URL!], secret: TIDEMARK_SECRET })
  console.log(report.join('\n'))
}
