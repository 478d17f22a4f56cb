/** The parts of `pg-cursor` that the tests use; the package has no types of its own. */
declare module 'pg-cursor' {
  import type pg from 'pg'

  export default class Cursor<Row = Record<string, unknown>> implements pg.Submittable {
    constructor(text: string, values?: readonly unknown[])
    submit: (connection: pg.Connection) => void
    read(rowCount: number): Promise<Row[]>
    close(): Promise<void>
  }
}
