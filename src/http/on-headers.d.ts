declare module 'on-headers' {
  import type { ServerResponse } from 'node:http'

  /** Calls `listener` once, just before the headers are sent, when they can still be changed. */
  export default function onHeaders(res: ServerResponse, listener: (this: ServerResponse) => void): void
}
