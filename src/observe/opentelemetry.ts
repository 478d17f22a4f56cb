import type { Attributes, BatchObservableCallback, Meter, Observable } from '@opentelemetry/api'
import { loadPeer } from '../core/errors.js'
import { type Events, listen } from '../core/events.js'
import { BUCKETS_MS } from '../core/histogram.js'
import type { Observed } from '../core/observed.js'
import { Exported } from './exported.js'
import { ADDED_LATENCY, MEASURES, snapshotOf } from './measures.js'
import type { Exporter } from './prometheus.js'

export interface OpenTelemetryOptions {
  /** Default: the meter `tidemark` of the global provider. */
  readonly meter?: Meter
  /** Whether the span that is active when a read is served is told how it was. Default true. */
  readonly spans?: boolean
}

const exported = new Exported<Meter>('meter')

/**
 * Exports everything that a database counts through OpenTelemetry's metrics API, and tells the active span of each read how it
 * was served: `tidemark.node`, `tidemark.rung`, `tidemark.guarantee`, `tidemark.waited_ms`, `tidemark.possibly_lost`.
 *
 * Attributes that the semantic conventions for databases name are named so (`db.system.name`); the database's own name is
 * `tidemark.db`, as it is no `db.namespace` of the server's. Several databases may share a meter, each by a name of its own; rejects
 * with `ConfigurationError` otherwise. Needs `@opentelemetry/api` (an optional peer); rejects with `MissingPeerError` without it.
 * Without an SDK the API does nothing, and costs next to nothing.
 */
export async function openTelemetry(db: Observed, options: OpenTelemetryOptions = {}): Promise<Exporter> {
  const api = await loadPeer(() => import('@opentelemetry/api'), '@opentelemetry/api', 'export metrics through OpenTelemetry')
  const meter = options.meter ?? api.metrics.getMeter('tidemark')
  const leave = exported.add(meter, db)
  const common: Attributes = { 'db.system.name': db.system, 'tidemark.db': db.name }
  const stopMetrics = observeMeasures(db, meter, common)

  const latency = meter.createHistogram(ADDED_LATENCY.name, {
    unit: ADDED_LATENCY.unit,
    description: ADDED_LATENCY.help,
    advice: { explicitBucketBoundaries: BUCKETS_MS.map(ms => ms / 1_000) },
  })
  const spans = options.spans ?? true
  const unlisten = listen(db.name, {
    'tidemark:read': outcome => {
      latency.record(outcome.waitedMs / 1_000, common)
      if (spans) api.trace.getActiveSpan()?.setAttributes(spanAttributes(outcome))
    },
  })
  return {
    close() {
      if (!leave()) return
      unlisten()
      stopMetrics()
    },
  }
}

/** One callback for all of them, so that one collection sees one snapshot. */
function observeMeasures(db: Observed, meter: Meter, common: Attributes): () => void {
  const instruments = MEASURES.map(measure => {
    const create = measure.kind === 'counter' ? 'createObservableCounter' : 'createObservableGauge'
    const { unit, help: description } = measure
    return { measure, observable: meter[create](measure.name, { unit, description }) as Observable }
  })
  const callback: BatchObservableCallback = result => {
    const snapshot = snapshotOf(db)
    for (const { measure, observable } of instruments) {
      for (const [value, labels] of measure.samples(snapshot)) result.observe(observable, value, { ...common, ...labels })
    }
  }
  const observables = instruments.map(({ observable }) => observable)
  meter.addBatchObservableCallback(callback, observables)
  return () => meter.removeBatchObservableCallback(callback, observables)
}

function spanAttributes(outcome: Events['tidemark:read']): Attributes {
  return {
    'tidemark.node': outcome.node,
    'tidemark.rung': outcome.rung,
    'tidemark.guarantee': outcome.guarantee,
    'tidemark.waited_ms': outcome.waitedMs,
    'tidemark.possibly_lost': outcome.possiblyLost,
  }
}
