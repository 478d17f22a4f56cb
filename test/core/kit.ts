/** What the unit tests of the core share. */
import { type ChannelListener, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { onTestFinished } from 'vitest'
import { Cluster } from '../../src/core/cluster.js'
import { lineageOf, type Observation } from '../../src/core/engine.js'
import type { Events } from '../../src/core/events.js'
import type { Node, NodeConfig } from '../../src/core/node.js'
import { Position } from '../../src/core/position.js'

export const SYSTEM = '7000000000000000001'
export const T1 = lineageOf(SYSTEM, 1)
export const T2 = lineageOf(SYSTEM, 2)
export const SECRET = 'a secret of enough bytes'

/** What a node answers to a question sent at `at` and answered 1 ms later; of one system, in its first history and life. */
export function answer(
  role: Observation['role'],
  applied: bigint | number | undefined,
  at: number,
  other: Partial<Observation> = {},
): Observation {
  return {
    sentAt: at,
    receivedAt: at + 1,
    role,
    system: SYSTEM,
    epoch: 1,
    incarnation: 'life 1',
    applied: applied === undefined ? undefined : BigInt(applied),
    ...other,
  }
}

/** A primary `p` and replicas `r1`, `r2`, … that have not been heard of yet. */
export function newCluster(replicas: number | readonly NodeConfig[] = 2, region?: string): Cluster {
  const configs = typeof replicas === 'number' ? Array.from({ length: replicas }, (_, i) => ({ id: `r${i + 1}` })) : replicas
  return new Cluster([{ id: 'p' }, ...configs], { region })
}

/** Of {@link newCluster}, all heard of at time 0: the primary at `at`, the replicas where they are said to be. */
export function clusterAt(at: bigint | number, ...applied: readonly (bigint | number)[]): Cluster {
  const cluster = newCluster(applied.length)
  cluster.observe(cluster.node('p'), answer('primary', at, 0))
  for (const [i, each] of applied.entries()) cluster.observe(cluster.node(`r${i + 1}`), answer('replica', each, 0))
  return cluster
}

/** The log of the peer of this name, in its first generation unless said otherwise. */
export const logOf = (name: string, generation = 1): string => lineageOf(`shop/${name}`, generation)

/** Up to there in each log; by the names of the peers that write them, or by lineage. */
export function vector(applied: Readonly<Record<string, bigint | number>>): Position {
  const lineage = (name: string) => (name.includes('/') ? name : logOf(name))
  return Position.of(Object.entries(applied).map(([name, offset]) => ({ lineage: lineage(name), offset: BigInt(offset) })))
}

/** What a peer answers that writes `log`, as {@link answer}. */
export function peerAnswer(
  log: string | undefined,
  applied: Position,
  at: number,
  other: Partial<Observation> = {},
): Observation {
  const peer = { log, applied }
  return {
    sentAt: at,
    receivedAt: at + 1,
    role: 'peer',
    system: 'shop',
    epoch: undefined,
    incarnation: `life of ${log}`,
    applied: undefined,
    peer,
    ...other,
  }
}

/** A leaderless cluster, all heard of at time 0: each peer in a region of its own name, and where it is said to be. */
export function peersAt(applied: Readonly<Record<string, Readonly<Record<string, bigint | number>>>>, region?: string): Cluster {
  const names = Object.keys(applied)
  const cluster = new Cluster(
    names.map(id => ({ id, region: id })),
    { region, topology: 'leaderless' },
  )
  for (const name of names) cluster.observe(cluster.node(name), peerAnswer(logOf(name), vector(applied[name]!), 0))
  return cluster
}

/** Everything published on a channel until the test ends. */
export function listen<K extends keyof Events>(name: K): Events[K][] {
  const heard: Events[K][] = []
  const listener: ChannelListener = message => heard.push(message as Events[K])
  subscribe(name, listener)
  onTestFinished(() => {
    unsubscribe(name, listener)
  })
  return heard
}

export const ids = (nodes: Iterable<Node>): string[] => [...nodes].map(node => node.id)
