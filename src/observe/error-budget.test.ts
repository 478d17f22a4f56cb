import { hasSubscribers } from 'node:diagnostics_channel'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigurationError } from '../core/errors.js'
import { type Events, listen, publish } from '../core/events.js'
import type { Observed, ObservedNode } from '../core/observed.js'
import { VirtualClock } from '../core/virtual-clock.js'
import { type Alert, type ErrorBudget, errorBudget } from './error-budget.js'

const MINUTE = 60_000

/** Only what a budget looks at; what it hears are real events. */
class Database implements Pick<Observed, 'name' | 'status'> {
  readonly name = 'shop'
  nodes: ObservedNode[] = []
  status() {
    return this.nodes
  }
}

function replica(region: string, stalenessMs: number | undefined, usable = true): ObservedNode {
  const rest = { balanced: false, applied: '0/1', behindBytes: 0, inFlight: 0, latencyMs: 1, problem: undefined }
  return { node: `${region}-1`, role: 'replica', usable, region, stalenessMs, ...rest }
}

describe('an error budget', () => {
  let clock: VirtualClock
  let db: Database
  let budget: ErrorBudget
  let alerts: Alert[]

  beforeEach(() => {
    clock = new VirtualClock()
    db = new Database()
    alerts = []
    budget = errorBudget(db as unknown as Observed, { clock, onAlert: alert => void alerts.push(alert) })
  })
  afterEach(() => budget.close())

  const read = (over: Partial<Events['tidemark:read']> = {}) =>
    publish('tidemark:read', () => ({
      db: 'shop',
      node: 'eu-1',
      rung: 'replica',
      fallback: undefined,
      wait: undefined,
      waitedMs: 0,
      guarantee: 'read-your-writes',
      possiblyLost: false,
      stalenessMs: 0,
      reroutes: 0,
      ...over,
    }))
  const canary = (over: Partial<Events['tidemark:canary']> = {}) =>
    publish('tidemark:canary', () => ({ db: 'shop', path: 'replica', violated: false, waitedMs: 0, ...over }))
  const shown = () => alerts.map(({ name, state, severity }) => `${name} ${state} ${severity}`)

  test('one violation among thousands of canaries is a page, and no read of another database counts', async () => {
    for (let at = 0; at < 1_000; at++) canary()
    canary({ db: 'blog', violated: true })
    canary({ failed: 'unreachable' })
    await clock.advance(MINUTE)
    expect(shown()).toEqual([])
    canary({ violated: true })
    await clock.advance(MINUTE)
    expect(shown()).toEqual(['violations firing page'])
    expect(budget.alerts.map(({ name }) => name)).toEqual(['violations'])
    expect(budget.status()[0]).toMatchObject({ name: 'violations', budget: 1e-6 })
    expect(budget.status()[0]!.left).toBeLessThan(-900)
  })

  test('reads that wait too long, and reads that fall back, each burn their own budget', async () => {
    for (let at = 0; at < 60; at++) {
      for (let i = 0; i < 10; i++) read({ waitedMs: i < 5 ? 21 : 20 })
      await clock.advance(MINUTE)
    }
    expect(shown()).toEqual(['addedLatency firing page'])
    for (let at = 0; at < 120; at++) {
      for (let i = 0; i < 10; i++) read({ fallback: 'behind' })
      await clock.advance(MINUTE)
    }
    // A little is a ticket first; and of what has ended, the days' budget still says so.
    expect(shown()).toEqual([
      'addedLatency firing page',
      'fallbackShare firing ticket',
      'fallbackShare firing page',
      'addedLatency firing ticket',
    ])
    expect(budget.status().map(({ burns }) => burns[0])).toEqual([undefined, 0, 20])
  })

  test('a read that is refused burns the budget of those that fall back', async () => {
    for (let at = 0; at < 60; at++) {
      for (let i = 0; i < 2; i++) read()
      for (let i = 0; i < 8; i++)
        publish('tidemark:refused', () => ({ db: 'shop', code: 'TIDEMARK_NOT_SERVED', waitedMs: 5_000 }))
      await clock.advance(MINUTE)
    }
    expect(shown()).toEqual(['fallbackShare firing page'])
    expect(budget.status().map(({ burns }) => burns[0])).toEqual([undefined, 0, 16])
  })

  test('a page is resolved once, some minutes after its cause has gone', async () => {
    budget.close()
    budget = errorBudget(db as unknown as Observed, { clock, everyMs: 5 * MINUTE, onAlert: alert => void alerts.push(alert) })
    canary({ violated: true })
    for (let at = 0; at < 75 * 12; at++) {
      canary()
      await clock.advance(5 * MINUTE)
    }
    expect(shown()).toEqual(['violations firing page', 'violations firing ticket', 'violations resolved ticket'])
    expect(budget.alerts).toEqual([])
  })

  test('a region that lags for half a minute, not one that hovers, and it has to catch up for as long', async () => {
    db.nodes = [replica('eu', 2_000), replica('us', 900)]
    await clock.advance(20_000)
    expect(shown()).toEqual([])
    await clock.advance(20_000)
    expect(shown()).toEqual(['regionLag eu firing page'])
    db.nodes = [replica('eu', 900), replica('us', 1_100)]
    await clock.advance(20_000)
    db.nodes = [replica('eu', 1_100), replica('us', 900)]
    await clock.advance(60_000)
    expect(shown()).toEqual(['regionLag eu firing page'])
    db.nodes = [replica('eu', 700), replica('us', 700)]
    await clock.advance(60_000)
    expect(shown()).toEqual(['regionLag eu firing page', 'regionLag eu resolved page'])
  })

  test('staleness that is not known is not fine; a node that is not used does not count', async () => {
    db.nodes = [replica('eu', undefined), replica('us', 90_000, false)]
    await clock.advance(60_000)
    expect(shown()).toEqual(['regionLag eu firing page'])
    expect(alerts[0]!.message).toContain('more than is known')
  })

  test('a peer counts as a replica does; an address that hides several servers never says where it is', async () => {
    db.nodes = [{ ...replica('eu', undefined), balanced: true }]
    await clock.advance(60_000)
    expect(shown()).toEqual([])
    db.nodes = [{ ...replica('eu', 5_000), role: 'peer' }]
    await clock.advance(60_000)
    expect(shown()).toEqual(['regionLag eu firing page'])
  })

  test('a callback that throws is warned about, and the next is called all the same', async () => {
    const failing = errorBudget(db as unknown as Observed, {
      clock,
      onAlert() {
        throw new Error('pager is down')
      },
    })
    db.nodes = [replica('eu', 5_000)]
    await clock.advance(60_000)
    expect(failing.alerts.map(({ name }) => name)).toEqual(['regionLag eu'])
    failing.close()
  })

  test('so is one that is asynchronous and rejects', async () => {
    const warned: unknown[] = []
    const unlisten = listen('shop', { 'tidemark:warning': ({ message, cause }) => warned.push([message, cause]) })
    const cause = new Error('pager is down')
    const failing = errorBudget(db as unknown as Observed, { clock, onAlert: () => Promise.reject(cause) })
    db.nodes = [replica('eu', 5_000)]
    await clock.advance(60_000)
    expect(warned).toEqual([['onAlert threw', cause]])
    failing.close()
    unlisten()
  })

  test('an objective that cannot be one is refused', () => {
    for (const objective of [{ violations: 0 }, { fallbackShare: 1 }, { regionLagMs: 0 }, { addedLatencyP99Ms: Number.NaN }]) {
      expect(() => errorBudget(db as unknown as Observed, { clock, objective })).toThrow(ConfigurationError)
    }
  })

  test('closed, it looks and listens no more', () => {
    budget.close()
    expect(clock.pendingTimers).toBe(0)
    canary({ violated: true })
    budget.look()
    expect(alerts).toEqual([])
  })
})

test('one that cannot be is not left listening', () => {
  expect(() => errorBudget(new Database() as unknown as Observed, { everyMs: 0 })).toThrow(ConfigurationError)
  expect(hasSubscribers('tidemark:canary')).toBe(false)
})
