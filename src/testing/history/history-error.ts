/** A history that cannot be judged: a line that is no record, an id or a value that is there twice, versions in a circle. */
export class HistoryError extends Error {
  readonly code = 'TIDEMARK_HISTORY'
  /** Which record it is, from 1: in a file, its line. Absent when it is no single one. */
  readonly record: number | undefined
  /** What is wrong, and what was expected, without the place. */
  readonly problem: string

  constructor(place: string, record: number | undefined, problem: string, options?: ErrorOptions) {
    super(`${place}: ${problem}`, options)
    this.name = 'HistoryError'
    this.record = record
    this.problem = problem
  }
}
