/** What plain JavaScript can get wrong in a strategy, told where it is configured and not by a TypeError of some read. */
import { ConfigurationError } from './errors.js'
import { isObject, shown } from './shown.js'

/** Throws {@link ConfigurationError} unless it is a list of rungs. `name` says whose option it is. */
export function checkLadder(name: string, ladder: unknown): void {
  if (!Array.isArray(ladder))
    throw new ConfigurationError(`${name} must be a list of rungs such as [replica(), primary()], not ${shown(ladder)}`)
  const wrong = ladder.findIndex(
    rung => !isObject(rung) || !hasFunctions(rung, 'step') || typeof (rung as { name?: unknown }).name !== 'string',
  )
  if (wrong >= 0)
    throw new ConfigurationError(`${name}[${wrong}] must be a rung such as replica() or primary(), not ${shown(ladder[wrong])}`)
}

/** Throws {@link ConfigurationError} unless it is a guarantee that a session may ask for. */
export function checkGuarantee(name: string, guarantee: unknown): void {
  if (guarantee === 'read-your-writes' || guarantee === 'monotonic-reads') return
  throw new ConfigurationError(`${name} must be 'read-your-writes' or 'monotonic-reads', not ${shown(guarantee)}`)
}

/** Throws {@link ConfigurationError} unless it is a write policy. */
export function checkWritePolicy(name: string, policy: unknown): void {
  const { target } = (isObject(policy) ? policy : {}) as { readonly target?: unknown }
  if (isObject(policy) && hasFunctions(policy, 'acknowledgedBy') && isObject(target) && hasFunctions(target, 'reached')) return
  throw new ConfigurationError(`${name} must be a write policy such as quorum() or appliedOn('any'), not ${shown(policy)}`)
}

export function hasFunctions(value: object, ...names: readonly string[]): boolean {
  return names.every(name => typeof (value as Record<string, unknown>)[name] === 'function')
}
