import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { LinkConnection } from './link-connection.js'

const WHOLE = { delayMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY, swallow: false }

test('a connection that is just ending is closed, too', { timeout: 10_000 }, async () => {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const peer = connect({ port, host: '127.0.0.1' })
  peer.on('error', () => undefined)
  const [socket] = await accepted
  let gone = false
  const connection = new LinkConnection(
    socket,
    undefined,
    () => ({ requests: WHOLE, answers: WHOLE }),
    () => {
      gone = true
    },
  )
  const closed = once(socket, 'close')
  socket.end()
  // The shutdown is asked for, and not done.
  expect([socket.writableEnded, socket.writableFinished]).toEqual([true, false])
  connection.destroy()
  await closed
  expect(gone).toBe(true)
  peer.destroy()
  server.close()
})
