import type { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { ConfigurationError, loadPeer } from '../core/errors.js'
import { listen } from '../core/events.js'
import { BUCKETS_MS } from '../core/histogram.js'
import type { Observed } from '../core/observed.js'
import { ADDED_LATENCY, MEASURES, type Measure } from './measures.js'

export interface PrometheusOptions {
  /** Default: prom-client's global registry. */
  readonly register?: Registry
}

/** What was started, and the way to end it. */
export interface Exporter {
  /** Takes this database's series out. Idempotent. */
  close(): void
}

/** The databases that a registry exports; metrics of one name can be registered only once. */
const exported = new WeakMap<Registry, Set<Observed>>()

/**
 * Exports everything that a database counts to Prometheus, with the label `db`. Several databases may share a registry, each by
 * a name of its own; rejects with {@link ConfigurationError} otherwise. Needs `prom-client` (an optional peer); rejects with
 * `MissingPeerError` without it. Series are read when they are scraped; only the histogram of added latency costs something
 * per read.
 */
export async function prometheus(db: Observed, options: PrometheusOptions = {}): Promise<Exporter> {
  const client = await loadPeer(() => import('prom-client'), 'prom-client', 'export metrics to Prometheus')
  const register = options.register ?? client.register
  const known = exported.get(register)
  const databases = known ?? new Set<Observed>()
  // Events know a database by its name: both would count what either does, into the same series.
  if ([...databases].some(({ name }) => name === db.name)) {
    throw new ConfigurationError(
      `this registry exports a database named "${db.name}" already. Give each a name of its own, or close the other's exporter first`,
    )
  }
  exported.set(register, databases)
  for (const measure of MEASURES) {
    // Once; and again when the application has cleared its registry since.
    if (known === undefined || register.getSingleMetric(nameOf(measure)) === undefined) {
      registerMeasure(measure, databases, client, register)
    }
  }
  const name = prometheusName(ADDED_LATENCY.name, ADDED_LATENCY.unit, 'histogram')
  const histogram =
    (register.getSingleMetric(name) as Histogram<'db'> | undefined) ??
    new client.Histogram({
      name,
      help: ADDED_LATENCY.help,
      labelNames: ['db'],
      buckets: BUCKETS_MS.map(ms => ms / 1_000),
      registers: [register],
    })
  databases.add(db)
  const own = histogram.labels({ db: db.name })
  const unlisten = listen(db.name, { 'tidemark:read': ({ waitedMs }) => own.observe(waitedMs / 1_000) })
  return {
    close() {
      unlisten()
      if (databases.delete(db)) histogram.remove({ db: db.name })
    },
  }
}

function registerMeasure(
  measure: Measure,
  databases: ReadonlySet<Observed>,
  client: typeof import('prom-client'),
  register: Registry,
): void {
  const Metric = measure.kind === 'counter' ? client.Counter : client.Gauge
  new Metric({
    name: nameOf(measure),
    help: measure.help,
    labelNames: ['db', ...measure.labels],
    registers: [register],
    // Counters that are read, not counted: what is scraped is the snapshot's number.
    collect() {
      const metric = this as Counter | Gauge
      metric.reset()
      for (const db of databases) {
        for (const [value, labels] of measure.samples(db, db.stats())) metric.inc({ db: db.name, ...labels }, value)
      }
    },
  })
}

function nameOf({ name, unit, kind }: Measure): string {
  return prometheusName(name, unit, kind)
}

/** As in Prometheus' guide "Metric and label naming". */
export function prometheusName(name: string, unit: string, kind: 'counter' | 'gauge' | 'histogram'): string {
  const base = name.replaceAll('.', '_')
  const withUnit = unit === 's' ? `${base}_seconds` : unit === 'By' ? `${base}_bytes` : base
  return kind === 'counter' ? `${withUnit}_total` : withUnit
}
