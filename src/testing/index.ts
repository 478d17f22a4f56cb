/** The public testing kit: a real PostgreSQL cluster whose replicas lag, stop and fail when told to. */

export type { Cluster, PromoteOptions, TimeoutOption } from './cluster.js'
export type { ServerUser } from './copy-tree.js'
export { ClusterStartError, ClusterTimeoutError } from './errors.js'
export { CLUSTER_DEFAULTS, type StartClusterOptions, startCluster } from './start-cluster.js'
