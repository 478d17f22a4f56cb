/** The demo as a person runs it: a process of its own, seen through HTTP, and gone without a trace after Ctrl-C. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Script } from 'node:vm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { APP_SCRIPT } from '../../src/cli/demo/assets/app-script.js'
import { Browser, UnavailableError } from '../../src/cli/demo/browser.js'
import type { DemoState } from '../../src/cli/demo/demo-server.js'
import { judge } from '../../src/cli/demo/once.js'
import { photoRoutes } from '../../src/cli/demo/photo-app.js'
import type { Policy, Store } from '../../src/cli/demo/policies.js'
import { PRESET_NAMES } from '../../src/cli/demo/presets.js'
import { type PolicyName, type Score, Scoreboard } from '../../src/cli/demo/scoreboard.js'
import { allProcesses, commandLine } from '../../src/testing/process-info.js'
import { CompiledCli } from './compiled-cli.js'

/** More than it takes to read back, and little enough to wait for. */
const LAG_MS = 1_500
/** Far longer than any of it takes. */
const POLL = { timeout: 15_000 }
/** Each of three policies may take nine seconds on a busy machine, and servers have to start and stop. */
const ONCE_TIMEOUT_MS = 60_000
const NO_SIGNAL = new AbortController().signal

let cli: CompiledCli
/** The directory for temporary files of the demo's processes. */
let temporary: string

beforeAll(async () => {
  cli = await CompiledCli.compile()
  temporary = mkdtempSync(join(tmpdir(), 'tidemark-test-demo-'))
  chmodSync(temporary, 0o777)
})

afterAll(() => {
  cli.remove()
  rmSync(temporary, { recursive: true })
})

async function startDemo(...args: string[]): Promise<{ demo: ChildProcess; url: string }> {
  const demo = cli.start(['demo', '--port', '0', ...args], { TMPDIR: temporary })
  let output = ''
  for await (const chunk of demo.stdout!.iterator({ destroyOnReturn: false })) {
    output += chunk
    const url = /^Open (http\S+)$/m.exec(output)?.[1]
    if (url !== undefined) return { demo, url }
  }
  throw new Error(`the demo did not start: ${output}`)
}

const leftProcesses = () => allProcesses().filter(pid => commandLine(pid).includes(temporary))
const leftFiles = () => readdirSync(temporary).filter(name => name.startsWith('tidemark-cluster-'))

