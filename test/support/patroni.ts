/**
 * A Patroni cluster of a test's own: etcd and three PostgreSQL nodes, each with the Patroni that runs it, from Debian's
 * packages. Real processes on free ports, in a directory that goes with them.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import pg from 'pg'
import { freePort } from '../../src/testing/free-port.js'
import type { ServerUser } from '../../src/testing/index.js'
import { childrenOf, commandLine, isHalted, sendSignal } from '../../src/testing/process-info.js'
import { createWorkspace, type Workspace } from '../../src/testing/workspace.js'
import { until } from './database.js'

const POSTGRES = '/usr/lib/postgresql/15/bin'
const NODES = ['node-1', 'node-2', 'node-3'] as const
const START_TIMEOUT_MS = 50_000
const START_ATTEMPTS = 3
const LOG_TAIL = 3_000
const USER: ServerUser | undefined = process.geteuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined

/** Seconds. The least that Patroni takes: `ttl` must cover a turn of its loop and two retries. Newer ones make 20 of a shorter `ttl`. */
const TIMES = { ttl: 7, loop_wait: 1, retry_timeout: 3 }

const path = (process.env.PATH ?? '').split(delimiter)
const onPath = (name: string) => path.map(directory => join(directory, name)).find(existsSync)
const programs = {
  patroni: onPath('patroni'),
  etcd: onPath('etcd'),
  // Ends what it starts when the test's own process is killed.
  setpriv: onPath('setpriv'),
  'PostgreSQL 15': ['postgres', 'initdb', 'pg_basebackup', 'pg_rewind'].every(name => existsSync(join(POSTGRES, name)))
    ? join(POSTGRES, 'postgres')
    : undefined,
}
const missing = Object.entries(programs).flatMap(([name, found]) => (found === undefined ? [name] : []))

/** Why there can be no Patroni here; `undefined`: there can. */
export const patroniMissing =
  missing.length === 0
    ? undefined
    : `SKIPPED: missing: ${missing.join(', ')} (of Debian's packages); run: npm run setup:servers (as root, on Debian)`

export type NodeName = (typeof NODES)[number]

/** A node as Patroni sees it. */
export interface Member {
  readonly name: NodeName
  readonly role: string
  readonly state: string
  readonly timeline: number
}

interface Ports {
  readonly postgres: number
  readonly api: number
}

export async function startPatroni(): Promise<PatroniCluster> {
  for (let attempt = 1; ; attempt++) {
    const cluster = await PatroniCluster.create()
    try {
      await cluster.startAll()
      return cluster
    } catch (error) {
      await cluster.close()
      // Somebody else may have taken a port meanwhile.
      if (!/address already in use/i.test(String(error)) || attempt === START_ATTEMPTS) throw error
    }
  }
}

/** Answers to one query on a connection of its own. */
export async function ask<R extends pg.QueryResultRow>(url: string, text: string, values: unknown[] = []): Promise<R[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    return (await client.query<R>(text, values)).rows
  } finally {
    await client.end().catch(() => {})
  }
}

export class PatroniCluster {
  readonly nodes = NODES
  readonly #workspace: Workspace
  readonly #ports: ReadonlyMap<NodeName, Ports>
  readonly #etcd: { readonly client: number; readonly peer: number }
  /** Everything that was started here and runs; each leads a process group. */
  readonly #processes: Map<string, ChildProcess>
  readonly #killAll: () => void

  private constructor(workspace: Workspace, ports: readonly number[], processes: Map<string, ChildProcess>, killAll: () => void) {
    this.#workspace = workspace
    this.#ports = new Map(NODES.map((node, i) => [node, { postgres: ports[2 * i]!, api: ports[2 * i + 1]! }]))
    this.#etcd = { client: ports[6]!, peer: ports[7]! }
    this.#processes = processes
    this.#killAll = killAll
  }

  static async create(): Promise<PatroniCluster> {
    const ports = new Set<number>()
    while (ports.size < 2 * NODES.length + 2) ports.add(await freePort())
    const processes = new Map<string, ChildProcess>()
    const killAll = () => {
      for (const { pid } of processes.values()) if (pid !== undefined) killGroup(pid)
    }
    // Before the workspace's own handler, which ends the PostgreSQL servers: nobody is to start them again.
    process.on('exit', killAll)
    return new PatroniCluster(await createWorkspace(), [...ports], processes, killAll)
  }

