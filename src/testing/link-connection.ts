import type { Socket } from 'node:net'
import { Flow, type FlowConditions } from './flow.js'

/** The conditions of both directions of a link. */
export interface LinkConditions {
  readonly requests: FlowConditions
  readonly answers: FlowConditions
}

/**
 * A client's connection through a link, and the one to the server that belongs to it. Without the latter, because the client came while
 * everything was swallowed, it is only kept open.
 */
export class LinkConnection {
  readonly #sockets: readonly Socket[]
  readonly #flows: readonly Flow[]
  readonly #isSwallowing: () => boolean
  /** One end has gone without the other learning of it. */
  #torn = false

  constructor(client: Socket, server: Socket | undefined, conditions: () => LinkConditions, onGone: () => void) {
    this.#isSwallowing = () => conditions().requests.swallow
    this.#sockets = server ? [client, server] : [client]
    for (const socket of this.#sockets) {
      socket.setNoDelay(true)
      socket.unref()
      // `close` follows, and says all there is to say.
      socket.on('error', () => undefined)
      socket.on('close', hadError => {
        this.#ended(hadError)
        if (this.#sockets.every(each => each.destroyed)) onGone()
      })
    }
    if (server) {
      const requests = new Flow(client, server, () => conditions().requests)
      this.#flows = [requests, new Flow(server, client, () => conditions().answers)]
    } else {
      this.#torn = true
      this.#flows = []
      client.resume()
    }
  }

  /** Whether one of its streams has a hole, so that it must not go on. */
  get damaged(): boolean {
    return this.#torn || this.#flows.some(flow => flow.lost)
  }

  changed(): void {
    for (const flow of this.#flows) flow.changed()
  }

  /** Resets both ends: what is on its way is lost. */
  destroy(): void {
    for (const flow of this.#flows) flow.stop()
    for (const socket of this.#sockets) if (!socket.destroyed) reset(socket)
  }

  /** An orderly end travels as the last piece of a flow; only one by an error has to be told here. */
  #ended(hadError: boolean): void {
    if (!hadError) return
    if (this.#isSwallowing()) this.#torn = true
    else this.destroy()
  }
}

/**
 * While a stream is being shut down, libuv refuses to reset it, and Node then never closes it (no `close` event, and a process that
 * waits for it for ever when it ends). Such a one is closed without a reset: its peer has been sent the end already.
 */
function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy()
  else socket.resetAndDestroy()
}
