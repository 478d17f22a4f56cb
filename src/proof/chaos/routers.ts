/** The routers of a chaos run: the same application in several processes, which can be restarted and killed. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { NodeStatus } from '../../engines/postgres/index.js'
import { freePort } from '../../testing/free-port.js'
import { until } from '../../testing/until.js'
import type { ApplicationConfig } from './application.js'
import type { HttpClient } from './http-client.js'
import { DEADLINE_MS } from './protocol.js'

/** The routers differ in how they read, and in how they say that a write was lost. */
const STRATEGIES = [
  { preset: 'two-level', lostWrites: 'reissue' },
  { preset: 'leader-reads', lostWrites: 'reissue' },
  { preset: 'token-fence', lostWrites: 'error' },
] as const satisfies readonly Pick<ApplicationConfig, 'preset' | 'lostWrites'>[]

const START_TIMEOUT_MS = 60_000
/** More than a request may take, and the end of the database behind it: a router that is stopped answers what it has been asked. */
const STOP_TIMEOUT_MS = DEADLINE_MS + 10_000
const ANSWER_TIMEOUT_MS = 5_000
const RETRY_MS = 100
const POLL_INTERVAL_MS = 100

export class Router {
  readonly origin: string
  readonly #config: ApplicationConfig
  readonly #client: HttpClient
  #process: ChildProcess | undefined

  constructor(config: ApplicationConfig, client: HttpClient) {
    this.#config = config
    this.#client = client
    this.origin = `http://127.0.0.1:${config.port}`
  }

  /** Resolves when it listens. It refuses to start while it can reach no node at all, so it is tried again. */
  async start(): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS
    for (;;) {
      const child = fork(new URL('./router-process.js', import.meta.url), [JSON.stringify(this.#config)], {
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      })
      let said = ''
      child.stderr?.setEncoding('utf8').on('data', text => {
        said = (said + text).slice(-2_000)
      })
      const listens = await Promise.race([once(child, 'message').then(() => true), once(child, 'exit').then(() => false)])
      if (listens) {
        this.#process = child
        return
      }
      if (performance.now() > deadline) throw new Error(`the router at ${this.origin} did not start: ${said}`)
      await sleep(RETRY_MS)
    }
  }

  /** `SIGTERM`: it answers what it has been asked first. */
  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await ended
    clearTimeout(late)
  }

  /** The JSON there. Rejects when the router does not answer. */
  async get(path: string): Promise<unknown> {
    const answer = await this.#client.fetch(this.origin + path, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) })
    return answer.json()
  }

  /** What it knows of the nodes; `undefined` when it does not say. */
  async status(): Promise<readonly NodeStatus[] | undefined> {
    try {
      return (await this.get('/status')) as readonly NodeStatus[]
    } catch {
      return undefined
    }
  }
}

/** Starts as many routers as there are strategies. */
export async function startRouters(
  config: Omit<ApplicationConfig, 'port' | 'preset' | 'lostWrites'>,
  client: HttpClient,
): Promise<Router[]> {
  const routers: Router[] = []
  for (const strategy of STRATEGIES) routers.push(new Router({ ...config, ...strategy, port: await freePort() }, client))
  try {
    await Promise.all(routers.map(router => router.start()))
  } catch (error) {
    await stopRouters(routers)
    throw error
  }
  return routers
}

export async function stopRouters(routers: readonly Router[]): Promise<void> {
  await Promise.all(routers.map(router => router.stop('SIGKILL')))
}

/** Waits until every router satisfies `condition`; throws `ClusterTimeoutError`. */
export async function untilRouters(
  routers: readonly Router[],
  condition: (status: readonly NodeStatus[]) => boolean,
  what: string,
  timeoutMs: number,
): Promise<void> {
  let last: readonly (readonly NodeStatus[] | undefined)[] = []
  const holds = async () => {
    last = await Promise.all(routers.map(router => router.status()))
    const held = last.every(status => status !== undefined && condition(status))
    if (!held) await sleep(POLL_INTERVAL_MS)
    return held
  }
  await until(holds, { timeoutMs, describe: () => `${what}; the routers said ${last.map(describeStatus).join(' | ')}` })
}

function describeStatus(status: readonly NodeStatus[] | undefined): string {
  if (status === undefined) return 'nothing'
  return status.map(({ node, role, usable, timeline }) => `${node} ${usable ? role : 'unusable'} ${timeline}`).join(', ')
}
