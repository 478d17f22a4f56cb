import { ConfigurationError } from '../core/errors.js'
import type { Observed } from '../core/observed.js'

/**
 * The databases that each registry (or meter) exports, no two of one name: events know a database by its name, so each of the two
 * would be given what either does.
 */
export class Exported<To extends object> {
  readonly #what: string
  readonly #databases = new WeakMap<To, Set<Observed>>()

  /** `what`: what exports them, for people. */
  constructor(what: string) {
    this.#what = what
  }

  /** Of that one, by now; it lives on. `undefined` before the first. */
  of(to: To): ReadonlySet<Observed> | undefined {
    return this.#databases.get(to)
  }

  /** Throws {@link ConfigurationError} when one of that name is exported already. The function that comes back takes it out; true once. */
  add(to: To, db: Observed): () => boolean {
    const databases = this.#databases.get(to) ?? new Set()
    if ([...databases].some(({ name }) => name === db.name)) {
      throw new ConfigurationError(
        `this ${this.#what} exports a database named "${db.name}" already. Give each a name of its own, or close the other's exporter first`,
      )
    }
    this.#databases.set(to, databases.add(db))
    return () => databases.delete(db)
  }
}
