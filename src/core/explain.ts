/** Says in words where a read would go now, and why. Asks nobody and changes nothing: it walks the ladder on the picture as it is. */
import { type Fence, opens } from './fence.js'
import type { Ladder, Step } from './ladder.js'
import type { Node } from './node.js'
import type { ReadRequest, Router } from './router.js'

export interface Explanation {
  /** Where it would go. */
  readonly answer: string
  /** What a node must have to serve it. */
  readonly needs: string
  /** Rung by rung, as far as it would come. */
  readonly steps: readonly { readonly rung: string; readonly says: string }[]
}

export function explainRead(router: Router, ladder: Ladder, fence: Fence): Explanation {
  const request: ReadRequest = { fence, ladder, guarantee: 'read-your-writes' }
  const steps: { rung: string; says: string }[] = []
  let answer: string | undefined
  for (const rung of ladder) {
    const step = rung.step(router.situation(request, undefined, 0))
    steps.push({ rung: rung.name, says: `${words(step)}${step?.kind === 'node' ? '' : behind(router, fence, step)}` })
    answer = answerOf(step, rung.fenced)
    if (answer !== undefined) break
  }
  return {
    answer: answer ?? 'No rung of the ladder would serve it: it would end in TIDEMARK_NOT_SERVED.',
    needs: needs(fence),
    steps,
  }
}

function answerOf(step: Step, fenced: boolean): string | undefined {
  if (step?.kind === 'node') return `${step.id} would serve it${fenced ? '' : ', perhaps without the own writes, and say so'}.`
  if (step?.kind === 'gather') return `The freshest of ${step.size} nodes would serve it.`
  if (step?.kind === 'cached') return "The author's own cached value would serve it."
  if (step?.kind === 'refusal') return `It would be refused: ${step.error.code}.`
  return undefined
}

function words(step: Step): string {
  if (step === undefined) return 'passes to the next rung'
  if (step.kind === 'node') return `serves from ${step.id}, ${step.role === 'primary' ? 'the primary' : at(step)}`
  if (step.kind === 'wait') return `waits up to ${Math.round(step.budgetMs)} ms for a replica; if none gets there, passes`
  if (step.kind === 'vain') return 'passes at once: no replica can be expected to get there within its budget'
  if (step.kind === 'gather') return `asks ${step.size} of ${step.candidates.map(node => node.id).join(', ')}`
  return step.kind === 'cached' ? "serves the author's own value" : `refuses with ${step.error.code}`
}

/** Why the replicas do not serve, for a rung that passes or waits. */
function behind({ cluster }: Router, fence: Fence, step: Step): string {
  if (step !== undefined && step.kind !== 'wait') return ''
  if (fence.kind === 'primary' || fence.kind === 'possibly-lost') return ': no position of a replica proves anything here'
  const replicas = cluster.nodes.filter(node => node.role !== 'primary')
  if (replicas.length === 0) return ': there is no replica'
  const has = (node: Node) => node.usable && opens(fence, node)
  if (step === undefined && replicas.some(has)) return ': its own conditions are not met (a region, a bound, no key)'
  return `: ${replicas.map(node => `${node.id} ${node.usable ? `is ${at(node)}` : `is not used (${node.problem?.reason})`}`).join('; ')}`
}

function at(node: Node): string {
  if (node.balanced) return 'balanced, and checked on the connection itself'
  if (node.peer !== undefined) return `at ${node.peer.applied}`
  return node.applied === undefined ? 'at a position not known' : `at ${node.lineage}@${node.applied}`
}

function needs(fence: Fence): string {
  if (fence.kind === 'none') return 'It needs nothing in particular: any healthy node will do.'
  if (fence.kind === 'at') return `It needs a node that has applied ${fence.lineage}@${fence.offset}.`
  if (fence.kind === 'vector') return `It needs a node that has applied ${fence.position}.`
  if (fence.kind === 'primary')
    return 'Its author may have written something whose position is not known: only the primary will do.'
  return `Its author wrote ${fence.position}, which the present history does not include as far as is known (${fence.verdict}): the primary answers, and says so.`
}
