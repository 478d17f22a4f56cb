/** Users of one path, who write and read back at once. */
import { SESSION_CACHE } from '../core/router.js'
import { NotAppliedError } from '../core/write-policy.js'
import { breaksConnection, isServerError } from '../engines/postgres/driver-errors.js'
import { NoPrimaryError } from '../engines/postgres/index.js'
import type { Pace } from './pace.js'
import type { Client, Path, Seen } from './path.js'
import type { RawNodes } from './raw-nodes.js'
import type { Recorder } from './recorder.js'
import type { Scratch } from './scratch.js'

/** Reads that follow each write. */
const READS = 4

export interface WorkloadContext {
  readonly recorder: Recorder
  readonly scratch: Scratch
  readonly raw: RawNodes
  readonly isPrimary: (node: string) => boolean
}

export function usersOf(path: Path, sessions: number, context: WorkloadContext): User[] {
  // Also one that never gets as far as a read is reported.
  context.recorder.of(path.name)
  return Array.from({ length: sessions }, (_, index) => new User(path, index, context))
}

export class User {
  readonly #path: Path
  readonly #client: Client
  readonly #context: WorkloadContext
  readonly #session: string
  /** What it writes, or only reads. */
  readonly #key: string
  readonly #writes: boolean
  #rounds = 0
  #written = 0
  /** What it wrote last. */
  #value: string | undefined

  constructor(path: Path, index: number, context: WorkloadContext) {
    this.#path = path
    this.#client = path.client(index)
    this.#context = context
    this.#session = `${path.name} ${index}`
    this.#writes = path.readers !== true || index % 2 === 0
    this.#key = this.#writes ? this.#session : `${path.name} ${index - 1}`
  }

  /** A first round, in which connections are opened: it counts for the history, and nothing is measured in it. */
  async warmUp(): Promise<void> {
    await this.#round()
  }

  /** Rounds until the pace ends. Rejects with the signal's reason when the run is called off. */
  async run(pace: Pace): Promise<void> {
    const { recorder } = this.#context
    while (!recorder.full && (await pace.turn())) await this.#round()
  }

  /** A write, and reads at once; then one of these by the driver alone, for comparison: of each round another one. */
  async #round(): Promise<void> {
    this.#rounds++
    if (this.#writes) await this.write()
    const unfenced = this.#writes ? this.#readUnfenced() : undefined
    const nodes: string[] = []
    for (let read = 0; read < READS; read++) {
      const node = await this.read()
      if (node !== undefined) nodes.push(node)
    }
    await unfenced
    const node = nodes[this.#rounds % nodes.length]
    if (node !== undefined) await this.#compare(node)
  }

  /** At the time of the first read: what one without a fence shows, of each round on another replica. A miss is what the path prevents. */
  async #readUnfenced(): Promise<void> {
    const { raw, scratch, recorder, isPrimary } = this.#context
    const replicas = raw.names.filter(name => !isPrimary(name))
    const replica = replicas[this.#rounds % replicas.length]
    if (replica === undefined) return
    const rows = await raw.query<{ value: string }>(replica, scratch.read, [this.#key]).catch(() => undefined)
    if (rows !== undefined && rows[0]?.value !== this.#value) recorder.of(this.#path.name).atRisk++
  }

  /** What the driver alone takes for the same read on the same node; for what no node served, on the primary, whose value it is. */
  async #compare(node: string): Promise<void> {
    const { raw, scratch, recorder, isPrimary } = this.#context
    const asked = node === SESSION_CACHE ? raw.names.find(isPrimary) : node
    const tookMs = asked === undefined ? undefined : await raw.time(asked, scratch.read, [this.#key])
    if (tookMs !== undefined && this.#isWarm) recorder.of(this.#path.name).rawMs.push(tookMs)
  }

  get #isWarm(): boolean {
    return this.#rounds > 1
  }

  async write(): Promise<void> {
    const { recorder } = this.#context
    const key = this.#key
    const value = `${key}: ${++this.#written}`
    this.#value = value
    const operation = { path: this.#path.name, session: this.#session, start: performance.now() }
    recorder.of(this.#path.name).writes++
    try {
      const { prev } = await this.#client.write(key, value)
      recorder.add({ ...operation, status: 'ok', writes: [prev === undefined ? [key, value] : [key, value, prev]] })
    } catch (error) {
      recorder.add({ ...operation, status: afterError(error), writes: [[key, value]], error: wordsOf(error) })
    }
  }

  /** The node that served; `undefined` when none did. */
  async read(): Promise<string | undefined> {
    const { recorder } = this.#context
    const { name, asked, mayDegrade } = this.#path
    const key = this.#key
    const start = performance.now()
    const operation = {
      path: name,
      session: this.#session,
      start,
      asked: asked ?? 'read-your-writes',
      mayDegrade: mayDegrade ?? false,
    }
    const measured = recorder.of(name)
    try {
      const { value, outcome } = await this.#client.read(key)
      recorder.add({
        ...operation,
        status: 'ok',
        reads: [[key, value]],
        // One that says that writes may be lost has to show all others.
        achieved: outcome.possiblyLost ? operation.asked : outcome.guarantee,
        reportsLoss: outcome.possiblyLost,
        fromOwnCache: outcome.node === SESSION_CACHE,
      })
      if (this.#isWarm) measured.fencedMs.push(performance.now() - start)
      this.#measure(outcome)
      return outcome.node
    } catch (error) {
      const words = wordsOf(error)
      recorder.add({ ...operation, status: 'failed', error: words })
      measured.refused++
      measured.error ??= words
      return undefined
    }
  }

  #measure({ node, guarantee, stalenessMs }: Seen['outcome']): void {
    const { recorder, isPrimary } = this.#context
    const measured = recorder.of(this.#path.name)
    measured.reads++
    if (isPrimary(node)) measured.fallbacks++
    if (guarantee === 'eventual') measured.degraded++
    if (stalenessMs !== undefined && node !== SESSION_CACHE) {
      measured.stalenessMs = Math.max(measured.stalenessMs ?? 0, stalenessMs)
    }
  }
}

/** What became of a write that was answered by an error. */
function afterError(error: unknown): 'ok' | 'failed' | 'unknown' {
  if (error instanceof NotAppliedError) return 'ok'
  if (error instanceof NoPrimaryError || (isServerError(error) && !breaksConnection(error))) return 'failed'
  return 'unknown'
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error)
}
