/**
 * How the logs of a leaderless cluster get around: each peer has a stream from every other. It brings what the other writes as it
 * is written; and whatever else the other has and this one lacks when it begins, and each time this one asks again.
 */
import type { Timer } from '../../core/clock.js'
import type { Channel } from './network.js'
import type { Peer, PeerRecord } from './peer.js'

/** From one peer to another. Over when either end or the link between them breaks. */
class GossipStream {
  readonly to: Peer
  readonly from: Peer
  /** How many records of each log have been sent, or were there. */
  readonly sent = new Map<string, number>()
  open = true
  readonly toSource: Channel
  readonly toReceiver: Channel
  readonly #life: number

  constructor(to: Peer, from: Peer) {
    this.to = to
    this.from = from
    this.#life = from.life
    const { network } = to.context
    this.toSource = network.channel(to.id, from.id, () => this.break())
    this.toReceiver = network.channel(from.id, to.id, () => this.break())
  }

  get isStale(): boolean {
    return this.from.state !== 'dead' && this.from.life !== this.#life
  }

  /** To the source, which takes it while it is awake and in the same life. */
  ask(arrive: () => void): void {
    this.toSource.send(() => this.from.whenAwake(() => this.open && this.from.state !== 'dead' && arrive()))
  }

  break(): void {
    if (!this.open) return
    this.open = false
    this.toSource.close()
    this.toReceiver.close()
    this.from.gossip.drop(this)
    this.to.gossip.lost(this)
  }
}

interface Incoming {
  readonly record: PeerRecord
  readonly stream: GossipStream
}

export class Gossip {
  readonly #peer: Peer
  /** From others, by their ids. */
  readonly #sources = new Map<string, GossipStream>()
  readonly #receivers = new Set<GossipStream>()
  /** Received and not applied yet. */
  #incoming: Incoming[] = []
  #replaying: Timer | undefined

  constructor(peer: Peer) {
    this.#peer = peer
  }

  start(): void {
    const again = () => {
      for (const other of this.#peer.context.others(this.#peer.id)) this.#ask(other)
      this.#peer.later(this.#peer.context.times.receiverRetryMs, again)
    }
    again()
  }

  stop(told: boolean): void {
    this.#replaying?.cancel()
    this.#replaying = undefined
    this.#incoming = []
    for (const stream of this.#sources.values()) stream.break()
    for (const stream of this.#receivers) if (told) stream.toReceiver.send(() => stream.break())
    this.#receivers.clear()
  }

  /** Sends what was written here. */
  pump(): void {
    for (const stream of this.#receivers) this.#send(stream, [this.#peer.log])
  }

  replay(): void {
    const { context, replayPaused, applyDelayMs } = this.#peer
    const next = this.#incoming[0]
    if (next === undefined || this.#replaying !== undefined || replayPaused) return
    const due = Math.max(0, next.record.writtenAt + applyDelayMs - context.simulation.now())
    this.#replaying = this.#peer.later(due + this.#peer.draw(context.times.replayMs), () => {
      this.#replaying = undefined
      if (this.#peer.replayPaused) return
      this.#apply()
      this.replay()
    })
  }

  drop(stream: GossipStream): void {
    this.#receivers.delete(stream)
  }

  lost(stream: GossipStream): void {
    if (this.#sources.get(stream.from.id) === stream) this.#sources.delete(stream.from.id)
    this.#incoming = this.#incoming.filter(each => each.stream !== stream)
  }

  #ask(other: Peer): void {
    const known = this.#sources.get(other.id)
    if (known?.isStale) known.break()
    const stream = this.#sources.get(other.id) ?? new GossipStream(this.#peer, other)
    const isNew = known !== stream
    this.#sources.set(other.id, stream)
    const have = isNew ? new Map([...this.#peer.logs].map(log => [log, this.#peer.recordsOf(log).length])) : undefined
    stream.ask(() => other.gossip.#asked(stream, have))
  }

  /** `have`: what the receiver has, when the stream is new. */
  #asked(stream: GossipStream, have: ReadonlyMap<string, number> | undefined): void {
    if (this.#peer.state !== 'running') {
      stream.toReceiver.send(() => stream.break())
      return
    }
    if (have !== undefined) for (const [log, count] of have) stream.sent.set(log, count)
    this.#receivers.add(stream)
    this.#send(stream, this.#peer.logs)
  }

  #send(stream: GossipStream, logs: Iterable<string>): void {
    const records: PeerRecord[] = []
    for (const log of logs) {
      const kept = this.#peer.recordsOf(log)
      for (let i = stream.sent.get(log) ?? 0; i < kept.length; i++) records.push(kept[i]!.record)
      stream.sent.set(log, Math.max(kept.length, stream.sent.get(log) ?? 0))
    }
    if (records.length > 0) stream.toReceiver.send(() => stream.to.whenAwake(() => stream.to.gossip.#received(stream, records)))
  }

  #received(stream: GossipStream, records: readonly PeerRecord[]): void {
    if (!stream.open) return
    for (const record of records) this.#incoming.push({ record, stream })
    this.replay()
  }

  #apply(): void {
    const next = this.#incoming.shift()
    if (next === undefined) return
    try {
      if (!this.#peer.apply(next.record)) next.stream.break()
    } catch {
      // Its clock is too far ahead: nothing of it is taken, until it is asked again.
      next.stream.break()
    }
  }
}
