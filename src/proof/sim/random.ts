import { Random as Generator } from '../../engines/simulated/random.js'

/** Everything that a seed decides of a schedule: a generator with the few shapes of chance that drawing one takes. */
export class Random extends Generator {
  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + this.below(max - min + 1)
  }

  /** A duration: mostly less than `meanMs`, now and then up to five times as long (exponential), in whole milliseconds. */
  around(meanMs: number): number {
    return Math.round(Math.min(5, -Math.log(1 - this.next())) * meanMs)
  }

  /** `count` different ones, or all there are. */
  some<T>(items: readonly T[], count: number): T[] {
    const rest = [...items]
    const picked: T[] = []
    while (picked.length < count && rest.length > 0) picked.push(...rest.splice(this.below(rest.length), 1))
    return picked
  }

  /** One of the keys, as often as its weight says. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][]
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [key, weight] of entries) {
      left -= weight
      if (left < 0) return key
    }
    return entries[entries.length - 1]![0]
  }
}
