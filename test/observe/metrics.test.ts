/** What is exported, held against what was done on a real cluster: by a real scrape, and by a real SDK. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { context, trace } from '@opentelemetry/api'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { MAX_NAMES, OTHER } from '../../src/core/stats.js'
import type { Tidemark } from '../../src/engines/postgres/index.js'
import { primary, replica, wait } from '../../src/index.js'
import { openTelemetry, prometheus } from '../../src/observe/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase } from '../support/database.js'

let cluster: Cluster
let db: Tidemark

beforeAll(async () => {
  cluster = await startCluster({ replicas: 1 })
  await cluster.query('primary', 'CREATE TABLE notes (id int PRIMARY KEY, text text)')
  await cluster.caughtUp()
})
afterAll(() => cluster?.close())

/** Does one thing of each kind, on a database of its own name, and says how many reads that were. */
async function work(name: string): Promise<Tidemark> {
  const opened = await openDatabase(cluster, { name, ladder: [replica(), wait({ budgetMs: 5_000 }), primary()] })
  const session = opened.session()
  await session.query('INSERT INTO notes VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET text = excluded.text', [name])
  await session.query('SELECT text FROM notes WHERE id = 1')
  await opened.session([session.token(), session.token()]).query('SELECT 1')
  opened.session('not a token')
  // Nobody knows where this user has written.
  await opened.session(undefined, { user: 'ada' }).query('SELECT 1')
  await cluster.pause('replica-1')
  try {
    const behind = opened.session(undefined, { ladder: [replica(), wait({ budgetMs: 30 }), primary()] })
    await behind.query('UPDATE notes SET text = $1 WHERE id = 1', ['paused'])
    await behind.query('SELECT text FROM notes WHERE id = 1')
  } finally {
    await cluster.resume('replica-1')
  }
  return opened
}

describe('stats', () => {
  test('count what was done', async () => {
    db = await work('counted')
    const { reads, tokens, writes, waits, addedLatency } = db.stats()
    expect(reads.total).toBe(4)
    expect(reads.byGuarantee).toEqual({ 'read-your-writes': 4 })
    expect(Object.values(reads.byRung).reduce((sum, each) => sum + each, 0)).toBe(4)
    expect(reads.byRung.primary).toBe(2)
    expect(reads.fallbacks).toEqual({ uncertain: 1, behind: 1 })
    expect(writes).toMatchObject({ certain: 2, uncertain: 0 })
    expect(tokens).toMatchObject({ accepted: 2, merged: 1, rejected: { malformed: 1 } })
    expect(waits['timed-out'] + waits.skipped).toBe(1)
    expect(addedLatency.count).toBe(4)
    await db.close()
    // Closed, it counts no more.
    const other = await work('counted')
    expect(db.stats().reads.total).toBe(4)
    await other.close()
  })

  test('names are bounded', async () => {
    db = await openDatabase(cluster, { name: 'bounded' })
    for (let i = 0; i < MAX_NAMES + 20; i++) {
      const rung = { ...primary(), name: `mine ${i}` }
      await db.session(undefined, { ladder: [rung] }).query('SELECT 1')
    }
    const { byRung } = db.stats().reads
    expect(Object.keys(byRung)).toHaveLength(MAX_NAMES + 1)
    expect(byRung[OTHER]).toBe(20)
    await db.close()
  })
})

/** `name{labels} value` lines of a scrape. */
function parse(text: string): Map<string, number> {
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return new Map(lines.map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]))
}

