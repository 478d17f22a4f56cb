import type { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { loadPeer } from '../core/errors.js'
import { listen } from '../core/events.js'
import { BUCKETS_MS } from '../core/histogram.js'
import type { Observed } from '../core/observed.js'
import { Exported } from './exported.js'
import { ADDED_LATENCY, MEASURES, type Measure, type Snapshot, snapshotOf } from './measures.js'

export interface PrometheusOptions {
  /** Default: prom-client's global registry. */
  readonly register?: Registry
}

/** What was started, and the way to end it. */
export interface Exporter {
  /** Takes this database's series out. Idempotent. */
  close(): void
}

const exported = new Exported<Registry>('registry')

/**
 * Exports everything that a database counts to Prometheus, with the label `db`. Several databases may share a registry, each by
 * a name of its own; rejects with `ConfigurationError` otherwise. Needs `prom-client` (an optional peer); rejects with
 * `MissingPeerError` without it. Series are read when they are scraped; only the histogram of added latency costs something
 * per read.
 */
export async function prometheus(db: Observed, options: PrometheusOptions = {}): Promise<Exporter> {
  const client = await loadPeer(() => import('prom-client'), 'prom-client', 'export metrics to Prometheus')
  const register = options.register ?? client.register
  const isNew = exported.of(register) === undefined
  const snapshots = snapshotsOf(register)
  for (const measure of MEASURES) {
    // Metrics of one name can be registered only once; and again when the application has cleared its registry since.
    if (isNew || register.getSingleMetric(nameOf(measure)) === undefined) registerMeasure(measure, snapshots, client, register)
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
  const leave = exported.add(register, db)
  const own = histogram.labels({ db: db.name })
  const unlisten = listen(db.name, { 'tidemark:read': ({ waitedMs }) => own.observe(waitedMs / 1_000) })
  return {
    close() {
      if (!leave()) return
      unlisten()
      histogram.remove({ db: db.name })
    },
  }
}

type Snapshots = () => ReadonlyMap<string, Snapshot>

/** By the database's name. A registry asks its metrics one after the other in one go: all of them are given the same. */
function snapshotsOf(register: Registry): Snapshots {
  let taken: ReadonlyMap<string, Snapshot> | undefined
  return () => {
    if (taken === undefined) {
      taken = new Map([...(exported.of(register) ?? [])].map(db => [db.name, snapshotOf(db)]))
      queueMicrotask(() => {
        taken = undefined
      })
    }
    return taken
  }
}

function registerMeasure(measure: Measure, snapshots: Snapshots, client: typeof import('prom-client'), register: Registry): void {
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
      for (const [db, snapshot] of snapshots()) {
        for (const [value, labels] of measure.samples(snapshot)) metric.inc({ db, ...labels }, value)
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
