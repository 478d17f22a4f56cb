/** A Redis server of a test's own: a real process on a free port, that keeps its data in memory only. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort } from '../../src/testing/free-port.js'

const PORT_ATTEMPTS = 20
const START_TIMEOUT_MS = 10_000

const binary = (process.env.PATH ?? '')
  .split(delimiter)
  .map(directory => join(directory, 'redis-server'))
  .find(existsSync)

/** Why there can be no Redis here; `undefined`: there can. */
export const redisMissing =
  binary === undefined
    ? 'SKIPPED: there is no redis-server on the PATH; run: npm run setup:servers (as root, on Debian)'
    : undefined

export interface RedisServer {
  readonly port: number
  readonly url: string
  /** Ends it at once, without saving anything. */
  stop(): Promise<void>
  /** Starts it again, on the same port, with what `save` has saved. */
  restart(): Promise<void>
  /** Removes it and its directory. */
  close(): Promise<void>
}

/** Starts a server, with more settings as arguments. Throws with what it wrote when it does not start. */
export async function startRedis(...settings: readonly string[]): Promise<RedisServer> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-redis-'))
  let port = 0
  let child: ChildProcess | undefined
  const launch = async () => {
    child = await launchRedis(directory, port, settings)
  }
  for (let attempt = 1; child === undefined; attempt++) {
    port = await freePort()
    await launch().catch(error => {
      // Somebody else may have taken the port meanwhile.
      if (!/Address already in use/.test(String(error)) || attempt === PORT_ATTEMPTS) throw error
    })
  }
  const stop = () => end(child!)
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    stop,
    restart: launch,
    async close() {
      await stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

function launchRedis(directory: string, port: number, settings: readonly string[]): Promise<ChildProcess> {
  const own = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--appendonly', 'no']
  const child = spawn(binary!, [...own, ...settings], { stdio: ['ignore', 'pipe', 'pipe'] })
  return new Promise((resolve, reject) => {
    let output = ''
    const timer = setTimeout(() => fail(`not ready within ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS)
    const fail = (what: string) => {
      clearTimeout(timer)
      child.kill('SIGKILL')
      reject(new Error(`redis-server did not start (${what}):\n${output}`))
    }
    const read = (chunk: Buffer) => {
      output += chunk
      if (!output.includes('Ready to accept connections')) return
      clearTimeout(timer)
      resolve(child)
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.once('error', error => fail(error.message))
    child.once('close', code => fail(`exit code ${code}`))
  })
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise(resolve => {
    child.once('close', () => resolve())
    child.kill('SIGKILL')
  })
}
