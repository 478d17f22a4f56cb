// A cluster to try the examples on: a primary and a replica that lags. Needs nothing but this package's development dependencies.
import { startCluster } from 'tidemark/testing'

const cluster = await startCluster({ replicas: 1 })
await cluster.query(
  'primary',
  'create table photos (id int generated always as identity primary key, author text not null, caption text not null)',
)
await cluster.caughtUp()
await cluster.lag('replica-1', 2_000)

console.log(`export PRIMARY_URL=${cluster.url('primary')}`)
console.log(`export REPLICA_URL=${cluster.url('replica-1')}`)
console.log('export TIDEMARK_SECRET=only-for-trying-things-out')
console.log('# Paste these lines into another terminal. Ctrl-C ends the cluster and removes it.')

// An open cluster does not keep the process alive; this does.
setInterval(() => {}, 60_000)
