import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import fc from 'fast-check'
import { readYourWrites } from '../../http/node.js'
import { FuzzDatabase, type HttpCase, type HttpTargetOptions, httpCases, judgeHistory } from './http-target.js'
import { Tally, type Target } from './target.js'

interface NodeCase {
  readonly case: HttpCase
  /** Bytes that are put into the request, as they are. */
  readonly raw: Uint8Array
  readonly at: 'nowhere' | 'cookie' | 'token' | 'header' | 'name'
}

const TIMEOUT_MS = 5_000

/** The same through a real server: the bytes of a request on a socket, also bytes that no client may send. */
export async function openNodeTarget({ db = new FuzzDatabase() }: HttpTargetOptions = {}): Promise<Target<NodeCase>> {
  const truth = new FuzzDatabase()
  const seen = new Tally()
  let believed: FuzzDatabase['current']
  const server = createServer(
    readYourWrites(db)((_, res) => {
      believed = db.current
      res.end('ok')
    }),
  )
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo

  return {
    name: 'node',
    seen,
    deadlineMs: TIMEOUT_MS,
    cases: fc.record({
      case: httpCases,
      raw: fc.uint8Array({ maxLength: 200 }),
      at: fc.constantFrom('nowhere', 'nowhere', 'cookie', 'token', 'header', 'name'),
    }),
    async check(input) {
      believed = undefined
      const status = await statusOf(port, requestOf(input))
      seen.count(`status ${status}`)
      if (status === '500') return { kind: 'crash', message: 'the server answers 500' }
      if (status === 'none' && believed !== undefined) return { kind: 'crash', message: 'the server does not answer' }
      if (believed === undefined) return undefined
      const { cookie, token, good } = input.case
      // Nobody is logged in: tokens of users are not for this session.
      const ofNobody = good.filter(text => isForNobody(truth, text))
      return judgeHistory(
        (believed as NonNullable<FuzzDatabase['current']>).history,
        undefined,
        { cookie, token },
        ofNobody,
        truth,
      )
    },
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function isForNobody(db: FuzzDatabase, text: string): boolean {
  try {
    db.codec.decode(text)
    return true
  } catch {
    return false
  }
}

function requestOf({ case: { cookie, token }, raw, at }: NodeCase): Buffer {
  const bytes = Buffer.from(raw)
  const part = (place: NodeCase['at']) => (at === place ? bytes : Buffer.alloc(0))
  const lines: (string | Buffer)[] = ['GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n']
  if (cookie !== null) lines.push('Cookie: ', cookie, part('cookie'), '\r\n')
  if (token !== null) lines.push('Tidemark-Token: ', token, part('token'), '\r\n')
  if (at === 'header') lines.push('X-Other: ', bytes, '\r\n')
  if (at === 'name') lines.push(bytes, ': x\r\n')
  return Buffer.concat([...lines.map(line => (typeof line === 'string' ? Buffer.from(line) : line)), Buffer.from('\r\n')])
}

/** The status of the answer; `none` when the server hangs up without one. */
function statusOf(port: number, request: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(request))
    socket.setEncoding('latin1').on('data', (part: string) => {
      answer += part
    })
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy())
    // A server that refuses a request hangs up, also while it is being sent.
    socket.on('error', error => ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? reject(error) : undefined))
    socket.on('close', () => resolve(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 'none'))
  })
}
