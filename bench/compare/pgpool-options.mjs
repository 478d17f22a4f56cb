// pgpool-II in front of the same servers, where it is installed: one address, statements balanced by its own parser.
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { POOL_SIZE, READ, WRITE } from './statements.mjs'

const PGPOOL = ['/usr/sbin/pgpool', '/usr/bin/pgpool', 'pgpool'].find(path => {
  try {
    execFileSync(path, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})

export const pgpoolMissing = PGPOOL === undefined ? 'pgpool-II is not installed (npm run setup:servers)' : undefined

function pgpool(mode) {
  return {
    name: `pgpool-II ${mode}`,
    why: `disable_load_balance_on_write = '${mode}', streaming replication mode, weight 0 for the primary; its CPU is a process of its own and not in cpuUs`,
    async open(urls) {
      const running = await start(urls, mode)
      const pool = new pg.Pool({ connectionString: running.url, max: POOL_SIZE * 2, idleTimeoutMillis: 0 }).on('error', () => {})
      return {
        // Without a name: pgpool balances a prepared statement when it is parsed, which would fix the node.
        read: async ({ id }) => (await pool.query(READ.text, [id])).rows[0],
        write: ({ id, version }) => pool.query(WRITE.text, [id, version]),
        async close() {
          await pool.end()
          await running.stop()
        },
      }
    },
  }
}

export const pgpoolOptions = PGPOOL === undefined ? [] : [pgpool('transaction'), pgpool('dml_adaptive')]

const START_ATTEMPTS = 5

async function start(urls, mode) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(urls, mode)
    } catch (error) {
      // Somebody else may have taken a port meanwhile.
      if (!/already in use/i.test(error.message) || attempt === START_ATTEMPTS) throw error
    }
  }
}

async function startOnce({ primary, replicas }, mode) {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-pgpool-'))
  chmodSync(directory, 0o755)
  const [port, pcpPort] = [await freePort(), await freePort()]
  writeFileSync(join(directory, 'pgpool.conf'), configuration({ primary, replicas }, { mode, port, pcpPort, directory }))
  for (const empty of ['pcp.conf', 'pool_hba.conf']) writeFileSync(join(directory, empty), '')
  // It answers the servers' SCRAM itself, so it has to know the password.
  const { username, password } = new URL(primary)
  writeFileSync(join(directory, 'pool_passwd'), `${username}:TEXT${decodeURIComponent(password)}\n`, { mode: 0o600 })
  const files = ['-f', join(directory, 'pgpool.conf'), '-F', join(directory, 'pcp.conf'), '-a', join(directory, 'pool_hba.conf')]
  const child = spawn(PGPOOL, ['-n', ...files], { stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr.on('data', chunk => {
    log = (log + chunk).slice(-4_000)
  })
  const stop = async () => {
    const ended = new Promise(resolve => (child.exitCode !== null ? resolve() : child.once('exit', resolve)))
    child.kill('SIGINT')
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await ended
    clearTimeout(timer)
    rmSync(directory, { recursive: true, force: true })
  }
  const url = new URL(primary)
  url.port = String(port)
  try {
    await answers(url.href, child, () => log)
  } catch (error) {
    await stop()
    throw error
  }
  return { url: url.href, stop }
}

function configuration({ primary, replicas }, { mode, port, pcpPort, directory }) {
  const backends = [primary, ...replicas].map(each => new URL(each))
  const { username, password, pathname } = backends[0]
  return `
backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = ${port}
pcp_port = ${pcpPort}
socket_dir = '${directory}'
pcp_listen_addresses = '127.0.0.1'
pcp_socket_dir = '${directory}'
pid_file_name = '${directory}/pgpool.pid'
logdir = '${directory}'
num_init_children = ${POOL_SIZE * 2 + 4}
max_pool = 1
load_balance_mode = on
statement_level_load_balance = on
disable_load_balance_on_write = '${mode}'
dml_adaptive_object_relationship_list = ''
sr_check_period = 1
sr_check_user = '${username}'
sr_check_password = '${decodeURIComponent(password)}'
pool_passwd = 'pool_passwd'
sr_check_database = '${pathname.slice(1)}'
delay_threshold = 0
health_check_period = 0
failover_on_backend_error = off
enable_pool_hba = off
${backends
  .map(
    ({ hostname, port: at }, index) => `
backend_hostname${index} = '${hostname}'
backend_port${index} = ${at}
backend_weight${index} = ${index === 0 ? 0 : 1}
backend_flag${index} = 'DISALLOW_TO_FAILOVER'
`,
  )
  .join('')}`
}

async function answers(url, child, log) {
  const deadline = Date.now() + 10_000
  for (;;) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.query('SELECT 1')
      return
    } catch (cause) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`pgpool does not answer: ${log()}`, { cause })
      await new Promise(resolve => setTimeout(resolve, 100))
    } finally {
      await client.end().catch(() => {})
    }
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer()
      .once('error', reject)
      .listen(0, '127.0.0.1', () => {
        const { port } = server.address()
        server.close(() => resolve(port))
      })
  })
}