describe('the page', () => {
  let demo: ChildProcess
  let url: string

  beforeAll(async () => {
    const started = await startDemo('--lag', String(LAG_MS))
    demo = started.demo
    url = started.url
  })

  afterAll(async () => {
    demo.kill('SIGINT')
    await once(demo, 'exit')
  })

  const state = async () => (await (await fetch(`${url}/state`)).json()) as DemoState
  const settings = (fields: Record<string, string>, headers: Record<string, string> = {}) =>
    fetch(`${url}/settings`, { method: 'POST', body: new URLSearchParams(fields), headers })
  const scoreOf = async (name: PolicyName) => (await state()).scores.find(score => score.name === name)!

  test('shows both sides, and loads nothing but its own script and style', async () => {
    const response = await fetch(url)
    const page = await response.text()
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'")
    expect(page).toMatch(/The author[\s\S]*A follower/)
    expect(page).not.toMatch(/<script(?! src="\/app\.js" type="module"><\/script>)|style=|https?:/)
    for (const [path, type] of Object.entries({ '/app.js': 'text/javascript', '/style.css': 'text/css' })) {
      const asset = await fetch(url + path)
      expect([asset.status, asset.headers.get('content-type')]).toEqual([200, `${type}; charset=utf-8`])
    }
    expect(() => new Script(`(async () => {${APP_SCRIPT}})`)).not.toThrow()
  })

  test('an author misses the own photo with any replica; a follower does not know', async () => {
    await settings({ policy: 'any replica', reset: '1' })
    const author = new Browser(url, NO_SIGNAL)
    expect(await author.post('/photos', { caption: 'First light' })).toMatch(/Your photo is missing!.*replica-\d/)
    expect(await new Browser(url, NO_SIGNAL).get('/feed')).not.toContain('is missing')
    await expect.poll(() => author.get('/me'), POLL).toMatch(/Your photo is here/)
    const { writes, violations, followerReadsByNode } = await scoreOf('any replica')
    expect(writes).toBe(1)
    expect(violations).toBeGreaterThan(0)
    expect(followerReadsByNode.primary).toBe(0)
  })

  test('with Tidemark the photo is there at once, from the primary, and later from a replica', async () => {
    await settings({ policy: 'tidemark', reset: '1' })
    const author = new Browser(url, NO_SIGNAL)
    expect(await author.post('/photos', { caption: 'Second light' })).toMatch(/Your photo is here.*<b>primary<\/b>/)
    expect(await new Browser(url, NO_SIGNAL).get('/feed')).toMatch(/served by <b>replica-\d<\/b>/)
    await expect.poll(() => author.get('/me'), POLL).toMatch(/Your photo is here.*<b>replica-\d<\/b>/)
    const { ownReads, violations, readsByNode } = await scoreOf('tidemark')
    expect([violations, ownReads > 1, readsByNode.primary! > 0]).toEqual([0, true, true])
  })

  test('a photo posted under one policy is not held against another', async () => {
    await settings({ policy: 'any replica', reset: '1' })
    const author = new Browser(url, NO_SIGNAL)
    await author.post('/photos', { caption: 'Third light' })
    await settings({ policy: 'tidemark' })
    await author.get('/me')
    expect(await scoreOf('tidemark')).toMatchObject({ reads: 1, ownReads: 0, violations: 0 })
  })

  test('numbers arrive without being asked for', async () => {
    await settings({ policy: 'primary', reset: '1' })
    const leaving = new AbortController()
    const events = await fetch(`${url}/events`, { signal: leaving.signal })
    expect(events.headers.get('content-type')).toContain('text/event-stream')
    const reader = events.body!.pipeThrough(new TextDecoderStream()).getReader()
    let seen = ''
    const sees = async (pattern: RegExp) => {
      while (!pattern.test(seen)) seen += (await reader.read()).value
    }
    await sees(/"name":"primary","writes":0,/)
    await new Browser(url, NO_SIGNAL).post('/photos', { caption: 'Fourth light' })
    await sees(/"name":"primary","writes":1,"reads":1,"ownReads":1,"violations":0,"readsByNode":\{"primary":1,/)
    leaving.abort()
  })

  test('the lag changes when it is told to, and takes effect', async () => {
    await settings({ policy: 'any replica', lagMs: '60000' })
    expect((await state()).lagMs).toBe(60_000)
    const author = new Browser(url, NO_SIGNAL)
    expect(await author.post('/photos', { caption: 'Fifth light' })).toContain('Your photo is missing!')
    await settings({ lagMs: String(LAG_MS) })
    await expect.poll(() => author.get('/me'), POLL).toContain('Your photo is here')
  })

  test('shows hostile text as text, also where it is missing', async () => {
    await settings({ policy: 'any replica' })
    const hostile = `</span><script>alert("x")</script><img src=x onerror='y'>&amp;`
    const shown = '&lt;/span&gt;&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&lt;img src=x onerror=&#39;y&#39;&gt;&amp;amp;'
    const author = new Browser(url, NO_SIGNAL)
    const missing = await author.post('/photos', { caption: hostile })
    let profile = missing
    const look = async () => {
      profile = await author.get('/me')
      return profile
    }
    await expect.poll(look, POLL).toContain('Your photo is here')
    for (const page of [missing, profile]) {
      expect(page).toContain(shown)
      expect(page).not.toMatch(/<script|<img/)
    }
  })

  test('refuses what is no photo, what another site sends, and what it does not know', async () => {
    const post = (caption: string, headers = {}) =>
      fetch(`${url}/photos`, { method: 'POST', body: new URLSearchParams({ caption }), redirect: 'manual', headers })
    const statuses = await Promise.all([
      post(' '),
      post('x'.repeat(81)),
      post('a\0b'),
      post('fine', { 'sec-fetch-site': 'cross-site' }),
      settings({ policy: 'none' }),
      settings({ preset: 'none' }),
      settings({ lagMs: '-1' }),
      fetch(`${url}/promote`, { method: 'POST', headers: { 'sec-fetch-site': 'cross-site' } }),
      settings({ lagMs: '1e9' }),
      settings({ policy: 'primary' }, { 'sec-fetch-site': 'same-site' }),
      fetch(`${url}/../etc/passwd`),
      fetch(`${url}/constructor`),
      fetch(`${url}/photos`),
      fetch(url, { headers: { cookie: 'tidemark-demo-last-post=%; tidemark-demo-author=1; tidemark.x=y' } }),
    ])
    expect(statuses.map(({ status }) => status)).toEqual([400, 400, 400, 403, 400, 400, 400, 403, 400, 403, 404, 404, 404, 200])
    expect((await state()).failover.promotions).toBe(0)
  })
})

describe('a failover', () => {
  let demo: ChildProcess
  let url: string
  let stderr = ''

  beforeAll(async () => {
    const started = await startDemo('--lag', '300', '--preset', 'token-fence')
    demo = started.demo
    url = started.url
    demo.stderr!.on('data', chunk => {
      stderr += chunk
    })
  })

  afterAll(async () => {
    demo.kill('SIGINT')
    await once(demo, 'exit')
  })

  const state = async () => (await (await fetch(`${url}/state`)).json()) as DemoState
  const settings = (fields: Record<string, string>) =>
    fetch(`${url}/settings`, { method: 'POST', body: new URLSearchParams(fields) })
  const promote = () => fetch(`${url}/promote`, { method: 'POST' })
  const tidemarkScore = async () => (await state()).scores[2]!

  /** Posts and looks until told to end, whatever the answers are. */
  function load(): () => Promise<void> {
    let ended = false
    const author = new Browser(url, NO_SIGNAL)
    const running = (async () => {
      for (let post = 1; !ended; post++) {
        for (const request of [() => author.post('/photos', { caption: `Photo ${post}` }), () => author.get('/me')]) {
          await request().catch(error => {
            if (!(error instanceof UnavailableError)) throw error
          })
        }
      }
    })()
    return () => {
      ended = true
      return running
    }
  }

  test('under load costs failed requests, and with Tidemark no author a photo; then another, until no replica is left', async () => {
    await settings({ policy: 'tidemark' })
    expect(await state()).toMatchObject({ preset: 'token-fence', primary: 'primary', down: [] })
    const stop = load()
    await expect.poll(async () => (await tidemarkScore()).ownReads, POLL).toBeGreaterThan(3)
    const promoted = promote()
    await expect.poll(async () => (await state()).failover.blocked, POLL).toMatch(/being promoted/)
    expect((await promote()).status).toBe(409)
    expect((await promoted).status).toBe(200)
    const { writes, ownReads } = await tidemarkScore()
    await expect.poll(async () => (await tidemarkScore()).writes, POLL).toBeGreaterThan(writes + 3)
    await expect.poll(async () => (await tidemarkScore()).ownReads, POLL).toBeGreaterThan(ownReads + 3)
    await stop()
    const { primary, failover, scores } = await state()
    expect([primary.startsWith('replica-'), failover.promotions]).toEqual([true, 1])
    expect(failover.story).toMatch(/^“primary” was killed and “replica-\d” promoted: no primary for \d+\.\d s\./)
    expect([scores[2]!.violations, scores[2]!.failedRequests > 0]).toEqual([0, true])
    expect(stderr.split('\n').length).toBeLessThan(20)
  })

  test('and another, with every policy served by what is left; without a replica the button says why', async () => {
    await expect.poll(async () => (await state()).failover.blocked, POLL).toBeNull()
    expect((await promote()).status).toBe(200)
    const { failover, down } = await state()
    expect(failover.promotions).toBe(2)
    for (const policy of ['any replica', 'primary', 'tidemark']) {
      await settings({ policy })
      const author = new Browser(url, NO_SIGNAL)
      const posted = () => author.post('/photos', { caption: 'After all that' }).catch(String)
      await expect.poll(posted, POLL).toMatch(/After all that/)
    }
    if (down.length < 2) return
    expect(failover.blocked).toMatch(/No replica is left/)
    expect((await promote()).status).toBe(409)
    expect(await (await fetch(url)).text()).toMatch(/<button[^>]* disabled>Promote a replica<\/button>/)
  })
})

describe('presets', () => {
  test('each can be chosen while the demo runs, keeps what an author has written, and counts afresh', async () => {
    const { demo, url } = await startDemo('--lag', '300')
    const settings = (fields: Record<string, string>) =>
      fetch(`${url}/settings`, { method: 'POST', body: new URLSearchParams(fields) })
    const author = new Browser(url, NO_SIGNAL)
    await settings({ policy: 'tidemark' })
    for (const preset of PRESET_NAMES) {
      await author.post('/photos', { caption: `Before ${preset}` })
      const changed = (await (await settings({ preset })).json()) as DemoState
      expect([changed.preset, changed.scores[2]!.reads]).toEqual([preset, 0])
      expect(await author.get('/me')).toMatch(/Your photo is here/)
      expect(await author.post('/photos', { caption: `With ${preset}` })).toMatch(/Your photo is here/)
      expect(await (await fetch(url)).text()).toContain(` selected>${preset}</option>`)
    }
    demo.kill('SIGINT')
    await once(demo, 'exit')
  })

  test('one that there is not is refused, and all that there are are named', async () => {
    const { code, stdout, stderr } = await cli.run(['demo', '--preset', 'fastest'])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain("not 'fastest'")
    for (const preset of PRESET_NAMES) expect(stderr).toContain(preset)
  })
})

describe('a lost write', () => {
  test('is no violation once it was reported, and one when nobody said so', async () => {
    const judged = async (possiblyLost: boolean, cookies: string) => {
      const scoreboard = new Scoreboard(['primary'])
      const store: Store = { write: async () => [], read: async () => ({ rows: [], node: 'primary', possiblyLost }) }
      const policy: Policy = { name: 'tidemark', listener: () => () => {} }
      const handle = (req: IncomingMessage, res: ServerResponse) =>
        photoRoutes['GET /me']!(req, res, store, { policy, scoreboard, primary: 'primary' })
      const server = createServer(handle).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const response = await fetch(`http://127.0.0.1:${port}/me`, { headers: { cookie: cookies } })
      const page = await response.text()
      server.close()
      const { violations, lostWritesReported } = scoreboard.score('tidemark')
      return { violations, lostWritesReported, page, cookie: response.headers.getSetCookie()[0]?.split(';')[0] ?? '' }
    }
    const author = 'tidemark-demo-author=0123456789abcdef'
    const posted = `tidemark-demo-last-post=${encodeURIComponent(JSON.stringify(['tidemark', 7, 'Gone', false]))}`
    const silent = await judged(false, `${author}; ${posted}`)
    expect(silent).toMatchObject({ violations: 1, lostWritesReported: 0, page: expect.stringContaining('is missing') })
    const reported = await judged(true, `${author}; ${posted}`)
    expect(reported).toMatchObject({ violations: 0, lostWritesReported: 1, page: expect.stringContaining('was lost') })
    const later = await judged(false, `${author}; ${reported.cookie}`)
    expect(later).toMatchObject({ violations: 0, lostWritesReported: 0, page: expect.stringContaining('was lost') })
  })
})

describe('the end', () => {
  test.each([
    ['SIGINT', 0],
    ['SIGTERM', 0],
  ] as const)('after %s no server and no file is left, while people watch', async (signal, code) => {
    const { demo, url } = await startDemo('--replicas', '1')
    expect(leftProcesses()).not.toEqual([])
    expect(leftFiles()).toHaveLength(1)
    const watching = (await fetch(`${url}/events`)).text().catch(() => 'cut')
    const exited = once(demo, 'exit')
    demo.kill(signal)
    expect(await exited).toEqual([code, null])
    await watching
    expect([leftProcesses(), leftFiles()]).toEqual([[], []])
  })

  test('Ctrl-C while the servers start ends that too', async () => {
    const demo = cli.start(['demo', '--port', '0'], { TMPDIR: temporary })
    const exited = once(demo, 'exit')
    await expect.poll(leftFiles, POLL).toHaveLength(1)
    demo.kill('SIGINT')
    expect(await exited).toEqual([130, null])
    expect([leftProcesses(), leftFiles()]).toEqual([[], []])
  })

  test('a port that is taken is said to be, and nothing is left', async () => {
    const { demo, url } = await startDemo('--replicas', '1')
    const { code, stdout, stderr } = await cli.run(['demo', '--port', new URL(url).port], { TMPDIR: temporary })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/EADDRINUSE/)
    demo.kill('SIGINT')
    await once(demo, 'exit')
    expect([leftProcesses(), leftFiles()]).toEqual([[], []])
  })
})

