/** Makes the data directories of a test cluster: the first by `initdb`, the others as copies of another node's. */
import { execFile } from 'node:child_process'
import { chownSync, rmSync, writeFileSync } from 'node:fs'
import { chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { AdminConnection } from './admin-connection.js'
import { copyTree } from './copy-tree.js'
import { ClusterStartError } from './errors.js'
import { type ServerEnvironment, serverEnvironment, writeAs } from './postgres-server.js'

const MAX_OUTPUT_BYTES = 1_000_000

/** Makes the data directory of a new cluster, cleanly shut down. */
export async function initialize(dataDirectory: string, password: string, environment: ServerEnvironment, signal: AbortSignal) {
  const { binaries, directory, user } = environment
  await mkdir(dataDirectory, { mode: 0o700 })
  if (user) await chown(dataDirectory, user.uid, user.gid)
  const passwordFile = join(directory, 'password')
  writeFileSync(passwordFile, password, { mode: 0o600 })
  if (user) chownSync(passwordFile, user.uid, user.gid)
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  // One iteration instead of 4096: a password that lives for minutes needs no protection against guessing at leisure.
  const access = ['--username=postgres', '--auth=scram-sha-256', `--pwfile=${passwordFile}`, '-c', 'scram_iterations=1']
  const args = ['-D', dataDirectory, '--no-sync', '--no-instructions', ...locale, ...access]
  try {
    await promisify(execFile)(binaries.initdb, args, {
      ...user,
      cwd: directory,
      env: serverEnvironment(),
      maxBuffer: MAX_OUTPUT_BYTES,
      signal,
      killSignal: 'SIGKILL',
    })
  } catch (error) {
    signal.throwIfAborted()
    const output = (error as { stderr?: string }).stderr || (error as Error).message
    const problem = user
      ? `could not be initialized by user ${user.uid}, who must be able to enter ${directory}`
      : 'could not be initialized'
    throw new ClusterStartError('primary', problem, output, { cause: error })
  } finally {
    rmSync(passwordFile, { force: true })
  }
}

/** Makes a standby's data directory as a copy of one that is shut down cleanly. */
export async function cloneStopped(from: string, to: string, { user }: ServerEnvironment): Promise<void> {
  await copyTree(from, to, { owner: user })
  writeAs(user, join(to, 'standby.signal'), '')
}

/** Makes a standby's data directory as a copy of a running primary's, to whom `connection` leads. */
export async function cloneRunning(from: string, to: string, connection: AdminConnection, { user }: ServerEnvironment) {
  await connection.query(`select pg_backup_start('tidemark-testing', fast => true)`)
  await copyTree(from, to, { owner: user, skip: isNotPartOfBackup })
  const [backup] = await connection.query<{ labelfile: string }>(
    'select labelfile from pg_backup_stop(wait_for_archive => false)',
  )
  writeAs(user, join(to, 'backup_label'), backup!.labelfile)
  writeAs(user, join(to, 'standby.signal'), '')
}

/** What the manual of PostgreSQL says to leave out of a base backup. The WAL comes by streaming. */
function isNotPartOfBackup(path: string): boolean {
  const emptied = /^(pg_wal|pg_replslot|pg_dynshmem|pg_notify|pg_serial|pg_snapshots|pg_stat_tmp|pg_subtrans)\//
  const files = /^(postmaster\.pid|postmaster\.opts|backup_label|tablespace_map)$/
  const caches = /(^|\/)(pgsql_tmp|pg_internal\.init)/
  return emptied.test(path) || files.test(path) || caches.test(path)
}
