import type { Channel, Network } from './network.js'
import { type Answers, ConnectionLostError, type Statement } from './protocol.js'

/** The server's end of a connection. */
export interface Backend {
  /** A statement has arrived. Statements are carried out one after another, each answered once. */
  receive(statement: Statement): void
  /** The client has gone, or the connection is broken. */
  closed(): void
}

/** What accepts connections: a server, or the host that it should run on. */
export interface Host {
  readonly id: string
  /** Nothing that is sent there is answered, not even that nobody is there. */
  readonly isSilent: boolean
  /** A connection request has arrived. */
  accept(connection: Connection): void
}

interface Pending {
  readonly resolve: (answer: never) => void
  readonly reject: (error: unknown) => void
}

/**
 * A client's connection to one server. Requests may be pipelined: they are answered in order. It has no deadline of its own:
 * whoever uses it keeps one, and calls {@link destroy}.
 */
export class Connection {
  /** The server that it leads to; nothing a client could know. */
  readonly host: Host
  /** Rejects with {@link ConnectionLostError} when refused or broken before it was open. */
  readonly opened: Promise<void>
  broken: Error | undefined
  /** Called once when it breaks, also when nothing is under way. */
  onBroken: (() => void) | undefined
  readonly #toServer: Channel
  readonly #toClient: Channel
  #backend: Backend | undefined
  #closedAtServer = false
  /** In the order of asking. The first is `opened`. */
  readonly #pending: Pending[] = []

  constructor(network: Network, from: string, host: Host) {
    this.host = host
    const reset = () => this.reset('connection reset by peer')
    this.#toServer = network.channel(from, host.id, reset)
    this.#toClient = network.channel(host.id, from, reset)
    this.opened = this.#awaitAnswer<undefined>().then(() => {})
    // Whoever destroys it before it is open may not be waiting any more.
    this.opened.catch(() => {})
    this.#toServer.send(() => host.accept(this))
  }

  request<K extends Statement['kind']>(statement: Statement & { readonly kind: K }): Promise<Answers[K]> {
    if (this.broken !== undefined) return Promise.reject(this.broken)
    const answer = this.#awaitAnswer<Answers[K]>()
    this.#toServer.send(() => this.#arrived(statement))
    return answer
  }

  /** The client closes it: what it is waiting for fails now; what has been sent is carried out when it arrives. */
  destroy(reason = 'connection closed by the client'): void {
    if (this.broken !== undefined) return
    this.#toServer.send(() => this.#closeAtServer())
    this.#toClient.close()
    this.#fail(reason)
  }

  /** The connection breaks on both ends at once: what is under way either way is lost. */
  reset(reason: string): void {
    // Also when the client has closed it already: then what breaks is the word of that, and the server has to hear of it some way.
    this.#toServer.close()
    this.#toClient.close()
    this.#closeAtServer()
    this.#fail(reason)
  }

  /** @internal The server takes it, and says so. */
  accepted(backend: Backend): void {
    this.#backend = backend
    // A server that was stopped meanwhile finds out when it goes on.
    if (this.#closedAtServer) backend.closed()
    else this.answer(undefined)
  }

  /** @internal The server's answer to the oldest request that it has not answered, `serviceMs` from now. */
  answer(answer: unknown, serviceMs = 0): void {
    this.#toClient.send(() => (this.#pending.shift()?.resolve as ((answer: unknown) => void) | undefined)?.(answer), serviceMs)
  }

  /** @internal As {@link answer}, with an error. */
  answerError(error: Error): void {
    this.#toClient.send(() => this.#pending.shift()?.reject(error))
  }

  /** @internal The server's end is gone: the client hears of it behind what was answered before. */
  closedByServer(reason: string): void {
    this.#toServer.close()
    this.#toClient.send(() => {
      this.#toClient.close()
      this.#fail(reason)
    })
  }

  /** @internal The server's host is without power: nobody hears of it, before something is sent there when it has come back. */
  abandoned(): void {
    this.#backend = undefined
  }

  #arrived(statement: Statement): void {
    if (this.#backend !== undefined) this.#backend.receive(statement)
    else if (!this.host.isSilent) this.closedByServer('connection reset by peer')
  }

  #closeAtServer(): void {
    this.#closedAtServer = true
    this.#backend?.closed()
  }

  #fail(reason: string): void {
    if (this.broken !== undefined) return
    this.broken = new ConnectionLostError(reason)
    for (const { reject } of this.#pending.splice(0)) reject(this.broken)
    this.onBroken?.()
  }

  #awaitAnswer<T>(): Promise<T> {
    return new Promise<T>((resolve, reject) => this.#pending.push({ resolve: resolve as (answer: never) => void, reject }))
  }
}