describe('--once', { timeout: ONCE_TIMEOUT_MS }, () => {
  test('prints what happened as one JSON object, and proves the point', async () => {
    const { code, stdout, stderr } = await cli.run(['demo', '--once', '--json', '--rounds', '6', '--lag', '80'], {
      TMPDIR: temporary,
    })
    expect([code, stderr]).toEqual([0, ''])
    const { policies, ...rest } = JSON.parse(stdout)
    expect(rest).toEqual({ replicas: 2, lagMs: 80, preset: 'two-level' })
    const [any, primary, tidemark] = policies
    expect([any.name, primary.name, tidemark.name]).toEqual(['any replica', 'primary', 'tidemark'])
    expect([any.violations > 0, primary.violations, tidemark.violations]).toEqual([true, 0, 0])
    expect([any.primaryReads, primary.replicaReads]).toEqual([0, 0])
    expect([tidemark.primaryReads > 0, tidemark.replicaReads > 0]).toEqual([true, true])
    for (const { writes, reads, primaryReads, replicaReads, cacheReads, p50Ms, p99Ms, ...others } of policies) {
      expect([writes, primaryReads + replicaReads, cacheReads]).toEqual([48, reads, 0])
      expect(others).toMatchObject({ lostWritesReported: 0, failedRequests: 0 })
      expect([p50Ms > 0, p99Ms >= p50Ms]).toEqual([true, true])
    }
    expect([leftProcesses(), leftFiles()]).toEqual([[], []])
  })

  test('plays the preset that it is told, and says which', async () => {
    const args = ['demo', '--once', '--json', '--rounds', '4', '--lag', '80', '--preset', 'write-through-cache']
    const { code, stdout, stderr } = await cli.run(args, { TMPDIR: temporary })
    expect([code, stderr]).toEqual([0, ''])
    const { preset, policies } = JSON.parse(stdout)
    expect(preset).toBe('write-through-cache')
    expect(policies.map(({ cacheReads }: { cacheReads: number }) => cacheReads > 0)).toEqual([false, false, true])
    expect(policies[2].violations).toBe(0)
  })

  function score(name: PolicyName, violations: number, followersOnPrimary = 0): Score {
    const failures = { lostWritesReported: 0, failedRequests: 0 }
    const counts = { writes: 10, reads: 100, ownReads: 50, primaryReads: 20, ...failures, p50Ms: 1, p99Ms: 2 }
    const followerReadsByNode = { primary: followersOnPrimary, 'replica-1': 50 - followersOnPrimary }
    return { name, violations, ...counts, readsByNode: { primary: 20, 'replica-1': 80 }, followerReadsByNode }
  }
  const verdict = (any: Score, tidemark: Score) => judge([any, score('primary', 0), tidemark], 'primary').kind

  test('proves nothing when nothing was missed, and fails when Tidemark missed something or the primary served followers', () => {
    expect(verdict(score('any replica', 7), score('tidemark', 0))).toBe('proved')
    expect(verdict(score('any replica', 0), score('tidemark', 0))).toBe('inconclusive')
    expect(verdict(score('any replica', 7), score('tidemark', 1))).toBe('failed')
    expect(verdict(score('any replica', 0), score('tidemark', 1))).toBe('failed')
    expect(verdict(score('any replica', 7), score('tidemark', 0, 1))).toBe('failed')
    // A quorum reads from the freshest, whoever that is.
    const scores = [score('any replica', 7), score('primary', 0), score('tidemark', 0, 1)]
    expect(judge(scores, 'primary', 'quorum').kind).toBe('proved')
  })
})