  async startAll(): Promise<void> {
    await this.#startEtcd()
    for (const node of NODES) {
      this.#makeDirectory(node)
      this.start(node)
    }
    await this.#until(() => this.#isWhole(), 'the cluster is whole')
  }

  url(node: NodeName): string {
    return `postgres://postgres@127.0.0.1:${this.#ports.get(node)!.postgres}/postgres`
  }

  /** What the first Patroni to answer says of all of them; nothing when none does. */
  async members(): Promise<readonly Member[]> {
    for (const { api } of this.#ports.values()) {
      const answer = await fetch(`http://127.0.0.1:${api}/cluster`).catch(() => undefined)
      if (answer?.ok) return ((await answer.json()) as { members: Member[] }).members
    }
    return []
  }

  async leader(): Promise<NodeName> {
    const leader = (await this.members()).find(isLeader)
    if (leader === undefined) throw new Error('Patroni knows no leader')
    return leader.name
  }

  /** A planned change of the leader; resolves when Patroni says that it has happened. */
  async switchover(leader: NodeName, candidate: NodeName): Promise<void> {
    const address = `http://127.0.0.1:${this.#ports.get(leader)!.api}/switchover`
    const answer = await fetch(address, { method: 'POST', body: JSON.stringify({ leader, candidate }) })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`Patroni did not switch over (${answer.status} ${text})\n${this.#logs()}`)
  }

  /** Starts Patroni, which starts PostgreSQL in the role that is right for it. */
  start(node: NodeName): void {
    this.#spawn(node, programs.patroni!, join(this.#directory(node), 'patroni.json'))
  }

  /** Kills Patroni and every process of PostgreSQL outright. */
  async kill(node: NodeName): Promise<void> {
    await this.#end(node)
    await this.killPostgres(node)
  }

  async killPostgres(node: NodeName): Promise<void> {
    const postmaster = this.#postmaster(node)
    if (postmaster === undefined) return
    // Once it has stopped there will be no more children.
    sendSignal(postmaster, 'SIGSTOP')
    await until(() => isHalted(postmaster), `the postmaster of ${node} has stopped`)
    const all = [postmaster, ...childrenOf(postmaster)]
    for (const pid of all) sendSignal(pid, 'SIGKILL')
    await until(() => all.every(pid => commandLine(pid) === ''), `${node} has ended`)
    await this.#end(`postgres of ${node}`)
  }

  /** Starts PostgreSQL as it was left, as if there were no Patroni. */
  startPostgres(node: NodeName): void {
    this.#spawn(`postgres of ${node}`, programs['PostgreSQL 15']!, '-D', join(this.#directory(node), 'data'))
  }

  /** From now on the node sends its standbys nothing of what it writes. */
  async holdReplication(node: NodeName): Promise<void> {
    const senders = await ask<{ pid: number }>(this.url(node), 'SELECT pid FROM pg_stat_replication')
    for (const { pid } of senders) sendSignal(pid, 'SIGSTOP')
    await until(() => senders.every(({ pid }) => isHalted(pid)), `${node} has stopped sending`)
  }

  /**
   * There is a leader, and it sends to both standbys. Asked of the leader: Patroni says that a standby is running before
   * the leader has made its slot, and one that streams nothing is either refused as a candidate or promoted without what
   * was written so far.
   */
  async #isWhole(): Promise<boolean> {
    const members = await this.members()
    const leader = members.find(isLeader)
    if (leader === undefined || members.filter(isStreaming).length !== NODES.length - 1) return false
    const streams = `SELECT count(*)::int AS n FROM pg_stat_replication WHERE state = 'streaming'`
    return (await ask<{ n: number }>(this.url(leader.name), streams))[0]!.n === NODES.length - 1
  }

  async close(): Promise<void> {
    await Promise.all([...this.#processes.keys()].map(name => this.#end(name)))
    await this.#workspace.remove()
    process.off('exit', this.#killAll)
  }

  async #startEtcd(): Promise<void> {
    const directory = this.#directory('etcd')
    mkdirSync(directory, { mode: 0o700 })
    if (USER !== undefined) chownSync(directory, USER.uid, USER.gid)
    const client = `http://127.0.0.1:${this.#etcd.client}`
    const peer = `http://127.0.0.1:${this.#etcd.peer}`
    const flags = {
      name: 'etcd',
      'data-dir': join(directory, 'data'),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': `etcd=${peer}`,
    }
    this.#spawn('etcd', programs.etcd!, ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`))
    const isHealthy = async () => (await fetch(`${client}/health`).catch(() => undefined))?.ok === true
    await this.#until(isHealthy, 'etcd is healthy')
  }

  #makeDirectory(node: NodeName): void {
    const directory = this.#directory(node)
    const file = join(directory, 'patroni.json')
    mkdirSync(directory, { mode: 0o700 })
    // JSON is YAML.
    writeFileSync(file, JSON.stringify(this.#configuration(node)))
    if (USER === undefined) return
    for (const each of [directory, file]) chownSync(each, USER.uid, USER.gid)
  }

  #configuration(node: NodeName) {
    const ports = this.#ports.get(node)!
    const [api, postgres] = [`127.0.0.1:${ports.api}`, `127.0.0.1:${ports.postgres}`]
    return {
      scope: 'tidemark',
      name: node,
      restapi: { listen: api, connect_address: api },
      etcd3: { host: `127.0.0.1:${this.#etcd.client}` },
      bootstrap: {
        dcs: { ...TIMES, postgresql: { use_pg_rewind: true, use_slots: true } },
        initdb: [{ encoding: 'UTF8' }, { auth: 'trust' }, { locale: 'C' }, 'data-checksums', 'no-sync'],
      },
      postgresql: {
        listen: postgres,
        connect_address: postgres,
        bin_dir: POSTGRES,
        data_dir: join(this.#directory(node), 'data'),
        pgpass: join(this.#directory(node), 'pgpass'),
        authentication: { superuser: { username: 'postgres' }, replication: { username: 'postgres' } },
        basebackup: [{ checkpoint: 'fast' }, 'no-sync'],
        pg_hba: ['host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust'],
        // No machine crashes here.
        parameters: { unix_socket_directories: '', fsync: 'off', shared_buffers: '16MB', wal_retrieve_retry_interval: '200ms' },
      },
      watchdog: { mode: 'off' },
    }
  }

  #directory(name: string): string {
    return join(this.#workspace.directory, name)
  }

  #logFile(name: string): string {
    return join(this.#workspace.directory, `${name.replaceAll(' ', '-')}.log`)
  }

  #spawn(name: string, program: string, ...args: string[]): void {
    const log = openSync(this.#logFile(name), 'a', 0o600)
    const child = spawn(programs.setpriv!, ['--pdeathsig', 'KILL', program, ...args], {
      ...USER,
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', PYTHONUNBUFFERED: '1' },
      stdio: ['ignore', log, log],
      detached: true,
    })
    closeSync(log)
    child.on('error', () => {})
    child.unref()
    this.#processes.set(name, child)
  }

  async #end(name: string): Promise<void> {
    const child = this.#processes.get(name)
    if (child?.pid === undefined) return
    killGroup(child.pid)
    await until(() => child.exitCode !== null || child.signalCode !== null, `${name} has ended`)
    this.#processes.delete(name)
  }

  #postmaster(node: NodeName): number | undefined {
    const directory = join(this.#directory(node), 'data')
    const file = join(directory, 'postmaster.pid')
    const pid = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : 0
    return pid > 0 && commandLine(pid).includes(directory) ? pid : undefined
  }

  async #until(condition: () => Promise<boolean>, what: string): Promise<void> {
    await until(condition, what, START_TIMEOUT_MS).catch(error => {
      throw new Error(`${error.message}\n${this.#logs()}`)
    })
  }

  #logs(): string {
    const logs = ['etcd', ...NODES].map(name => [name, this.#logFile(name)] as const).filter(([, file]) => existsSync(file))
    return logs.map(([name, file]) => `--- ${name}\n${readFileSync(file, 'utf8').slice(-LOG_TAIL)}`).join('\n')
  }
}

/** Newer Patronis say `primary` and `streaming`. */
function isLeader({ role, state }: Member): boolean {
  return /^(leader|master|primary)$/.test(role) && state === 'running'
}

function isStreaming({ role, state }: Member): boolean {
  return role === 'replica' && /^(running|streaming)$/.test(state)
}

function killGroup(leader: number): void {
  sendSignal(-leader, 'SIGKILL')
}
