/** Writes down what clients ask and what they are answered, as the history that the checker judges. */
import type { AskedGuarantee, OperationRecord, ReadValue, WrittenValue } from '../../testing/history/record.js'

/** What is known of an operation while it is under way, and more than its record says. */
export interface Noted {
  readonly id: number
  readonly session: string
  readonly user: string | undefined
  readonly device: string
  readonly start: number
  end?: number
  status: OperationRecord['status']
  reads?: readonly ReadValue[]
  writes?: readonly WrittenValue[]
  /** What it read, of a response that was lost on its way: the author's own cache may have it. */
  unheard?: readonly ReadValue[]
  asked: AskedGuarantee
  achieved?: AskedGuarantee
  mayDegrade?: boolean
  reportsLoss?: boolean
  fromOwnCache?: boolean
  deadlineMs?: number
  path?: string
  error?: string
  /** The router was known to be in doubt: the answer to its COMMIT was lost, and the client was told so. */
  doubted?: boolean
  /** It settled what its session was uncertain of. */
  settles?: boolean
  /** What was out of reach of its router when it began or when it ended, if anything ({@link outOfReach}). */
  outOfReach?: readonly string[]
  /** The device carried no token, and its user is known. */
  tokenless?: boolean
  /** The ladder begins with a pin, which had let go of the session: the replicas that lacked its writes even so. */
  unpinnedBehind?: readonly string[]
  /** It was acknowledged by an old primary although the router knew of the new one, or had only to ask. */
  overlooked?: boolean
  /** All that the server's readers see that served an unscoped read, by key: for the simulator's own rules. */
  served?: ReadonlyMap<string, string>
}

export class Recorder {
  readonly noted: Noted[] = []

  begin({ session, user, device, start, asked }: Pick<Noted, 'session' | 'user' | 'device' | 'start' | 'asked'>): Noted {
    const noted: Noted = { id: this.noted.length + 1, status: 'unknown', session, user, device, start, asked }
    this.noted.push(noted)
    return noted
  }
}

/** What the record says nothing of, or not always. */
const UNTOLD: ReadonlySet<keyof Noted> = new Set([
  'user',
  'device',
  'doubted',
  'settles',
  'outOfReach',
  'tokenless',
  'served',
  'unpinnedBehind',
  'overlooked',
  'unheard',
  'fromOwnCache',
] as const)

/**
 * The record of an operation: what a client can know. An author's own cache is the user's: where the sessions of the history are
 * devices (`joined`: they are users), `judgeOwnCaches` judges it, and the record says nothing of it.
 */
export function recordOf(noted: Noted, joined: boolean): OperationRecord {
  const record: Record<string, unknown> = { type: 'op' }
  let name: keyof Noted
  for (name in noted) if (!UNTOLD.has(name)) record[name] = noted[name]
  if (noted.fromOwnCache && (joined || noted.user === undefined)) record.fromOwnCache = true
  return record as unknown as OperationRecord
}
