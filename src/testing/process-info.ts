/**
 * What the operating system knows about processes. Linux answers from /proc, because slim container images lack `ps`;
 * other systems answer through `ps`.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

const onLinux = process.platform === 'linux'

/** One process, told apart from a later one that was given the same pid. */
export interface ProcessIdentity {
  readonly pid: number
  /** When it started, in the system's own notation. Empty where the system does not say. */
  readonly startedAt: string
  /** The boot of the machine that the pid belongs to. Empty where unknown. */
  readonly boot: string
  /** The pid namespace (container) that the pid belongs to. Empty where there is no such thing. */
  readonly namespace: string
}

/** The identity of the calling process. */
export function ownIdentity(): ProcessIdentity {
  return {
    pid: process.pid,
    startedAt: startTime(process.pid),
    boot: attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    namespace: attempt(() => readlinkSync('/proc/self/ns/pid')),
  }
}

/** Whether that very process has certainly ended. In doubt (another container's process): false. */
export function hasEnded(identity: ProcessIdentity): boolean {
  const own = ownIdentity()
  if (identity.boot !== own.boot) return true
  if (identity.namespace !== own.namespace) return false
  return !exists(identity.pid) || startTime(identity.pid) !== identity.startedAt
}

/** Whether a process with this pid exists. A process that ended and was not yet reaped still exists. */
export function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it exists and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Sends a signal; false when there is no such process (any more). */
export function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** Whether a process does nothing: stopped by SIGSTOP (and not only about to be), or ended and waiting for its parent to notice. */
export function isHalted(pid: number): boolean {
  const state = onLinux ? statFields(pid)[0] : ps('-o', 'state=', '-p', String(pid))
  return /^[TZ]|^$/.test(state ?? '')
}

/** What the process was started as, arguments separated by spaces. Empty when there is no such process, or it has ended. */
export function commandLine(pid: number): string {
  return onLinux
    ? attempt(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '))
    : ps('-ww', '-o', 'command=', '-p', String(pid))
}

/** The pids of all processes that this one can see. */
export function allProcesses(): number[] {
  const names = onLinux ? readdirSync('/proc') : ps('-A', '-o', 'pid=').split('\n')
  return names.map(Number).filter(pid => pid > 0)
}

/** The pids of the direct children of a process. */
export function childrenOf(parent: number): number[] {
  if (onLinux) return allProcesses().filter(pid => Number(statFields(pid)[1]) === parent)
  const table = ps('-A', '-o', 'pid=,ppid=').split('\n')
  return table.map(line => line.trim().split(/\s+/).map(Number)).flatMap(([pid, ppid]) => (pid && ppid === parent ? [pid] : []))
}

function startTime(pid: number): string {
  return onLinux ? (statFields(pid)[19] ?? '') : ps('-o', 'lstart=', '-p', String(pid))
}

/** The fields of /proc/pid/stat from the third on: the second, the program's name, may itself hold spaces and parentheses. */
function statFields(pid: number): string[] {
  const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function ps(...args: string[]): string {
  return spawnSync('ps', args, { encoding: 'utf8' }).stdout?.trim() ?? ''
}

function attempt(read: () => string): string {
  try {
    return read()
  } catch {
    return ''
  }
}
