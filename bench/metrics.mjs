// What it costs to be observed: the fenced read with nobody listening, with what `db.stats()` counts (always on), and with
// everything exported to Prometheus and OpenTelemetry as well (no SDK: what an SDK does with it is the SDK's).
import diagnostics from 'node:diagnostics_channel'
import { syncBuiltinESMExports } from 'node:module'
import { openTelemetry, prometheus } from '../dist/observe/index.js'
import { ratios } from './measure.mjs'

const listeners = []

/** Before the database is made: writes down who listens, so that they can be sent away for a while. */
export function recordListeners() {
  const { subscribe } = diagnostics
  diagnostics.subscribe = (name, listener) => {
    listeners.push([name, listener])
    subscribe(name, listener)
  }
  syncBuiltinESMExports()
}

/** Ratios to the fenced read as it is by default, with `db.stats()`. */
export async function measureMetrics(db, read, { quick, progress }) {
  const variants = {
    stats: read,
    exported: { work: read, enter: () => exportAll(db) },
    silent: { work: read, enter: silence },
  }
  const result = {}
  for (const inFlight of [1, 16]) {
    const settings = { inFlight, rounds: quick ? 7 : 21, roundMs: quick ? 200 : 300, progress }
    result[inFlight] = await ratios(variants, settings)
  }
  return result
}

async function exportAll(db) {
  const exporters = [await prometheus(db), await openTelemetry(db)]
  return () => {
    for (const exporter of exporters) exporter.close()
  }
}

function silence() {
  const silenced = listeners.filter(([name, listener]) => diagnostics.unsubscribe(name, listener))
  return () => {
    for (const [name, listener] of silenced) diagnostics.channel(name).subscribe(listener)
  }
}
