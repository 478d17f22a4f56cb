import { TidemarkError } from '../errors.js'
import type { Node } from '../node.js'

/** There is no node to write to. */
export class NoPrimaryError extends TidemarkError {
  declare readonly code: 'TIDEMARK_NO_PRIMARY'
  constructor(nodes: readonly Node[]) {
    const said = nodes.map(node => `${node.id}: ${node.problem?.reason ?? node.role ?? 'not heard of yet'}`)
    super(
      'TIDEMARK_NO_PRIMARY',
      nodes.some(node => node.role === 'peer')
        ? `no peer can be used that takes writes and has what this session has to see. ${said.join('; ')}.`
        : `no primary is known, so there is nowhere to write. ${said.join('; ')}. Promote a standby or start the primary.`,
    )
  }
}
