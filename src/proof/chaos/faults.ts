/** What each fault does, and how it ends. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from '../../testing/cluster.js'
import { promote } from './promotion.js'
import type { Router } from './routers.js'
import type { Scene } from './scene.js'
import type { FaultKind, PlannedFault, Target } from './schedule.js'

/** Resolves when the fault is in force, to what ends it. */
type Fault = (scene: Scene, plan: PlannedFault) => Promise<() => Promise<void>>

/** Twice as many as the pools of a router have connections to one node. */
const OCCUPIERS = 8

export const FAULTS: Readonly<Record<FaultKind, Fault>> = {
  kill: onNode(
    (cluster, node) => cluster.kill(node),
    (cluster, node) => cluster.start(node),
  ),
  freeze: onNode(
    (cluster, node) => cluster.freeze(node),
    (cluster, node) => cluster.thaw(node),
  ),
  pause: onNode(
    (cluster, node) => cluster.pause(node),
    (cluster, node) => cluster.resume(node),
  ),
  lag: onNode(
    (cluster, node, variant) => cluster.lag(node, 50 + Math.floor(variant * 1_000)),
    (cluster, node) => cluster.lag(node, 0),
  ),
  deafen: onNode(
    (cluster, node) => cluster.pauseReceiver(node),
    (cluster, node) => cluster.resumeReceiver(node),
  ),
  delay: onNode(
    (cluster, node, variant) => cluster.delay(node, 10 + Math.floor(variant * 200)),
    (cluster, node) => cluster.heal(node),
  ),
  cut: onNode(
    (cluster, node) => cluster.cut(node),
    (cluster, node) => cluster.heal(node),
  ),
  halfOpen: onNode(
    (cluster, node) => cluster.halfOpen(node),
    (cluster, node) => cluster.heal(node),
  ),
  promote: async (scene, plan) => {
    await promote(scene, plan)
    return async () => {}
  },
  rebuild: onNode(
    (cluster, node) => cluster.rejoin(node),
    async () => {},
  ),
  fillPools: async ({ routers, injected }, { target, variant }) => {
    const stop = occupy(routerOf(routers, target), variant < 0.5 ? 'primary' : 'replica')
    injected('fillPools')
    return stop
  },
  restartRouter: onRouter('SIGTERM'),
  killRouter: onRouter('SIGKILL'),
}

function onNode(
  begin: (cluster: Cluster, node: string, variant: number) => Promise<unknown>,
  end: (cluster: Cluster, node: string) => Promise<unknown>,
): Fault {
  return async ({ cluster, injected }, { kind, target, variant }) => {
    const node = nodeOf(cluster, target)
    await begin(cluster, node, variant)
    injected(kind)
    return async () => {
      await end(cluster, node)
    }
  }
}

function onRouter(signal: 'SIGTERM' | 'SIGKILL'): Fault {
  return async ({ routers, injected }, { kind, target }) => {
    const router = routerOf(routers, target)
    await router.stop(signal)
    injected(kind)
    return () => router.start()
  }
}

/** The role stays with the node for the round: whoever is killed as the primary is the one that is started again. */
export function nodeOf(cluster: Cluster, target: Target): string {
  if (target === 'primary') return cluster.primary
  return [...cluster.replicas].sort()[numberOf(target) - 1]!
}

function routerOf(routers: readonly Router[], target: Target): Router {
  return routers[numberOf(target) - 1]!
}

function numberOf(target: Target): number {
  return Number(target.split(' ')[1])
}

/** Keeps all connections of a router to a node busy until it is stopped. */
function occupy(router: Router, role: 'primary' | 'replica'): () => Promise<void> {
  let stopped = false
  const occupiers = Array.from({ length: OCCUPIERS }, async () => {
    while (!stopped) {
      // It is down, or cannot reach the node.
      await router.get(`/occupy/${role}`).catch(() => sleep(100))
    }
  })
  return async () => {
    stopped = true
    await Promise.all(occupiers)
  }
}
