// What the engine contract needs to know of this engine.
import type { Engine } from 'tidemark/engine'
import type { ContractCluster, EngineUnderTest } from 'tidemark/testing'
import { MemoryClient, type MemoryLease, type MemoryNode, type MemorySpec, memoryEngine } from './memory-engine.js'
import { MemoryServer } from './memory-server.js'

type Contract = ContractCluster<MemoryLease, MemorySpec, MemoryNode>

export function memoryUnderTest(
  engine: Engine<MemorySpec, MemoryNode> = memoryEngine(),
): EngineUnderTest<MemoryLease, MemorySpec, MemoryNode> {
  return {
    name: 'in memory',
    capabilities: {
      restart: true,
      rebuild: true,
      promotion: true,
      history: true,
      asynchronousCommit: 'nothing is durable here, so no commit is less so than others',
      boundary: 'a position is a number of entries: there is nothing in between',
      unknownPosition: true,
      balanced: true,
      lostAnswer: true,
      silence: true,
      connectionCount: true,
    },
    start: async () => memoryCluster(engine),
  }
}

function memoryCluster(engine: Engine<MemorySpec, MemoryNode>): Contract {
  const primary = new MemoryServer('memory')
  const servers = new Map([
    ['a', primary],
    ['b', new MemoryServer('memory', primary)],
    ['c', new MemoryServer('memory', primary)],
  ])
  const server = (name: string) => servers.get(name)!
  const applied = (name: string) => server(name).where().applied
  return {
    primary: 'a',
    replicas: ['b', 'c'],
    engine,
    spec: id => ({ id, servers: [server(id)] }),
    client(executor) {
      const client = new MemoryClient(executor)
      return {
        write: (session, key, value) => client.put(session, key, value),
        read: (scope, key, options) => client.get(scope, key, options),
      }
    },
    show: async (node, key) => server(node).get(key),
    async pause(node) {
      server(node).paused = true
    },
    async resume(node) {
      server(node).paused = false
    },
    async caughtUp(only) {
      for (const node of only === undefined ? ['b', 'c'] : [only]) {
        while (!server(node).paused && applied(node) < applied('a')) await new Promise(resolve => setTimeout(resolve, 1))
      }
    },
    hang: ({ connection }) => connection.send(() => new Promise(() => {})),
    async close() {
      for (const each of servers.values()) each.stop()
    },
    async restart(node) {
      server(node).restart()
    },
    async rebuild(node, meanwhile) {
      const older = server(node).copy()
      await meanwhile()
      server(node).paused = true
      server(node).restart(older)
    },
    async isolate(node) {
      server(node).upstream = undefined
    },
    async promote(node) {
      for (const [name, each] of servers) if (name !== 'a') each.upstream = server(node)
      server(node).promote()
    },
    async unsay(node) {
      server(node).knowsEpoch = false
    },
    async resay(node) {
      server(node).knowsEpoch = true
    },
    balanced: nodes => ({ id: 'balanced', balanced: true, servers: nodes.map(server) }),
    async deafen(node) {
      for (const connection of server(node).connections) connection.deaf = true
    },
    async disconnect(node) {
      server(node).disconnect()
    },
    async freeze(node) {
      server(node).frozen = true
    },
    async thaw(node) {
      server(node).frozen = false
    },
    connections: async node => server(node).connections.size,
  }
}
