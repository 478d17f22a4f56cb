import type { Fault, Schedule, World } from './schedule.js'

/** Which of the seeds there are can show something at all: the others are left out, none is made up. */
export interface Focus {
  readonly world?: Partial<Pick<World, 'topology' | 'quorums' | 'asyncCommit'>>
  readonly nodes?: number
  /** Some router knows an address that hides several servers. */
  readonly balanced?: boolean
  readonly latePositions?: boolean
  /** Some device asks for monotonic reads. */
  readonly monotonic?: boolean
  /** Whether users' positions are kept in a store. */
  readonly store?: boolean
  /** All of these happen. */
  readonly faults?: readonly Fault['name'][]
}

export function isInFocus({ world, steps }: Schedule, focus: Focus): boolean {
  const { faults = [], nodes, balanced, latePositions, monotonic, store } = focus
  if (Object.entries(focus.world ?? {}).some(([name, value]) => world[name as keyof World] !== value)) return false
  if (nodes !== undefined && world.nodes.length !== nodes) return false
  if (balanced && !world.routers.some(router => router.balanced)) return false
  if (latePositions && world.positionLagMs < 1) return false
  if (monotonic && !world.devices.some(({ guarantee }) => guarantee === 'monotonic-reads')) return false
  if (store !== undefined && (world.store !== undefined) !== store) return false
  return faults.every(name => steps.some(step => step.kind === 'fault' && step.fault.name === name))
}
