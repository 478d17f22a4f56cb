/**
 * The Lua scripts of `redisTokenStore`. Redis runs a script as one step, so each is atomic.
 *
 * A user's hash has a field `=<lineage>` for each lineage, with 16 lower-case hexadecimal digits: compared as text, digits
 * come before letters in every collation. And a field `@`, the run id of the server that wrote it last.
 */
import { script } from './redis-client.js'

/** What the field of a lineage begins with, so that no lineage can be taken for `@`. */
export const FIELD = '='

const RUN_ID = `
local function run_id()
  local id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  if not id then error('INFO server does not tell the run_id, without which positions from before a failover of Redis cannot be told') end
  return id
end
`

/** In microseconds, which a double, as scores are, holds exactly until the year 2255. */
const NOW = `
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
`

/** KEYS: user, touched. ARGV: member, number of settled entries, these, the position's entries (field, offset each). */
export const RAISE = script(`${RUN_ID}${NOW}
local settled = tonumber(ARGV[2])
for i = 3, 2 + 2 * settled, 2 do
  local kept = redis.call('HGET', KEYS[1], ARGV[i])
  if kept and kept <= ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
for i = 3 + 2 * settled, #ARGV, 2 do
  local kept = redis.call('HGET', KEYS[1], ARGV[i])
  if not kept or kept < ARGV[i + 1] then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', KEYS[1], '@', run_id())
if redis.call('HLEN', KEYS[1]) > 1 then
  redis.call('ZADD', KEYS[2], now(), ARGV[1])
else
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
end
return 0
`)

/** KEYS: user. Fields and values; nothing when another life of the server wrote them, for it may have written more. */
export const GET = script(`${RUN_ID}
if redis.call('HGET', KEYS[1], '@') ~= run_id() then return {} end
return redis.call('HGETALL', KEYS[1])
`)

/**
 * KEYS: touched. ARGV: what to look for, its bound, how many to pass over, how many at most.
 * 'age': members not touched for that many milliseconds. 'surplus': members beyond that many. Touched longest ago first.
 */
export const OLDEST = script(`${NOW}
if ARGV[1] == 'age' then
  return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now() - ARGV[2] * 1000, 'LIMIT', ARGV[3], ARGV[4])
end
local surplus = math.min(redis.call('ZCARD', KEYS[1]) - ARGV[2], tonumber(ARGV[4]))
if surplus <= 0 then return {} end
return redis.call('ZRANGE', KEYS[1], 0, surplus - 1)
`)

/**
 * KEYS: touched, users. ARGV: what they were looked for as, and its bound (as above); number of members, these (in the order of their
 * keys), the entries of the applied position. Drops those that still are what they were looked for: somebody may have
 * raised them since. For 'age', only those that `applied` includes. How many it dropped.
 */
export const DROP = script(`${NOW}
local by_age = ARGV[1] == 'age'
local before = by_age and now() - ARGV[2] * 1000
local count = tonumber(ARGV[3])
local applied = {}
for i = 4 + count, #ARGV, 2 do applied[ARGV[i]] = ARGV[i + 1] end

local function included(key)
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local limit = applied[fields[i]]
    if fields[i] ~= '@' and (not limit or limit < fields[i + 1]) then return false end
  end
  return true
end

local function is_due(key, member)
  if by_age then
    local score = redis.call('ZSCORE', KEYS[1], member)
    return score and tonumber(score) <= before and included(key)
  end
  local rank = redis.call('ZRANK', KEYS[1], member)
  return rank and rank < redis.call('ZCARD', KEYS[1]) - ARGV[2]
end

local dropped = 0
for i = 1, count do
  local key, member = KEYS[1 + i], ARGV[3 + i]
  if is_due(key, member) then
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[1], member)
    dropped = dropped + 1
  end
end
return dropped
`)
