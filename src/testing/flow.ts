import type { Socket } from 'node:net'

/** How much one direction of a connection holds; what is more stays with the sender, as on a real line. */
const BUFFER_BYTES = 1_048_576
/** A throttled flow hands on what this time allows, and then waits: steady enough, and few timers. */
const SLICE_SECONDS = 0.05

/** What happens to bytes on their way. Read anew at every step, so that a change holds also for what is on its way already. */
export interface FlowConditions {
  readonly delayMs: number
  /** `Infinity`: as fast as the machine. */
  readonly bytesPerSecond: number
  /** Nothing arrives any more, the end of the stream included. */
  readonly swallow: boolean
}

interface Piece {
  /** Without bytes: the end of the stream. */
  bytes: Buffer | undefined
  readonly arrivedAt: number
}

/** One direction of a connection: hands on what arrives, in order, under conditions that may change at any time. */
export class Flow {
  readonly #from: Socket
  readonly #to: Socket
  readonly #conditions: () => FlowConditions
  readonly #pieces: Piece[] = []
  #bytes = 0
  /** When the throttle lets the next bytes pass. */
  #freeAt = 0
  #timer: NodeJS.Timeout | undefined
  #lost = false

  constructor(from: Socket, to: Socket, conditions: () => FlowConditions) {
    this.#from = from
    this.#to = to
    this.#conditions = conditions
    from.on('data', bytes => this.#arrived(bytes))
    from.on('end', () => this.#arrived(undefined))
    to.on('drain', () => this.#handOn())
  }

  /** Whether something was swallowed: whatever came now would follow upon a hole. */
  get lost(): boolean {
    return this.#lost
  }

  /** The conditions are others than before. */
  changed(): void {
    this.#freeAt = 0
    this.#goOn()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#pieces.length = 0
  }

  #arrived(bytes: Buffer | undefined): void {
    this.#pieces.push({ bytes, arrivedAt: performance.now() })
    this.#bytes += bytes?.length ?? 0
    if (this.#bytes >= BUFFER_BYTES) this.#from.pause()
    this.#goOn()
  }

  #goOn(): void {
    if (this.#conditions().swallow) this.#swallow()
    else this.#handOn()
  }

  #swallow(): void {
    if (this.#pieces.length > 0) this.#lost = true
    this.stop()
    this.#bytes = 0
    this.#from.resume()
  }

  #handOn(): void {
    clearTimeout(this.#timer)
    for (let piece = this.#pieces[0]; piece && !this.#to.writableNeedDrain; piece = this.#pieces[0]) {
      const dueAt = Math.max(piece.arrivedAt + this.#conditions().delayMs, this.#freeAt)
      const waitMs = dueAt - performance.now()
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#handOn(), Math.ceil(waitMs)).unref()
        return
      }
      this.#send(piece)
    }
  }

  #send(piece: Piece): void {
    if (piece.bytes === undefined) {
      this.#pieces.shift()
      this.#to.end()
      return
    }
    const { bytesPerSecond } = this.#conditions()
    const slice = piece.bytes.subarray(0, Math.max(1, bytesPerSecond * SLICE_SECONDS))
    piece.bytes = piece.bytes.subarray(slice.length)
    if (piece.bytes.length === 0) this.#pieces.shift()
    this.#freeAt = Math.max(this.#freeAt, performance.now()) + (slice.length / bytesPerSecond) * 1_000
    this.#bytes -= slice.length
    this.#to.write(slice)
    if (this.#bytes < BUFFER_BYTES) this.#from.resume()
  }
}