test('Prometheus scrapes the same numbers, of two databases in one registry', async () => {
  const register = new Registry()
  const [shop, blog] = [await work('shop'), await work('blog')]
  const late = await prometheus(blog, { register })
  const exporter = await prometheus(shop, { register })
  await shop.session().query('SELECT 1')
  const server = createServer((_, response) => {
    register.metrics().then(text => response.setHeader('content-type', register.contentType).end(text))
  }).listen(0)
  try {
    const scrape = async () => {
      const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`)
      return parse(await response.text())
    }
    const scraped = await scrape()
    const stats = shop.stats()
    for (const [rung, count] of Object.entries(stats.reads.byRung)) {
      expect(scraped.get(`tidemark_reads_total{db="shop",rung="${rung}",guarantee="read-your-writes"}`)).toBe(count)
    }
    expect(scraped.get('tidemark_read_fallbacks_total{db="shop",reason="behind"}')).toBe(1)
    expect(scraped.get('tidemark_tokens_rejected_total{db="blog",reason="malformed"}')).toBe(1)
    expect(scraped.get('tidemark_node_usable{db="shop",node="replica-1",region="",role="replica"}')).toBe(1)
    expect(scraped.get('tidemark_node_lag_bytes{db="shop",node="primary",region="",role="primary"}')).toBe(0)
    // Each series of a scrape is of the same moment.
    const taken = vi.spyOn(shop, 'stats')
    const looked = vi.spyOn(shop, 'status')
    await scrape()
    expect([taken.mock.calls.length, looked.mock.calls.length]).toEqual([1, 1])
    // Recorded read by read, so only what came after.
    expect(scraped.get('tidemark_read_added_latency_seconds_count{db="shop"}')).toBe(1)
    expect(scraped.get('tidemark_read_added_latency_seconds_bucket{le="0",db="shop"}')).toBe(1)
    // Read twice, counted once; and a database that is closed is exported no more.
    const counters = (all: Map<string, number>) => [...all].filter(([key]) => key.includes('_total{'))
    expect(counters(await scrape())).toEqual(counters(scraped))
    late.close()
    late.close()
    expect([...(await scrape()).keys()].filter(key => key.includes('db="blog"'))).toEqual([])
  } finally {
    server.close()
    exporter.close()
    await shop.close()
    await blog.close()
  }
})

test('a second database of one name is refused by a registry, since both would count what either does', async () => {
  const register = new Registry()
  const [first, second] = [await openDatabase(cluster, { name: 'twin' }), await openDatabase(cluster, { name: 'twin' })]
  try {
    const exporter = await prometheus(first, { register })
    await expect(prometheus(second, { register })).rejects.toThrow(/"twin" already/)
    await first.session().query('SELECT 1')
    expect(parse(await register.metrics()).get('tidemark_read_added_latency_seconds_count{db="twin"}')).toBe(1)
    // What an alert counts the growth of is there before it grows.
    expect(parse(await register.metrics()).get('tidemark_possibly_lost_total{db="twin",verdict="possibly-lost"}')).toBe(0)
    exporter.close()
    register.clear()
    const again = await prometheus(second, { register })
    expect(parse(await register.metrics()).get('tidemark_failovers_total{db="twin"}')).toBe(0)
    again.close()
  } finally {
    await first.close()
    await second.close()
  }
})

test("OpenTelemetry's reader collects the same numbers, and the active span is told", async () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const provider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })],
  })
  db = await work('otel')
  const telemetry = await openTelemetry(db, { meter: provider.getMeter('test') })
  const attributes: Record<string, unknown> = {}
  const { AsyncLocalStorageContextManager, span } = await tracing(attributes)
  context.setGlobalContextManager(AsyncLocalStorageContextManager)
  try {
    await context.with(trace.setSpan(context.active(), span), () => db.session().query('SELECT 1'))
    expect(attributes).toMatchObject({ 'tidemark.rung': 'replica', 'tidemark.node': 'replica-1', 'tidemark.waited_ms': 0 })
    await provider.forceFlush()
    const metrics = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(scope => scope.metrics))
    const points = (name: string) => metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? []
    const common = { 'db.system.name': 'postgresql', 'tidemark.db': 'otel' }
    const total = points('tidemark.reads').reduce((sum, { value }) => sum + (value as number), 0)
    expect(total).toBe(db.stats().reads.total)
    expect(points('tidemark.read.fallbacks')).toContainEqual(
      expect.objectContaining({ value: 1, attributes: { ...common, reason: 'behind' } }),
    )
    expect(points('tidemark.node.usable')).toHaveLength(2)
    expect(points('tidemark.read.added_latency')[0]).toMatchObject({ attributes: common, value: { count: 1, sum: 0 } })
  } finally {
    context.disable()
    telemetry.close()
    await provider.shutdown()
    await db.close()
  }
})

test('OpenTelemetry refuses a second database of one name on a meter, and takes one of another name', async () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const provider = new MeterProvider({ readers: [reader] })
  const meter = provider.getMeter('twins')
  const dbs = await Promise.all(['twin', 'twin', 'other'].map(name => openDatabase(cluster, { name })))
  const [first, second, other] = dbs as [Tidemark, Tidemark, Tidemark]
  const waited = async (name: string) => {
    exporter.reset()
    await provider.forceFlush()
    const metrics = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(scope => scope.metrics))
    const points = metrics.find(({ descriptor }) => descriptor.name === 'tidemark.read.added_latency')?.dataPoints ?? []
    return points
      .filter(({ attributes }) => attributes['tidemark.db'] === name)
      .map(({ value }) => (value as { count: number }).count)
  }
  try {
    const telemetry = await openTelemetry(first, { meter })
    await expect(openTelemetry(second, { meter })).rejects.toThrow(/this meter exports a database named "twin" already/)
    const others = await openTelemetry(other, { meter })
    await first.session().query('SELECT 1')
    await other.session().query('SELECT 1')
    expect([await waited('twin'), await waited('other')]).toEqual([[1], [1]])
    // Closed, its name is free.
    telemetry.close()
    telemetry.close()
    const again = await openTelemetry(second, { meter })
    await second.session().query('SELECT 1')
    expect(await waited('twin')).toEqual([2])
    again.close()
    others.close()
  } finally {
    await provider.shutdown()
    await Promise.all(dbs.map(db => db.close()))
  }
})

/** A context manager on Node's own storage, and a span that keeps what it is told. */
async function tracing(attributes: Record<string, unknown>) {
  const { AsyncLocalStorage } = await import('node:async_hooks')
  const { ROOT_CONTEXT } = await import('@opentelemetry/api')
  const storage = new AsyncLocalStorage<typeof ROOT_CONTEXT>()
  const manager = {
    active: () => storage.getStore() ?? ROOT_CONTEXT,
    with: (active: typeof ROOT_CONTEXT, fn: (...args: unknown[]) => unknown, thisArg?: unknown, ...args: unknown[]) =>
      storage.run(active, () => fn.call(thisArg, ...args)),
    bind: <T>(_: unknown, target: T) => target,
    enable() {
      return this
    },
    disable() {
      return this
    },
  }
  const { BasicTracerProvider } = await import('@opentelemetry/sdk-trace-base')
  const span = new BasicTracerProvider().getTracer('test').startSpan('request')
  const told = span.setAttributes.bind(span)
  span.setAttributes = more => {
    Object.assign(attributes, more)
    return told(more)
  }
  return { AsyncLocalStorageContextManager: manager as never, span }
}
