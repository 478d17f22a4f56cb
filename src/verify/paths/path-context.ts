import type { RawNodes } from '../raw-nodes.js'
import type { Routers } from '../routers.js'
import type { Scratch } from '../scratch.js'
import type { Target } from '../target.js'

/** What paths are made of. */
export interface PathContext {
  readonly target: Target
  readonly routers: Routers
  readonly scratch: Scratch
  readonly raw: RawNodes
}
