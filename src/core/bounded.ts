import type { Clock, Timer } from './clock.js'

/** What a piece of work came to. */
export type Settled<T> = { readonly value: T } | { readonly cause: unknown }

/** Does `work`, which may throw, reject or hang, and waits for it for at most `timeoutMs`. Never rejects. */
export async function bounded<T>(clock: Clock, timeoutMs: number, work: () => Promise<T>): Promise<Settled<T>> {
  let timer: Timer | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = clock.setTimer(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs, { keepAlive: true })
  })
  try {
    return { value: await Promise.race([work(), timeout]) }
  } catch (cause) {
    return { cause }
  } finally {
    timer?.cancel()
  }
}
