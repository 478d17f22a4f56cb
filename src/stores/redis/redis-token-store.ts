import { checkNumber } from '../../core/check-number.js'
import { ConfigurationError } from '../../core/errors.js'
import { Position } from '../../core/position.js'
import { DEFAULT_RETAIN_MS, type TokenStore } from '../../core/token-store.js'
import { userKey } from '../../core/user-key.js'
import { DEFAULT_TIMEOUT_MS, type RedisClientOptions, scriptRunner } from './redis-client.js'
import { DROP, FIELD, GET, OLDEST, RAISE } from './token-scripts.js'

export interface RedisTokenStoreOptions extends RedisClientOptions {
  /**
   * What the names of all keys begin with, in braces: `{tidemark:}…`. Braces make it the part by which Redis Cluster places a key, so all keys are in
   * one slot and a script may use several. One database's only; not empty, and no braces. Default `tidemark:`.
   */
  readonly prefix?: string
  /** `expire` forgets the users beyond this many, those first that were raised longest ago. Default 1 000 000. */
  readonly maxUsers?: number
  /** How long, in milliseconds since a user's last write, positions are kept that every replica has applied. Default 30 days. */
  readonly retainMs?: number
}

/** How many users one call of `expire` looks at for being out of date, and removes at most of those beyond `maxUsers`. */
const BATCH = 1_000

/**
 * A token store in Redis (5 or newer), shared by all processes that use it: a hash a user, and one sorted set of users by their last raise. Keys never
 * get a Redis time to live: expiry is not freshness. A user that Redis evicts is unknown, which is safe.
 *
 * Redis may lose the last writes it acknowledged: when it restarts, and when a replica of its own takes over. An older position would
 * then stand for the newest, so what a server has not written in its present life (`run_id`) counts as unknown; the scripts
 * ask for it by `INFO server`. What cannot be seen this way is a Redis primary that has been replaced and still takes writes: set
 * `min-replicas-to-write`, which ends that within seconds.
 *
 * Throws `ConfigurationError` when an option cannot work. Methods reject with the client's error, or after `timeoutMs`.
 */
export function redisTokenStore(options: RedisTokenStoreOptions): TokenStore {
  const { client, prefix = 'tidemark:', maxUsers = 1_000_000, retainMs = DEFAULT_RETAIN_MS } = options
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options
  checkNumber('redisTokenStore: maxUsers', maxUsers, { integer: true, min: 1 })
  checkNumber('redisTokenStore: retainMs', retainMs, { min: 0 })
  checkNumber('redisTokenStore: timeoutMs', timeoutMs, { min: 1 })
  checkPrefix(prefix)
  const run = scriptRunner(client, timeoutMs)
  const touched = `{${prefix}}touched`
  const keyOf = (member: string) => `{${prefix}}user:${member}`
  /** How many of the users touched longest ago are known to be not out of date yet: the next call looks behind them. */
  let passedOver = 0

  /** Two steps, since a script should be told the keys that it uses: who it might be, and then, judged again, their end. */
  async function drop(
    what: 'age' | 'surplus',
    bound: number,
    from: number,
    applied: Position,
  ): Promise<{ found: number; dropped: number }> {
    const found = (await run(OLDEST, [touched], [what, String(bound), String(from), String(BATCH)])) as readonly string[]
    if (found.length === 0) return { found: 0, dropped: 0 }
    const args = [what, String(bound), String(found.length), ...found, ...flat(applied)]
    return { found: found.length, dropped: Number(await run(DROP, [touched, ...found.map(keyOf)], args)) }
  }

  return {
    async raise(user, position, settled = Position.zero) {
      if (position.isZero && settled.isZero) return
      const member = userKey(user)
      const args = [member, String(settled.entries.length), ...flat(settled), ...flat(position)]
      await run(RAISE, [keyOf(member), touched], args)
    },
    async get(user) {
      const fields = await run(GET, [keyOf(userKey(user))], [])
      return fromFields(fields as readonly string[])
    },
    async expire(applied) {
      const { found, dropped } = await drop('age', Math.ceil(retainMs), passedOver, applied)
      passedOver = found < BATCH ? 0 : passedOver + found - dropped
      await drop('surplus', maxUsers, 0, Position.zero)
    },
  }
}

/** Of the same length for every offset, so that the order of the text is that of the numbers; a Lua number would lose bits. */
function flat(position: Position): string[] {
  return position.entries.flatMap(({ lineage, offset }) => [FIELD + lineage, offset.toString(16).padStart(16, '0')])
}

function fromFields(fields: readonly string[]): Position | undefined {
  let position = Position.zero
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const [field, offset] = [fields[i]!, fields[i + 1]!]
    if (field.startsWith(FIELD)) position = position.join(Position.at(field.slice(FIELD.length), BigInt(`0x${offset}`)))
  }
  return position.isZero ? undefined : position
}

function checkPrefix(prefix: string): void {
  if (/^[^{}]+$/.test(prefix)) return
  throw new ConfigurationError(`redisTokenStore: the prefix is ${JSON.stringify(prefix)}; expected some text without braces`)
}
