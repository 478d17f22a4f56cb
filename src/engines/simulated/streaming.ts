/**
 * Streaming replication: a standby's receiver asks its upstream for the log from where it is, and gets what is flushed there.
 * Only what a server has on disk is ever streamed, so no standby is ahead of what its upstream keeps through a crash.
 */
import type { Channel } from './network.js'
import type { Server } from './server.js'

/** One standby's stream, on both ends. Over when either end or the link between them breaks. */
class Stream {
  readonly receiver: Receiver
  readonly upstream: Server
  /** How many records have been sent. */
  sent = 0
  timeline = 0
  open = true
  readonly toUpstream: Channel
  readonly toStandby: Channel
  readonly #upstreamLife: number

  constructor(receiver: Receiver, upstream: Server) {
    const { server } = receiver
    this.receiver = receiver
    this.upstream = upstream
    this.#upstreamLife = upstream.life
    const { network } = server.context
    this.toUpstream = network.channel(server.id, upstream.id, () => this.break())
    this.toStandby = network.channel(upstream.id, server.id, () => this.break())
  }

  get isStale(): boolean {
    return this.upstream.state !== 'dead' && this.upstream.life !== this.#upstreamLife
  }

  /** To the standby, in order; it takes it while it is awake. */
  tell(arrive: () => void): void {
    this.toStandby.send(() => this.receiver.server.whenAwake(() => this.open && arrive()))
  }

  break(): void {
    if (!this.open) return
    this.open = false
    this.toUpstream.close()
    this.toStandby.close()
    this.upstream.senders.drop(this)
    this.receiver.lost(this)
  }
}

/** A primary's (or an intermediate standby's) streams to its standbys. */
export class Senders {
  readonly #server: Server
  readonly #streams = new Set<Stream>()

  constructor(server: Server) {
    this.#server = server
  }

  /** A standby asks for the log from behind its first `count` records. */
  request(stream: Stream, count: number): void {
    const server = this.#server
    if (server.state === 'dead') return
    const from = server.state === 'running' ? this.#startFor(stream.receiver.server, count) : undefined
    if (from === undefined) {
      stream.toStandby.send(() => stream.break())
      return
    }
    stream.sent = from
    this.#streams.add(stream)
    this.#announce(stream)
    this.#send(stream)
  }

  /** Sends what is flushed and not sent yet. */
  pump(): void {
    for (const stream of this.#streams) this.#send(stream)
  }

  /** A new timeline begins here: standbys follow it from its beginning, in the order of the log. */
  switchTimeline(): void {
    for (const stream of this.#streams) this.#announce(stream)
  }

  drop(stream: Stream): void {
    this.#streams.delete(stream)
  }

  close(told: boolean): void {
    for (const stream of this.#streams) if (told) stream.toStandby.send(() => stream.break())
    this.#streams.clear()
  }

  #announce(stream: Stream): void {
    const { timeline, ancestors } = this.#server.wal
    const keep = this.#server.wal.records[stream.sent - 1]?.end ?? 0
    stream.tell(() => stream.receiver.follow(stream, timeline, ancestors, keep))
  }

  #send(stream: Stream): void {
    const { wal, flushed } = this.#server
    const count = wal.countUpTo(flushed)
    if (count <= stream.sent) return
    const records = wal.records.slice(stream.sent, count)
    stream.sent = count
    stream.tell(() => stream.receiver.server.received(records))
  }

  /**
   * From which record on a standby can follow this server: it must not have applied anything that is not in this server's
   * log on disk. What it has received beyond that and not applied is of a history that was left. `undefined`: it cannot.
   */
  #startFor(standby: Server, count: number): number | undefined {
    const { wal, flushed } = this.#server
    if (standby.system !== this.#server.system || standby.wal.timeline > wal.timeline) return undefined
    const mine = wal.countUpTo(flushed)
    let common = Math.min(count, mine)
    while (common > 0 && wal.records[common - 1] !== standby.wal.records[common - 1]) common--
    return common >= standby.applied && (common === count || standby.wal.timeline < wal.timeline) ? common : undefined
  }
}

/** A standby's side. */
export class Receiver {
  readonly server: Server
  /** Which server it is to stream from. */
  upstream: string | undefined
  /** The timeline that it is streaming; `null` while it is not. */
  timeline: number | null = null
  #stream: Stream | undefined
  #trying = 0

  constructor(server: Server) {
    this.server = server
  }

  get streaming(): boolean {
    return this.timeline !== null
  }

  /** Streams from another server from now on. */
  followServer(upstream: string | undefined): void {
    this.upstream = upstream
    this.stop()
    if (this.server.state === 'running' && this.server.recovering) this.start()
  }

  start(): void {
    const { server } = this
    const trying = ++this.#trying
    const again = () => {
      if (trying !== this.#trying || !server.recovering) return
      // An upstream that lost its power says nothing; when it is there again, it knows nothing of the stream.
      if (this.#stream?.isStale) this.#stream.break()
      if (this.#stream === undefined) this.#connect()
      server.later(server.context.times.receiverRetryMs, again)
    }
    again()
  }

  stop(): void {
    this.#trying++
    const stream = this.#stream
    this.#stream = undefined
    this.timeline = null
    stream?.break()
  }

  /** The upstream streams this timeline from now on; what lies behind `keep` is of one that was left. */
  follow(stream: Stream, timeline: number, ancestors: Server['wal']['ancestors'], keep: number): void {
    if (stream !== this.#stream) return
    const { wal, applied } = this.server
    // Since it asked, it has applied something that the upstream's history has not got.
    if (wal.countUpTo(keep) < applied) {
      stream.break()
      return
    }
    if (wal.end > keep) this.server.truncate(keep)
    wal.timeline = timeline
    wal.ancestors = ancestors
    this.timeline = timeline
  }

  lost(stream: Stream): void {
    if (stream !== this.#stream) return
    this.#stream = undefined
    this.timeline = null
  }

  #connect(): void {
    const { server } = this
    const upstream = this.upstream === undefined ? undefined : server.context.serverOf(this.upstream)
    if (upstream === undefined) return
    const stream = new Stream(this, upstream)
    this.#stream = stream
    const count = server.wal.records.length
    stream.toUpstream.send(() => upstream.whenAwake(() => stream.open && upstream.senders.request(stream, count)))
  }
}
