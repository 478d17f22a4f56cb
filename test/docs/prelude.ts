/** What a block marked `fragment` may use without declaring it. Handlers get one name per framework, as their docs have it. */
export const PRELUDE = `
import type { Express as ExpressApp, Request as ExpressRequest, RequestHandler, Response as ExpressResponse } from 'express'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Context as HonoContext } from 'hono'
import type { Context as KoaContext } from 'koa'
import type { TokenStorage } from 'tidemark/fetch'
import type { PostgresSession, Tidemark, TidemarkConfig } from 'tidemark/postgres'
import type { Cluster } from 'tidemark/testing'

declare global {
  namespace Express {
    interface Request {
      user?: { id: string }
    }
  }
  const db: Tidemark
  const config: TidemarkConfig
  const session: PostgresSession
  const cluster: Cluster
  /** Of Express; \`register\` of Fastify. */
  const app: ExpressApp & Pick<FastifyInstance, 'register'>
  const authenticate: RequestHandler
  const req: ExpressRequest
  const res: ExpressResponse
  const request: FastifyRequest
  const reply: FastifyReply
  const c: HonoContext
  const ctx: KoaContext
  /** A server without a framework: who is it, and the answer. */
  function userOf(request: Request): Promise<string | undefined>
  function route(request: Request): Promise<Response>
  /** The token that a client sent, a queue delivered, or a user id from wherever the application has it. */
  const token: string | undefined
  const userId: string
  /** Of browsers. */
  const localStorage: TokenStorage
}
`
