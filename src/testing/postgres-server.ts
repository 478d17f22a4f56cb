/** One PostgreSQL server of a test cluster: its configuration file, its process, its signals. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, closeSync, fstatSync, openSync, readFileSync, readSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigurationError } from '../core/errors.js'
import type { ServerUser } from './copy-tree.js'
import { ClusterStartError } from './errors.js'
import { freePort } from './free-port.js'
import type { PostgresBinaries } from './postgres-binaries.js'
import { childrenOf, isHalted, sendSignal } from './process-info.js'
import { until } from './until.js'

const LOG_TAIL_BYTES = 4_000
const PORT_ATTEMPTS = 20

/** What all servers of a cluster have in common. */
export interface ServerEnvironment {
  readonly directory: string
  readonly binaries: PostgresBinaries
  readonly user: ServerUser | undefined
  readonly settings: Readonly<Record<string, string>>
}

/** How long to try, and what calls it off. */
export interface Deadline {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

export class PostgresServer {
  readonly name: string
  readonly dataDirectory: string
  /** Settings of this server alone, on top of the cluster's; written by `start` and `reload`. */
  readonly settings = new Map<string, string>()
  /** Chosen at the first start; the same ever after. */
  port = 0
  frozen = false
  readonly #environment: ServerEnvironment
  readonly #logFile: string
  #process: ChildProcess | undefined

  constructor(name: string, environment: ServerEnvironment) {
    this.name = name
    this.dataDirectory = join(environment.directory, name)
    this.#environment = environment
    this.#logFile = join(environment.directory, `${name}.log`)
  }

  get running(): boolean {
    const child = this.#process
    return child?.pid !== undefined && child.exitCode === null && child.signalCode === null
  }

  /** Starts the server and waits until it answers queries. Throws `ClusterStartError` when it ends instead. */
  async start(deadline: Deadline): Promise<void> {
    const portIsFixed = this.port !== 0
    for (let attempt = 1; ; attempt++) {
      if (!portIsFixed) this.port = await freePort()
      const log = await this.#tryToStart(deadline)
      if (log === undefined) return
      // Somebody may have taken the port since we looked.
      const portWasTaken = log.includes('could not bind')
      if (portIsFixed || !portWasTaken || attempt === PORT_ATTEMPTS) throw new ClusterStartError(this.name, 'did not start', log)
    }
  }

  /** Writes changed settings and makes the server read them. Those that need a restart wait for one. */
  reload(): void {
    this.#writeConfiguration()
    this.#signal('SIGHUP')
  }

  /** Fast shutdown ends transactions and flushes; immediate shutdown is a crash of PostgreSQL (not of the machine). */
  async shutDown(mode: 'fast' | 'immediate', deadline: Deadline): Promise<void> {
    this.#signal(mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
    this.thaw()
    await until(() => !this.running, { ...deadline, describe: () => `"${this.name}" had shut down` })
  }

  /** Stops all processes of the server in their tracks. The system goes on accepting connections for it. */
  async freeze(deadline: Deadline): Promise<void> {
    this.frozen = true
    // The postmaster first: once it has stopped there will be no more children.
    this.#signal('SIGSTOP')
    await this.#untilHalted(deadline, () => [this.#process!.pid!])
    for (const pid of this.#children()) sendSignal(pid, 'SIGSTOP')
    await this.#untilHalted(deadline, () => this.#children())
  }

  thaw(): void {
    if (!this.frozen) return
    for (const pid of this.#children()) sendSignal(pid, 'SIGCONT')
    this.#signal('SIGCONT')
    this.frozen = false
  }

  async #untilHalted(deadline: Deadline, processes: () => number[]): Promise<void> {
    await until(() => processes().every(isHalted), { ...deadline, describe: () => `"${this.name}" was frozen` })
  }

  #children(): number[] {
    return this.running ? childrenOf(this.#process!.pid!) : []
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.running) sendSignal(this.#process!.pid!, signal)
  }

  /** Undefined when the server is ready, or what it logged when it ended. */
  async #tryToStart(deadline: Deadline): Promise<string | undefined> {
    this.#writeConfiguration()
    const { binaries, directory, user } = this.#environment
    const log = openSync(this.#logFile, 'a', 0o600)
    const logStart = fstatSync(log).size
    const child = spawn(binaries.postgres, ['-D', this.dataDirectory], {
      ...user,
      cwd: directory,
      env: serverEnvironment(),
      stdio: ['ignore', log, log],
      // Not in the terminal's foreground group: Ctrl-C is for the program that owns the cluster.
      detached: true,
    })
    closeSync(log)
    // A program that forgets to close the cluster can still end, and takes the cluster with it.
    child.unref()
    let spawnError: Error | undefined
    child.once('error', error => {
      spawnError = error
    })
    this.#process = child
    this.frozen = false
    const ended = () => spawnError !== undefined || !this.running
    const describe = () => `"${this.name}" was ready (its log ends with:\n${readTail(this.#logFile, logStart)}\n)`
    try {
      await until(() => ended() || this.#isReady(), { ...deadline, describe })
    } catch (error) {
      this.#signal('SIGQUIT')
      throw error
    }
    return ended() ? (spawnError?.message ?? readTail(this.#logFile, logStart)) : undefined
  }

  /** The postmaster keeps its pid in the first line of its lock file and its state in the eighth. */
  #isReady(): boolean {
    try {
      const lines = readFileSync(join(this.dataDirectory, 'postmaster.pid'), 'utf8').split('\n')
      return lines[0] === String(this.#process?.pid) && lines[7]?.trim() === 'ready'
    } catch {
      return false
    }
  }

  #writeConfiguration(): void {
    const settings = { ...this.#environment.settings, ...Object.fromEntries(this.settings), port: String(this.port) }
    const text = Object.entries(settings).map(([name, value]) => `${name} = ${quote(value)}\n`)
    writeAs(this.#environment.user, join(this.dataDirectory, 'postgresql.conf'), text.join(''))
  }
}

/** Writes a file in a directory that another user controls: never through a link that that user may have put there. */
export function writeAs(user: ServerUser | undefined, path: string, text: string): void {
  const next = `${path}.next`
  rmSync(next, { force: true })
  writeFileSync(next, text, { flag: 'wx', mode: 0o600 })
  if (user) chownSync(next, user.uid, user.gid)
  renameSync(next, path)
}

/** The environment of servers and `initdb`: without PGPORT, PGSSLMODE and the like, and with messages in English. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name))
  return { ...Object.fromEntries(kept), LC_ALL: 'C' }
}

/** Checks the settings that a user of the kit gives. */
export function checkSettings(settings: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(settings)) {
    if (!/^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$/i.test(name)) {
      throw new ConfigurationError(`settings: "${name}" is not the name of a PostgreSQL setting.`)
    }
    if (['port', 'listen_addresses', 'unix_socket_directories', 'primary_conninfo'].includes(name.toLowerCase())) {
      throw new ConfigurationError(`settings: ${name} is set by startCluster() itself. Leave it out.`)
    }
  }
}

function quote(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''").replaceAll('\n', '\\n')}'`
}

function readTail(path: string, from: number): string {
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    const start = Math.max(from, size - LOG_TAIL_BYTES)
    const buffer = Buffer.alloc(Math.max(0, size - start))
    readSync(file, buffer, 0, buffer.length, start)
    return buffer.toString('utf8').trim()
  } finally {
    closeSync(file)
  }
}
