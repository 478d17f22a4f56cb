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
  const byDefault = [...listeners]
  // Made once, as in a service: what is measured is not how exporters come up.
  const exporters = [await prometheus(db), await openTelemetry(db)]
  const exporting = listeners.slice(byDefault.length)
  unsubscribe(exporting)
  const variants = {
    stats: read,
    exported: {
      work: read,
      enter() {
        subscribe(exporting)
        return () => unsubscribe(exporting)
      },
    },
    silent: {
      work: read,
      enter() {
        const silenced = unsubscribe(byDefault)
        return () => subscribe(silenced)
      },
    },
  }
  const result = {}
  try {
    for (const inFlight of [1, 16]) {
      const settings = { inFlight, rounds: quick ? 7 : 41, roundMs: 200, progress }
      result[inFlight] = await ratios(variants, settings)
    }
  } finally {
    for (const exporter of exporters) exporter.close()
  }
  return result
}

/** Those that did listen. */
function unsubscribe(those) {
  return those.filter(([name, listener]) => diagnostics.unsubscribe(name, listener))
}

function subscribe(those) {
  for (const [name, listener] of those) diagnostics.channel(name).subscribe(listener)
}
