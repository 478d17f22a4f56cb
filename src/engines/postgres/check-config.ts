import { checkGuarantee, checkLadder, checkWritePolicy, hasFunctions } from '../../core/check-strategy.js'
import { ConfigurationError } from '../../core/errors.js'
import { isObject, shown } from '../../core/shown.js'
import type { NodeOptions, TidemarkConfig } from './config.js'

const isText = (value: unknown) => typeof value === 'string' && value !== ''
const isStore = (value: unknown) => typeof value === 'function' || (isObject(value) && hasFunctions(value, 'raise', 'get'))
const isClock = (value: unknown) => isObject(value) && hasFunctions(value, 'now', 'wallNow', 'setTimer', 'random')

type Shape = readonly [expected: string, fits: (value: unknown) => boolean]

/** What the options have to be, as far as nothing else tells. */
const OPTIONS: { readonly [K in keyof TidemarkConfig]?: Shape } = {
  replicas: ['a list of nodes', Array.isArray],
  nodes: ['a list of nodes', Array.isArray],
  name: ['a name', isText],
  region: ['a name', isText],
  sessionCache: ['an object of limits', isObject],
  store: ['a token store, or a function that makes one', isStore],
  pool: ['an object of options for pg.Pool', isObject],
  onWarning: ['a function', value => typeof value === 'function'],
  clock: ['a clock', isClock],
}

const NODE_OPTIONS: { readonly [K in keyof NodeOptions]?: Shape } = {
  url: ['a URL such as postgres://user:password@host:5432/database', isText],
  config: ['an object of options for pg.Pool', isObject],
  pool: ['a pg.Pool', value => isObject(value) && hasFunctions(value, 'connect')],
  name: ['a name', isText],
  region: ['a name', isText],
  balanced: ['true or false', value => typeof value === 'boolean'],
}

/**
 * Holds a configuration from plain JavaScript against its types, so that a mistake is told in its own terms and not by a
 * TypeError somewhere inside. Throws {@link ConfigurationError}.
 */
export function checkConfig(config: TidemarkConfig): void {
  if (!isObject(config)) throw new ConfigurationError(`tidemark() takes an object of options, not ${shown(config)}`)
  checkShapes(config, OPTIONS, '')
  if (config.ladder !== undefined) checkLadder('ladder', config.ladder)
  if (config.writePolicy !== undefined) checkWritePolicy('writePolicy', config.writePolicy)
  if (config.guarantee !== undefined) checkGuarantee('guarantee', config.guarantee)
}

/** The same for one node. Nothing that is quoted can hold a password. */
export function checkNode(node: NodeOptions): void {
  if (!isObject(node)) throw new ConfigurationError(`a node must be a URL, a pg.Pool or an object of options, not ${typeof node}`)
  checkShapes(node, NODE_OPTIONS, "a node's ")
}

function checkShapes<T extends object>(given: T, shapes: { readonly [K in keyof T]?: Shape }, whose: string): void {
  for (const [name, [expected, fits]] of Object.entries(shapes) as [keyof T & string, Shape][]) {
    const value = given[name]
    if (value === undefined || fits(value)) continue
    const found = name === 'url' ? `of type ${typeof value}` : shown(value)
    throw new ConfigurationError(`${whose}${name} must be ${expected}, not ${found}`)
  }
}
