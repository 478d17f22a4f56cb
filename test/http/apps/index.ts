import type { StartApp } from './app.js'
import { startExpress } from './express.js'
import { startFastify } from './fastify.js'
import { startHono } from './hono.js'
import { startKoa } from './koa.js'
import { startNode } from './node.js'

export const APPS: readonly (readonly [string, StartApp])[] = [
  ['express', startExpress],
  ['fastify', startFastify],
  ['hono', startHono],
  ['koa', startKoa],
  ['node:http', startNode],
]
