/** The public testing kit: a real PostgreSQL cluster whose replicas and network lag, stop and fail when told to. */

export * from '../engines/simulated/index.js'
export type { Cluster } from './cluster.js'
export type { AddReplicaOptions, PromoteOptions, TimeoutOption, UrlOptions } from './cluster-options.js'
export type { ServerUser } from './copy-tree.js'
export type { ContractCase } from './engine-contract/contract-case.js'
export { ENGINE_CONTRACT, missingFor, runCase } from './engine-contract/engine-contract.js'
export type {
  Capabilities,
  Capability,
  ContractClient,
  ContractCluster,
  EngineUnderTest,
} from './engine-contract/engine-under-test.js'
export { type TestFramework, testEngine } from './engine-contract/test-engine.js'
export { ClusterStartError, ClusterTimeoutError } from './errors.js'
export { CHECK_DEFAULTS, type CheckOptions, checkHistory } from './history/check-history.js'
export { HistoryError } from './history/history-error.js'
export type {
  AskedGuarantee,
  FinalRecord,
  GaugeRecord,
  HistoryRecord,
  OperationRecord,
  ReadValue,
  VersionRecord,
  WrittenValue,
} from './history/record.js'
export type { HistoryCounts, HistoryReport, LostWrites, RuleReport, Verdict, Violation } from './history/report.js'
export { RULE_NAMES, RULES, type RuleName } from './history/rules.js'
export { CLUSTER_DEFAULTS, type StartClusterOptions, startCluster } from './start-cluster.js'
