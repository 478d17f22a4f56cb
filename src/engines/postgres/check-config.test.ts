import { hasSubscribers } from 'node:diagnostics_channel'
import { describe, expect, test } from 'vitest'
import { memoryCacheStore } from '../../core/cache-store.js'
import { strategyOf } from '../../core/database/database-config.js'
import { ConfigurationError } from '../../core/errors.js'
import { fencedCache } from '../../core/fenced-cache.js'
import { notReady, pinned, replica, wait } from '../../core/ladder.js'
import { quorum } from '../../core/quorum.js'
import { SessionCaches } from '../../core/session-cache.js'
import { TokenCodec } from '../../core/token/codec.js'
import { memoryTokenStore } from '../../core/token-store.js'
import { appliedOn } from '../../core/write-policy.js'
import { tokenExchange } from '../../http/exchange.js'
import { withConsistency } from '../../http/fetch.js'
import { nodeSpecs } from './config.js'
import { tidemark } from './database.js'

// What plain JavaScript can get wrong: each is told in its own terms. All of it was found by `npm run fuzz`, as a TypeError.

const NODES = ['postgres://a@127.0.0.1:1/a']
const odd = [null, 5n, Symbol('x'), Object.create(null), [Object.create(null)]]

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError)
    return (error as Error).message
  }
  return 'it was taken'
}

describe('a configuration of the wrong shape', () => {
  test.each<[config: unknown, expected: RegExp]>([
    [undefined, /tidemark\(\) takes an object of options, not undefined/],
    [{ replicas: 5 }, /replicas must be a list of nodes, not 5/],
    [{ nodes: 'postgres://a' }, /nodes must be a list of nodes, not "postgres:\/\/a"/],
    [{ nodes: [null] }, /a node must be a URL, a pg.Pool or an object of options/],
    [{ nodes: [7] }, /a node must be a URL/],
    [{ nodes: [{ url: 5 }] }, /a node's url must be a URL .*not of type number/],
    [{ nodes: [{ pool: {} }] }, /a node's pool must be a pg.Pool, not an object/],
    [{ nodes: [{ config: 'host' }] }, /a node's config must be an object/],
    [{ nodes: NODES, ladder: 5 }, /ladder must be a list of rungs .*not 5/],
    [{ nodes: NODES, ladder: [replica(), null] }, /ladder\[1\] must be a rung .*not null/],
    [{ nodes: NODES, writePolicy: 'quorum' }, /writePolicy must be a write policy .*not "quorum"/],
    [{ nodes: NODES, guarantee: 'strong' }, /guarantee must be .*not "strong"/],
    [{ nodes: NODES, store: {} }, /store must be a token store/],
    [{ nodes: NODES, sessionCache: 5 }, /sessionCache must be an object of limits, not 5/],
    [{ nodes: NODES, clock: {} }, /clock must be a clock/],
    [{ nodes: NODES, pollTimeoutMs: 2 ** 31 }, /pollTimeoutMs must be a number greater than 0 and at most 2147483647/],
    [{ nodes: NODES, pollIntervalMs: Symbol('x') }, /pollIntervalMs must be .*not Symbol\(x\)/],
  ])('%o', (config, expected) => {
    expect(refusal(() => nodeSpecs(config as never))).toMatch(expected)
  })

  test('does not quote a password', () => {
    expect(refusal(() => nodeSpecs({ nodes: [{ url: ['postgres://a:secret@b'] }] } as never))).not.toContain('secret')
    expect(refusal(() => new TokenCodec({ secret: { of: 'secret' } } as never))).toMatch(/a text, or a list of texts/)
  })

  test.each(odd)('%o as an option', value => {
    const any = value as never
    for (const work of [
      () => strategyOf({ preset: any }),
      () => nodeSpecs({ nodes: ['postgres://a/b'], scopes: any }),
      () => strategyOf({ lostWrites: any }),
      () => replica({ region: any }),
      () => wait({ budgetMs: [any] as never }),
      () => pinned({ to: any }),
      () => notReady({ retryAfterMs: [any] as never }),
      () => quorum(any),
      () => quorum(1, { timeoutMs: any }),
      () => appliedOn(any),
      () => appliedOn('any', { onTimeout: any }),
      () => fencedCache(memoryCacheStore(), { ttlMs: any }),
      () => tokenExchange({} as never, { header: any }),
      () => tokenExchange({} as never, { carrier: any }),
      () => tokenExchange({} as never, { cookie: { name: any } }),
      () => tokenExchange({} as never, { cookie: { sameSite: any } }),
      () => withConsistency(fetch, { origins: [any] }),
    ]) {
      expect(refusal(work), `${work}`).not.toBe('it was taken')
    }
  })
})

test('a bounded cache of more entries than fit a process is refused, not tried', () => {
  expect(refusal(() => memoryTokenStore({ maxUsers: 2 ** 32 }))).toMatch(/at most 10000000/)
  expect(refusal(() => memoryCacheStore({ maxEntries: 2 ** 32 }))).toMatch(/at most 10000000/)
  expect(refusal(() => new SessionCaches({ maxSessions: 0 }))).toMatch(/sessionCache: maxSessions is 0/)
})

test('a database that cannot be is not left listening to its events', async () => {
  const config = { primary: 'postgres://localhost/app', secret: 'a secret that is long enough', sessionCache: { maxSessions: 0 } }
  await expect(tidemark(config)).rejects.toThrow(ConfigurationError)
  expect(hasSubscribers('tidemark:read')).toBe(false)
})
