/** The driver's older form: an error or a result. */
export type Callback<R> = (error: Error | null | undefined, result?: R) => void

/** Calls back outside the promise: what a callback throws is its author's to handle, not a rejection nobody can catch. */
export function callBack<R>(work: Promise<R>, callback: Callback<R>): void {
  work.then(
    result => process.nextTick(callback, null, result),
    error => process.nextTick(callback, error),
  )
}
