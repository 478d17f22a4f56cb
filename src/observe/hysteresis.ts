/** A threshold that does not flap: over it for `holdMs` raises, under `release` of it for `holdMs` clears. */
export class Hysteresis {
  readonly threshold: number
  readonly #release: number
  readonly #holdMs: number
  #raised = false
  /** Since when the value has called for the other state; `undefined` while it has not. */
  #since: number | undefined

  constructor(threshold: number, options: { readonly holdMs: number; readonly release: number }) {
    this.threshold = threshold
    this.#release = threshold * options.release
    this.#holdMs = options.holdMs
  }

  get raised(): boolean {
    return this.#raised
  }

  /** Takes in what was measured; `true` when the state has changed by it. */
  update(value: number, now: number): boolean {
    const contrary = this.#raised ? value < this.#release : value > this.threshold
    if (!contrary) {
      this.#since = undefined
      return false
    }
    this.#since ??= now
    if (now - this.#since < this.#holdMs) return false
    this.#raised = !this.#raised
    this.#since = undefined
    return true
  }
}
