export { REPLACES_SUFFIX, TOKEN_HEADER } from './carrier.js'
export type { CookieOptions } from './cookies.js'
export {
  type Client,
  type Exchange,
  type ExchangeOptions,
  type HeaderReader,
  type HeaderWriter,
  type HttpDatabase,
  type HttpSession,
  tokenExchange,
  type UserId,
} from './exchange.js'
export type { UserOf } from './request-session.js'
