/** Simulated servers, network and logs in virtual time, and the engine on them: one seed, one world. */

export {
  SIMULATED_CLUSTER_DEFAULTS,
  SimulatedCluster,
  type SimulatedClusterOptions,
} from './cluster.js'
export type { Connection as SimulatedConnection } from './connection.js'
export { SimulatedLeaderlessCluster } from './leaderless-cluster.js'
export type { LinkDelay, NetworkOptions } from './network.js'
export type { ProcessClock, ProcessClockOptions } from './process-clock.js'
export { ConnectionLostError, PoolTimeoutError, ServerError, type ServerErrorCode } from './protocol.js'
export type { Random } from './random.js'
export type { DirectionOptions, ServerCluster, ServerClusterOptions } from './server-cluster.js'
export { SERVER_TIMES, type ServerState, type ServerTimes, type SimulatedServerSpec } from './server-process.js'
export {
  SimulatedDatabase,
  type SimulatedDatabaseConfig,
  type SimulatedEventual,
  simulatedDatabase,
} from './simulated-database.js'
export { SIMULATED_ENGINE_DEFAULTS, type SimulatedEngineOptions } from './simulated-engine.js'
export type { SimulatedNodeSpec } from './simulated-node.js'
export type {
  ReadOptions as SimulatedReadOptions,
  SimulatedSession,
  WriteOptions as SimulatedWriteOptions,
} from './simulated-session.js'
export { type RunOptions, Simulation } from './simulation.js'
export type { Row as SimulatedRow, WriteValues } from './statements.js'
export type { SimulatedTransaction, TransactionOptions as SimulatedTransactionOptions } from './transaction.js'
export type { Geometry, Version } from './wal.js'
