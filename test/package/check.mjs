/**
 * Checks the package as users get it: packed, installed into projects of their own, imported, compiled against, run.
 * `npm run check:package` builds it first. What an earlier `npm ci` has left in npm's cache is used; the rest is fetched.
 */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const HERE = dirname(fileURLToPath(import.meta.url))
const PROJECT = dirname(dirname(HERE))
const CONSUMER = join(HERE, 'consumer')
/** What a project needs to compile and run `everything.ts` and `smoke.mjs`, besides the peers. */
const TOOLS = ['@types/node', 'typescript', '@hono/node-server']
/** What goes with the oldest peers. */
const OLD_TOOLS = ['typescript@5.9.3', '@hono/node-server@1.8.0']

const { version, exports, bin, peerDependencies } = readJson(join(PROJECT, 'package.json'))
const peers = Object.keys(peerDependencies)
const directory = mkdtempSync(join(tmpdir(), 'tidemark-package-'))
const tarball = join(directory, `tidemark-${version}.tgz`)
let failures = 0

try {
  await check('it packs, with everything that it exports', pack)
  await check('publint finds nothing', () => node(PROJECT, join(packageOf('publint'), 'src/cli.js'), 'run', tarball, '--strict'))
  await check('the types are right, says attw', () =>
    node(PROJECT, join(packageOf('@arethetypeswrong/cli'), 'dist/index.js'), tarball, '--profile', 'esm-only'),
  )
  await check('tidemark/fetch loads none of Node’s modules', checkFetchIsPortable)

  const bare = await createProject('no peers', [])
  await check('every subpath can be imported; a missing peer is named', () => node(bare, 'bare.mjs'))
  await check('npx tidemark --help', () => npm(bare, 'exec', '--offline', '--', 'tidemark', '--help'))

  const postgres = await createProject('pg only', installed('pg', '@types/pg', '@types/node', 'typescript'))
  await checkTypes(postgres, 'postgres-only.ts')

  const newest = await createProject('all peers, newest', installed(...peers, ...TOOLS))
  await checkTypes(newest, 'everything.ts')
  await check('every framework serves the author’s own write', () => node(newest, 'smoke.mjs'))

  const oldest = await createProject('all peers, oldest', [...oldestPeers(), ...OLD_TOOLS, ...installed('@types/node')])
  await checkTypes(oldest, 'everything.ts')
  await check('every framework serves the author’s own write', () => node(oldest, 'smoke.mjs'))
} finally {
  rmSync(directory, { recursive: true })
}
console.log(failures === 0 ? 'The package is fine.' : `${failures} of the checks above failed.`)
process.exitCode = failures === 0 ? 0 : 1

async function check(what, work) {
  const startedAt = performance.now()
  const error = await work().then(
    () => undefined,
    reason => reason,
  )
  const seconds = `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
  console.log(`${error === undefined ? 'ok    ' : 'FAILED'}  ${what.padEnd(60)} ${seconds.padStart(7)}`)
  if (error === undefined) return
  failures++
  // A program that failed has said why on its standard output or error.
  console.log([error.message, error.stdout, error.stderr].filter(Boolean).join('\n').replaceAll(/^/gm, '        '))
}

async function pack() {
  const { stdout } = await npm(PROJECT, 'pack', '--json', '--ignore-scripts', '--pack-destination', directory)
  const files = JSON.parse(stdout)[0].files.map(({ path }) => `./${path}`)
  const targets = Object.values(exports).flatMap(target => (typeof target === 'string' ? target : Object.values(target)))
  const missing = [...targets, ...Object.values(bin), './LICENSE', './README.md'].filter(path => !files.includes(path))
  const foreign = files.filter(path => /\.test\.(?!yml)|^\.\/(src|test|examples|bench)\//.test(path))
  if (missing.length + foreign.length > 0) throw new Error(`missing: ${missing.join(', ')}; not wanted: ${foreign.join(', ')}`)
}

/** Follows the imports of the fetch wrapper: browsers load it, so all of them must be relative. */
async function checkFetchIsPortable() {
  const queue = [join(PROJECT, exports['./fetch'].default)]
  for (const file of queue) {
    for (const [, specifier] of readFileSync(file, 'utf8').matchAll(/(?:\bfrom|^import) *['"]([^'"]+)['"]/gm)) {
      if (!specifier.startsWith('.')) throw new Error(`${file} imports ${specifier}`)
      const imported = join(dirname(file), specifier)
      if (!queue.includes(imported)) queue.push(imported)
    }
  }
}

/** A project with the packed package and what else is listed. npm refuses peers that are out of the package's ranges. */
async function createProject(title, packages) {
  const path = join(directory, title.replaceAll(/\W+/g, '-'))
  mkdirSync(path)
  cpSync(CONSUMER, path, { recursive: true })
  writeFileSync(join(path, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
  await check(`installs with ${title}`, () =>
    npm(path, 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', tarball, ...packages),
  )
  return path
}

/** With the types of all libraries checked, so that nothing is `any` unnoticed; what is wrong in others' is not our business. */
async function checkTypes(path, file) {
  const resolutions = { nodenext: 'nodenext', bundler: 'preserve' }
  const tsc = join(path, 'node_modules/typescript/bin/tsc')
  for (const [moduleResolution, module] of Object.entries(resolutions)) {
    const options = ['--moduleResolution', moduleResolution, '--module', module, '--target', 'es2023', '--types', 'node']
    await check(`${file} compiles, module resolution ${moduleResolution}`, async () => {
      try {
        await node(path, tsc, '--noEmit', '--strict', '--skipLibCheck', 'false', ...options, file)
      } catch (error) {
        const lines = error.stdout.split('\n').filter(line => line.includes('error TS'))
        const others = lines.filter(line => /^node_modules\/(?!tidemark\/)/.test(line))
        if (lines.length === 0 || others.length < lines.length) throw error
      }
    })
  }
}

/** With the versions that this project has. */
function installed(...names) {
  return names.map(name => `${name}@${readJson(join(packageOf(name), 'package.json')).version}`)
}

/** With the lowest version of their range. A range of pre-releases cannot be written down: there it is what is installed. */
function oldestPeers() {
  return peers.map(name => {
    const lowest = /\d+\.\d+\.\d+/.exec(peerDependencies[name])?.[0]
    return lowest === undefined ? installed(name)[0] : `${name}@${lowest}`
  })
}

function packageOf(name) {
  return join(PROJECT, 'node_modules', name)
}

function npm(cwd, ...args) {
  // Set by the npm that runs this script; without one, the npm on the search path.
  const { npm_execpath: script } = process.env
  return script === undefined ? run('npm', args, cwd) : node(cwd, script, ...args)
}

function node(cwd, ...args) {
  return run(process.execPath, args, cwd)
}

function run(program, args, cwd) {
  return promisify(execFile)(program, args, { cwd, timeout: 180_000, maxBuffer: 16 * 1024 * 1024 })
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'))
}
