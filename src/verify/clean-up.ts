/**
 * Does `work`, and `cleanUp` after it in any case. What `work` failed with is what this rejects with; that the cleaning up failed as
 * well is then told by `warn`, so that nobody is left with something behind and no word of it.
 */
export async function withCleanUp<T>(
  work: () => Promise<T>,
  cleanUp: () => Promise<void>,
  warn: (message: string) => void,
): Promise<T> {
  let result: T
  try {
    result = await work()
  } catch (error) {
    await cleanUp().catch(problem => warn(problem instanceof Error ? problem.message : String(problem)))
    throw error
  }
  await cleanUp()
  return result
}

/** Resolves when all of them have ended, however they end; rejects then as the first that failed. The first failure calls `stop`. */
export async function allEnded(work: readonly Promise<unknown>[], stop: (reason: unknown) => void): Promise<void> {
  let first: { readonly error: unknown } | undefined
  await Promise.allSettled(
    work.map(each =>
      each.catch((error: unknown) => {
        // What ends the others is their reason, too: the one to be told is what came first.
        first ??= { error }
        stop(error)
        throw error
      }),
    ),
  )
  if (first !== undefined) throw first.error
}
