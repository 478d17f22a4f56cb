import { once } from 'node:events'
import { get } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { CompiledCli } from './compiled-cli.js'

let cli: CompiledCli
let cluster: Cluster

beforeAll(async () => {
  ;[cli, cluster] = await Promise.all([CompiledCli.compile(), startCluster({ replicas: 1 })])
})
afterAll(async () => {
  cli?.remove()
  await cluster?.close()
})

test('serves the page of a cluster until it is interrupted', async () => {
  const child = cli.start(['dashboard', cluster.url('primary'), cluster.url('replica-1'), '--port', '0', '--name', 'shop'])
  const exited = once(child, 'exit')
  const [printed] = await once(child.stdout!.setEncoding('utf8'), 'data')
  const url = /Open (\S+)/.exec(printed)![1]!
  expect(await (await fetch(url)).text()).toContain('<title>Tidemark</title>')
  const { port } = new URL(url)
  const as = (host: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      get({ port, host: '127.0.0.1', path: '/', headers: { host } }, response => resolve(response.resume().statusCode)).on(
        'error',
        reject,
      )
    })
  expect([await as(`localhost:${port}`), await as(`[::1]:${port}`), await as('evil.example')]).toEqual([200, 200, 403])
  const stream = await fetch(new URL('events', url))
  const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
  let seen = ''
  while (!seen.includes('event: state')) seen += (await reader.read()).value
  expect(seen).toContain('"name":"shop"')
  expect(seen).toContain('"role":"replica"')
  // An open page does not keep it.
  child.kill('SIGINT')
  expect(await exited).toEqual([0, null])
  await reader.cancel().catch(() => {})
})

test.each([
  ['no nodes', [], 'Expected the URLs of the nodes'],
  ['a port that is none', ['postgres://127.0.0.1:1/x', '--port', '99999'], '--port must be a whole number'],
])('%s is a usage error', async (_, args, message) => {
  const { code, stderr } = await cli.run(['dashboard', ...args])
  expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
})

test('a cluster that cannot be reached is a failure, in words', async () => {
  const { code, stderr } = await cli.run(['dashboard', 'postgres://127.0.0.1:1/x'])
  expect([code, stderr]).toEqual([1, expect.stringContaining('no node can be used')])
})
