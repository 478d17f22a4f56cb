import fc from 'fast-check'
import pg from 'pg'
import { MissingPeerError } from '../../../core/errors.js'
import { type CatalogRow, catalogQuery } from '../../../engines/postgres/statement/catalog-query.js'
import { buildCatalog, loadParser, StatementCache } from '../../../engines/postgres/statement/index.js'
import { type Cluster, startCluster } from '../../../testing/index.js'
import { hostileText } from '../hostile-text.js'
import { type Finding, Tally, type Target } from '../target.js'
import { ALLOWED, REFUSED } from './corpus.js'
import { mutated, statements, written } from './grammar.js'
import { type Answer, Observer } from './observer.js'
import { SCHEMA } from './schema.js'
import { readVocabulary } from './vocabulary.js'

/** Says whether a text is a read that any replica may serve. */
export type Classify = (text: string) => boolean

export interface SqlTargetOptions {
  /** Replaces what the classifier says. */
  readonly override?: (classify: Classify) => Classify
}

/** A standby that answers so has done nothing, and the statement runs again on the primary. */
const RERUN = /^(25006|0A000|55000)$/
/** Took too long, or too much: it says nothing. */
const INCONCLUSIVE = /^(57014|53\d\d\d|54\d\d\d|40001|40P01)$/

/**
 * Statements for the classifier, against PostgreSQL itself: what it takes for a read changes nothing when it runs on the
 * primary, and runs on a standby, or fails there as it does on the primary, or such that it is run again.
 *
 * `undefined` when there is no PostgreSQL to start.
 */
export async function openSqlTarget(options: SqlTargetOptions = {}): Promise<Target<string> | undefined> {
  await loadParser()
  let cluster: Cluster
  try {
    // Nobody but the cases may take a transaction id.
    cluster = await startCluster({ replicas: 1, settings: { autovacuum: 'off' } })
  } catch (error) {
    if (error instanceof MissingPeerError) return undefined
    throw error
  }
  try {
    return await prepared(cluster, options)
  } catch (error) {
    await cluster.close()
    throw error
  }
}

async function prepared(cluster: Cluster, { override = classify => classify }: SqlTargetOptions): Promise<Target<string>> {
  const client = new pg.Client(cluster.url('primary'))
  await client.connect()
  await client.query(SCHEMA)
  // Policies hold for whoever is not a superuser.
  await client.query(`create role fuzz; grant all on all tables in schema public, app to fuzz;
    grant all on all sequences in schema public, app to fuzz; grant all on schema public, app to fuzz`)
  await cluster.caughtUp()
  const catalog = buildCatalog((await client.query<CatalogRow>(catalogQuery)).rows)
  const vocabulary = await readVocabulary(client)
  await client.end()

  const cache = new StatementCache()
  const classify = override(text => cache.get(text).verdict(catalog).allowed)
  const primary = await Observer.ofPrimary(cluster.url('primary'))
  const standby = Observer.ofStandby(cluster.url('replica-1'))
  const seen = new Tally()
  const generated = written(statements(vocabulary))
  const corpus = [...ALLOWED, ...REFUSED.map(([text]) => text)]

  return {
    name: 'sql',
    turns: 5,
    seen,
    deadlineMs: 30_000,
    cases: fc.oneof(
      { weight: 6, arbitrary: generated },
      { weight: 4, arbitrary: written(mutated(corpus)) },
      { weight: 1, arbitrary: hostileText },
    ),
    async check(text) {
      // Who writes this comment answers for it.
      if (!classify(text) || cache.get(text).statement.hint === 'replica') {
        seen.count('no read')
        return undefined
      }
      for (const role of ['postgres', 'fuzz'] as const) {
        const finding = await compare(text, role, primary, standby, seen)
        if (finding !== undefined) return finding
      }
      return undefined
    },
    async close() {
      await Promise.all([primary.close(), standby.close()])
      await cluster.close()
    },
  }
}

async function compare(
  text: string,
  role: string,
  primary: Observer,
  standby: Observer,
  seen: Tally,
): Promise<Finding | undefined> {
  const there = await primary.run(text, role)
  if (there.changes.length > 0) return changed(text, 'primary', there.changes)
  const here = await standby.run(text, role)
  if (here.changes.length > 0) return changed(text, 'standby', here.changes)
  const outcome = verdictOf(there.answer, here.answer)
  seen.count(outcome ?? 'trouble')
  if (outcome !== undefined) return undefined
  const { code, message } = here.answer
  return { kind: 'crash', message: `${text}\nis taken for a read, and fails on a standby only: ${code} ${message}` }
}

function verdictOf(primary: Answer, standby: Answer): string | undefined {
  if (standby.code === undefined) return 'reads'
  if (RERUN.test(standby.code)) return 'reads that are run again on the primary'
  if (standby.code === primary.code) return 'errors everywhere'
  return INCONCLUSIVE.test(standby.code) || INCONCLUSIVE.test(primary.code ?? '') ? 'inconclusive' : undefined
}

function changed(text: string, where: string, changes: readonly string[]): Finding {
  return { kind: 'accepted', message: `${text}\nis taken for a read, and on the ${where} it changes\n${changes.join('\n')}` }
}
