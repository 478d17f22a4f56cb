import type { Outcome } from '../core/outcome.js'
import type { AskedGuarantee } from '../testing/history/record.js'

/** What a write replaced; `undefined`: that was not said. */
export interface Written {
  readonly prev: string | null | undefined
}

export interface Seen {
  /** `null`: there is nothing under the key. */
  readonly value: string | null
  readonly outcome: Pick<Outcome, 'node' | 'rung' | 'guarantee' | 'possiblyLost' | 'stalenessMs'>
}

/** One user on one path. Its operations follow each other. */
export interface Client {
  write(key: string, value: string): Promise<Written>
  read(key: string): Promise<Seen>
}

/** One way from an application to its data. */
export interface Path {
  readonly name: string
  /** What its sessions ask for. Default `read-your-writes`. */
  readonly asked?: AskedGuarantee
  /** Its ladder allows less than was asked; the outcome says so then. Default false. */
  readonly mayDegrade?: boolean
  /** Every other client writes nothing and reads what the one before it writes. Default false. */
  readonly readers?: boolean
  client(index: number): Client
}
