// Compiled where only what `tidemark/postgres` needs is installed.
import type { Outcome } from 'tidemark'
import { withConsistency } from 'tidemark/fetch'
import { type RoutedPool, tidemark } from 'tidemark/postgres'

const db = await tidemark({ primary: 'postgres://nowhere/', replicas: [{ url: 'postgres://elsewhere/', region: 'eu' }] })
export const pool: RoutedPool = db.pool
const session = db.session()
const { rows } = await session.query<{ id: number }>('select id from photos')
export const ids: number[] = rows.map(row => row.id)
export const outcome: Outcome | undefined = session.lastOutcome
export const api: typeof fetch = withConsistency(fetch, { origins: ['https://api.example.com'] })

// @ts-expect-error The types of the library are there, or this would be `any`.
session.tokens()
// @ts-expect-error And those of the driver are.
db.pool.totalCounts
