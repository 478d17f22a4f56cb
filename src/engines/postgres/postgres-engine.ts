import type { Clock } from '../../core/clock.js'
import type { Engine } from '../../core/execution/engine.js'
import { DEFAULTS, type PostgresNodeSpec, type TidemarkConfig } from './config.js'
import type { Driver } from './driver.js'
import { rerouteReasonOf } from './driver-errors.js'
import { PostgresNode } from './postgres-node.js'
import { readTimelineHistory } from './timeline-history.js'

/** PostgreSQL, as the core's database uses it. An epoch is a timeline. */
export function postgresEngine(driver: Driver, clock: Clock, config: TidemarkConfig): Engine<PostgresNodeSpec, PostgresNode> {
  const connectTimeoutMs = config.connectTimeoutMs ?? DEFAULTS.connectTimeoutMs
  return {
    connect: (spec, cluster) => new PostgresNode(spec, cluster, driver, clock, connectTimeoutMs),
    rerouteReasonOf,
    async history({ spec }, timeline, timeoutMs) {
      const record = await readTimelineHistory(driver, spec.clientConfig, timeline, timeoutMs, clock)
      return record?.ancestors.map(({ timeline: epoch, ...at }) => ({ epoch, ...at }))
    },
  }
}
