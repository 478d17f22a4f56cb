import type { Live, State } from './live.js'

/** A page that has not taken this many bytes is cut off: its browser comes back by itself. */
const MAX_BUFFERED_BYTES = 1_048_576

/** The state once a second as server-sent events, the charts' past first. `streams` is told how to end it. */
export function eventStream(
  live: Live,
  streams: Set<() => void>,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Response {
  const encoder = new TextEncoder()
  let end = () => {}
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const send = (event: string, data: unknown) =>
          controller.enqueue(encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`))
        const unsubscribe = live.subscribe((state: State) => {
          if ((controller.desiredSize ?? 0) <= 0) end()
          else send('state', state)
        })
        let ended = false
        end = () => {
          if (ended) return
          ended = true
          unsubscribe()
          streams.delete(end)
          try {
            controller.close()
          } catch {
            // The reader has cancelled it already.
          }
        }
        streams.add(end)
        signal.addEventListener('abort', () => end(), { once: true })
        controller.enqueue(encoder.encode('retry: 1000\n\n'))
        send('history', live.points)
      },
      cancel: () => end(),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: MAX_BUFFERED_BYTES }),
  )
  return new Response(body, {
    headers: { ...headers, 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
  })
}
