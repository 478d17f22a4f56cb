/** What `pg-cursor`, `pg-query-stream`, `pg-copy-streams` and the driver's own `Query` have in common. */
export interface Submittable {
  submit(connection: unknown): unknown
  handleError(error: unknown, connection: unknown): void
  handleReadyForQuery(connection: unknown): void
  readonly text?: unknown
  readonly cursor?: { readonly text?: unknown }
}

export function isSubmittable(input: unknown): input is Submittable {
  return typeof input === 'object' && input !== null && typeof (input as Submittable).submit === 'function'
}

/** The SQL of a submittable, or `undefined` when it does not show it; then only the primary will do. */
export function textOf(submittable: Submittable): string | undefined {
  const text = submittable.text ?? submittable.cursor?.text
  return typeof text === 'string' ? text : undefined
}

/**
 * Resolves when the driver is done with the submittable: it has ended, or failed. Listens by wrapping the two methods by
 * which the driver tells it; nothing else tells for all kinds of them.
 */
export function whenDone(submittable: Submittable): Promise<void> {
  return new Promise(resolve => {
    for (const method of ['handleReadyForQuery', 'handleError'] as const) {
      const original = submittable[method] as (...args: unknown[]) => void
      submittable[method] = (...args: unknown[]) => {
        original.apply(submittable, args)
        resolve()
      }
    }
  })
}
