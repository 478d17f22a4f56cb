// Compiled where everything is installed.
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { Redis } from 'ioredis'
import Koa from 'koa'
import { createClient } from 'redis'
import { dashboard } from 'tidemark/dashboard'
import { Database as EngineDatabase, type EngineNode } from 'tidemark/engine'
import * as expressMiddleware from 'tidemark/express'
import * as fastifyPlugin from 'tidemark/fastify'
import * as honoMiddleware from 'tidemark/hono'
import { tokenExchange } from 'tidemark/http'
import * as koaMiddleware from 'tidemark/koa'
import * as nodeListener from 'tidemark/node'
import { errorBudget, openTelemetry, prometheus } from 'tidemark/observe'
import { postgresTokenStore, tidemark } from 'tidemark/postgres'
import { redisCacheStore, redisTokenStore } from 'tidemark/redis-stores'
import { checkHistory, startCluster, testEngine } from 'tidemark/testing'

const cluster = await startCluster({ replicas: 1 })
const db = await tidemark({ nodes: [...cluster.urls] })

express().use(expressMiddleware.readYourWrites(db, { user: req => req.get('x-user') }), expressMiddleware.notReadyHandler)
fastify().register(fastifyPlugin.readYourWrites(db, { user: request => request.headers.authorization, hook: 'preHandler' }))
new Hono().use(honoMiddleware.readYourWrites(db, { user: c => c.req.header('x-user') }))
new Koa().use(koaMiddleware.readYourWrites(db, { user: ctx => ctx.get('x-user') }))
nodeListener.readYourWrites(db)((req, res) => res.end(nodeListener.sessionOf(db, req).token()))
export const exchange = tokenExchange(db)(new Headers())

export const stores = [
  redisTokenStore({ client: createClient() }),
  redisTokenStore({ client: new Redis({ lazyConnect: true }) }),
  postgresTokenStore()(async () => ({ rows: [] })),
]
export const observed = [dashboard(db), await prometheus(db), await openTelemetry(db), errorBudget(db)]
export const own: readonly unknown[] = [EngineDatabase, testEngine, await checkHistory([])]
export type Own = EngineNode
export const caches = [redisCacheStore({ client: createClient() }), redisCacheStore({ client: new Redis({ lazyConnect: true }) })]

// @ts-expect-error The types of the library are there, or this would be `any`.
exchange.sessions
