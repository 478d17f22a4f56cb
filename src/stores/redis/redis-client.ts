/**
 * What the stores ask of a Redis client, by its shape: neither client's package is imported, not even its types, so either may be
 * installed, in any version that has these methods.
 */
import { createHash } from 'node:crypto'

/** A client of the package `redis` (node-redis), or anything that sends a command given as strings. */
export interface NodeRedisClient {
  sendCommand(args: string[]): Promise<unknown>
}

/** A client of the package `ioredis`: a `Redis` or a `Cluster`. */
export interface IoredisClient {
  call(command: string, ...args: string[]): Promise<unknown>
}

/**
 * A connected client. It must talk to the Redis primary, not to read replicas. A `createCluster` of node-redis wants to
 * know the key by which to choose a node: `{ sendCommand: args => cluster.sendCommand(args[3], false, args) }`.
 */
export type RedisClient = NodeRedisClient | IoredisClient

export interface RedisClientOptions {
  readonly client: RedisClient
  /**
   * Milliseconds after which a command counts as failed. Clients hold commands back for as long as they are not
   * connected, so without a limit a caller might wait for ever. Default 1000.
   */
  readonly timeoutMs?: number
}

export const DEFAULT_TIMEOUT_MS = 1_000

/** Runs `script` atomically. Rejects with the client's error, or when there is no answer in time. */
export type RunScript = (script: Script, keys: readonly string[], args: readonly string[]) => Promise<unknown>

export interface Script {
  readonly source: string
  /** What Redis knows a script by that it has seen. */
  readonly sha1: string
}

export function script(source: string): Script {
  return { source, sha1: createHash('sha1').update(source).digest('hex') }
}

export function scriptRunner(client: RedisClient, timeoutMs: number): RunScript {
  const send = sender(client)
  return async ({ source, sha1 }, keys, args) => {
    const rest = [String(keys.length), ...keys, ...args]
    try {
      return await within(timeoutMs, send(['EVALSHA', sha1, ...rest]))
    } catch (error) {
      // Never seen, or forgotten in a restart. EVAL runs it, and Redis then knows it. A script that is not known has done nothing.
      if (!isUnknownScript(error)) throw error
      return within(timeoutMs, send(['EVAL', source, ...rest]))
    }
  }
}

function sender(client: RedisClient): (command: string[]) => Promise<unknown> {
  // ioredis first: it has a `sendCommand` too, that takes something else.
  if ('call' in client) return ([name, ...args]) => client.call(name!, ...args)
  return command => client.sendCommand(command)
}

function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}

async function within<T>(timeoutMs: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Redis gave no answer within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
