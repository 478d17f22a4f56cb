import { type Tidemark, type TidemarkConfig, tidemark } from '../../src/engines/postgres/index.js'
import type { Cluster } from '../../src/testing/index.js'

export const SECRET = 'a secret that only the tests know'

/** A database on all nodes of a test cluster, named as the cluster names them. */
export function openDatabase(cluster: Cluster, config: Partial<TidemarkConfig> = {}): Promise<Tidemark> {
  return tidemark({
    nodes: cluster.nodes.map(name => ({ name, url: cluster.url(name) })),
    secret: SECRET,
    onWarning: () => {},
    ...config,
  })
}

/** Polls until `condition` holds; fails the test otherwise. */
export async function until(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

export function portOf(url: string): number {
  return Number(new URL(url).port)
}

export function withPort(url: string, port: number): string {
  const changed = new URL(url)
  changed.port = String(port)
  return changed.href
}
