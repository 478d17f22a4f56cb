import { constants } from 'node:fs'
import { chmod, copyFile, lchown, lstat, mkdir, readdir, readlink, symlink } from 'node:fs/promises'
import { join } from 'node:path'

/** The user that a test server runs as, when that is not the user of this process. */
export interface ServerUser {
  readonly uid: number
  readonly gid: number
}

export interface CopyTreeOptions {
  /** Owner of everything copied. Default: the user of this process. */
  readonly owner?: ServerUser | undefined
  /** Leave out the entries (path relative to `from`, with `/`) for which this is true. */
  readonly skip?: (path: string) => boolean
  /** The permissions of a copy, from those of the original. Default: the same. */
  readonly mode?: (mode: number) => number
}

/**
 * Copies a directory with everything in it; symbolic links are copied as links. `to` must not exist.
 * Files that vanish meanwhile are left out: a live data directory may be copied between `pg_backup_start` and `pg_backup_stop`.
 */
export async function copyTree(from: string, to: string, options: CopyTreeOptions = {}, path = ''): Promise<void> {
  const { owner, skip = () => false, mode = original => original } = options
  await mkdir(to, { mode: 0o700 })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const entryPath = path === '' ? entry.name : `${path}/${entry.name}`
    if (skip(entryPath)) continue
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    await ignoreVanished(async () => {
      if (entry.isDirectory()) return copyTree(source, target, options, entryPath)
      if (entry.isSymbolicLink()) return symlink(await readlink(source), target)
      await copyFile(source, target, constants.COPYFILE_FICLONE)
      if (options.mode) await chmod(target, mode((await lstat(source)).mode & 0o777))
      if (owner) await lchown(target, owner.uid, owner.gid)
    })
  }
  await chmod(to, mode((await lstat(from)).mode & 0o777))
  if (owner) await lchown(to, owner.uid, owner.gid)
}

async function ignoreVanished(action: () => Promise<void>): Promise<void> {
  try {
    await action()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
