/**
 * The directory that a test cluster lives in, and who removes it: `close()`, the end of this process, or, if this process
 * is killed with SIGKILL, the next process of the same user that starts a cluster.
 */
import { chmodSync, existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { allProcesses, childrenOf, commandLine, hasEnded, ownIdentity, type ProcessIdentity, sendSignal } from './process-info.js'
import { until } from './until.js'

const PREFIX = 'tidemark-cluster-'
const OWNER_FILE = 'owner.json'
/** How long a postmaster may take to end its children before it is killed outright. */
const SHUTDOWN_MS = 5_000
/** A directory without a whole owner file is being made or removed, unless it is older than this. */
const UNFINISHED_MS = 3_600_000
const POLL_MS = 5
const REMOVAL = { recursive: true, force: true, maxRetries: 5, retryDelay: 50 } as const

export interface Workspace {
  readonly directory: string
  /** Ends every server below the directory and removes it. Calling it again does nothing. */
  remove(): Promise<void>
}

/** The workspaces of this process: all that the handlers of exit and signals have to go by. */
const open = new Set<string>()
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Makes a workspace after removing what dead processes of the same user have left. */
export async function createWorkspace(): Promise<Workspace> {
  await removeLeftovers()
  const directory = mkdtempSync(join(tmpdir(), PREFIX))
  if (open.size === 0) installHandlers()
  open.add(directory)
  // The user whom the servers run as when this one is root has to get through to its data directories, and no further.
  if (process.geteuid?.() === 0) chmodSync(directory, 0o711)
  writeFileSync(join(directory, OWNER_FILE), JSON.stringify(ownIdentity()))
  return {
    directory,
    async remove() {
      await removeDirectory(directory)
      if (open.delete(directory) && open.size === 0) removeHandlers()
    },
  }
}

/** Every `postgres` and `initdb` that this kit started below the directory. */
function serversBelow(directory: string): number[] {
  return allProcesses().filter(pid => isServerBelow(directory, pid))
}

/** False also of a process that has ended and was not reaped yet: it has no command line any more. */
function isServerBelow(directory: string, pid: number): boolean {
  return commandLine(pid).includes(` -D ${join(directory, '/')}`)
}

/** Asks for an immediate shutdown; also of a server that was frozen. */
function quit(pids: readonly number[]): void {
  for (const pid of pids) {
    sendSignal(pid, 'SIGQUIT')
    for (const stopped of [pid, ...childrenOf(pid)]) sendSignal(stopped, 'SIGCONT')
  }
}

async function removeDirectory(directory: string): Promise<void> {
  const servers = serversBelow(directory)
  quit(servers)
  const running = () => servers.filter(pid => isServerBelow(directory, pid))
  await until(() => running().length === 0, { timeoutMs: SHUTDOWN_MS, describe: () => 'the servers had ended' }).catch(() => {
    for (const pid of running()) sendSignal(pid, 'SIGKILL')
  })
  for (const entry of removalOrder(directory)) await rm(entry, REMOVAL)
}

/** The owner file goes last: what is left when a removal is cut short has to be known as a leftover. */
function removalOrder(directory: string): string[] {
  const entries = existsSync(directory) ? readdirSync(directory) : []
  return [...entries.filter(name => name !== OWNER_FILE).map(name => join(directory, name)), directory]
}

/** The same for a process that is about to end, in which nothing asynchronous runs any more. */
function removeDirectorySync(directory: string): void {
  const servers = serversBelow(directory)
  quit(servers)
  const deadline = performance.now() + SHUTDOWN_MS
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (const pid of servers) {
    while (isServerBelow(directory, pid) && performance.now() < deadline) Atomics.wait(pause, 0, 0, POLL_MS)
    if (isServerBelow(directory, pid)) sendSignal(pid, 'SIGKILL')
  }
  for (const entry of removalOrder(directory)) rmSync(entry, REMOVAL)
}

async function removeLeftovers(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue
    const directory = join(tmpdir(), name)
    // What cannot be removed now is no reason not to start.
    if (isLeftover(directory)) await removeDirectory(directory).catch(() => undefined)
  }
}

function isLeftover(directory: string): boolean {
  try {
    const { uid, mtimeMs } = lstatSync(directory)
    if (uid !== (process.geteuid?.() ?? uid)) return false
    const owner = readOwner(directory)
    return owner ? hasEnded(owner) : Date.now() - mtimeMs > UNFINISHED_MS
  } catch {
    return false // Somebody else has just removed it.
  }
}

function readOwner(directory: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, OWNER_FILE), 'utf8')) as ProcessIdentity
  } catch {
    return undefined
  }
}

function removeAllSync(): void {
  for (const directory of open) {
    try {
      removeDirectorySync(directory)
    } catch {
      // Nobody is left to tell, and the others are still to be removed. The next start tries again.
    }
  }
  open.clear()
}

function onSignal(signal: NodeJS.Signals): void {
  // A program with a handler of its own decides itself when to end; `exit` follows then. Without one the signal has to do
  // what it would have done without ours.
  const others = process.listenerCount(signal) > 1
  process.off(signal, onSignal)
  if (others) return
  removeAllSync()
  process.kill(process.pid, signal)
}

function installHandlers(): void {
  process.on('exit', removeAllSync)
  for (const signal of SIGNALS) process.on(signal, onSignal)
}

function removeHandlers(): void {
  process.off('exit', removeAllSync)
  for (const signal of SIGNALS) process.off(signal, onSignal)
}
