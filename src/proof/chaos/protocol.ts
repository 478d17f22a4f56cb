/** What clients and the application of a chaos run say to each other. */
import type { ReadValue } from '../../testing/history/record.js'

/** Ways in which a request can ask for its statements to be run. */
export const WAYS = ['pool', 'session', 'transaction'] as const
export type Way = (typeof WAYS)[number]

/** The body of `POST /<guarantee>`. Reads or writes, not both. */
export interface WorkRequest {
  readonly way: Way
  readonly reads?: readonly string[]
  readonly writes?: readonly (readonly [key: string, value: string])[]
}

/** The body of an answer of status 200. */
export interface Done {
  readonly reads?: readonly ReadValue[]
  /** What each write replaced, in their order. */
  readonly replaced?: readonly (string | null)[]
  /** What the read says of itself. */
  readonly achieved?: 'eventual' | 'read-your-writes' | 'monotonic-reads'
  readonly possiblyLost?: boolean
  /** Of a known user's write: the other devices know of it too. */
  readonly everywhere?: boolean
}

/** The body of any other answer. */
export interface Failed {
  readonly error: string
  /** Nothing has been written. */
  readonly certain: boolean
  readonly possiblyLost: boolean
}

/** Whom the request is from. The application believes it; a real one would authenticate. */
export const USER_HEADER = 'x-user'

export const SCHEMA = `
  CREATE TABLE item (key text PRIMARY KEY, value text);
  CREATE TABLE audit (value text PRIMARY KEY, key text NOT NULL, prev text)`

/**
 * Every request is answered within this time, whatever happens to the cluster. It is the sum of what one request may wait for, by the
 * settings in `application.ts`: the token store 1 s, a look at every node 1 s, the record of a promotion 1 s, a replica that is behind
 * 1 s, and on each of three nodes a connection 1.5 s and a statement 2 s. A write waits for less: it is sent to one node, once.
 */
export const DEADLINE_MS = 15_000
