export { NoPrimaryError } from '../../core/execution/no-primary-error.js'
export type { NodeAddress, NodeOptions, TidemarkConfig } from './config.js'
export { type Eventual, Tidemark, tidemark } from './database.js'
export { endOfLastRecord, formatLsn, parseLsn } from './lsn.js'
export { NeedsPrimaryError } from './pool/needs-primary-error.js'
export type { RoutedPool } from './pool/routed-pool.js'
export {
  type PostgresTokenStoreFactory,
  type PostgresTokenStoreOptions,
  type PrimaryQuery,
  postgresTokenStore,
} from './postgres-token-store.js'
export { PostgresSession, type QueryOptions, RolledBackError, type Transaction, type TransactionOptions } from './session.js'
export type { NodeStatus } from './status.js'
