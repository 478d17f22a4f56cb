import type { Live, State } from './live.js'

/** A page that has not taken this many bytes is cut off: its browser comes back by itself. */
const MAX_BUFFERED_BYTES = 1_048_576

/** The state once a second as server-sent events, the charts' past first. `streams` is told how to end it. */
export function eventStream(
  live: Live,
  streams: Set<() => void>,
  headers: Readonly<Record<string, string>>,
  { method, signal }: Pick<Request, 'method' | 'signal'>,
): Response {
  const said = {
    headers: { ...headers, 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
  }
  // Nobody would read it, nor tell when it is to end.
  if (method === 'HEAD' || signal.aborted) return new Response(null, said)
  const encoder = new TextEncoder()
  let end = (_tooSlow = false) => {}
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const send = (event: string, data: unknown) =>
          controller.enqueue(encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`))
        const unsubscribe = live.subscribe((state: State) => {
          if ((controller.desiredSize ?? 0) <= 0) end(true)
          else send('state', state)
        })
        let ended = false
        const leave = () => end()
        end = (tooSlow = false) => {
          if (ended) return
          ended = true
          unsubscribe()
          streams.delete(leave)
          try {
            // Closing would keep what it has not taken, for as long as it likes.
            if (tooSlow) controller.error(new Error('the page takes its events too slowly'))
            else controller.close()
          } catch {
            // The reader has cancelled it already.
          }
        }
        streams.add(leave)
        signal.addEventListener('abort', () => end(), { once: true })
        controller.enqueue(encoder.encode('retry: 1000\n\n'))
        send('history', live.points)
      },
      cancel: () => end(),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: MAX_BUFFERED_BYTES }),
  )
  return new Response(body, said)
}
