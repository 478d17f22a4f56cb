/** What the documentation shows compiles, runs and leads somewhere. How to mark blocks of code: see `document.ts`. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { CompiledBlocks, type PlacedBlock, PROJECT } from './compiled-blocks.js'
import { readDocument } from './document.js'

const paths = ['', 'docs', 'examples'].flatMap(folder =>
  readdirSync(join(PROJECT, folder)).flatMap(name => (name.endsWith('.md') ? [join(folder, name)] : [])),
)
const documents = new Map(paths.map(path => [path, readDocument(join(PROJECT, path))]))
const blocks: PlacedBlock[] = [...documents].flatMap(([document, read]) => read.blocks.map(block => ({ document, ...block })))
const titled = (block: PlacedBlock) => [`${block.document}:${block.line}`, block] as const

let compiled: CompiledBlocks
let cluster: Cluster

beforeAll(async () => {
  ;[compiled, cluster] = await Promise.all([CompiledBlocks.compile(blocks), startCluster({ replicas: 2 })])
})
afterAll(async () => {
  compiled?.remove()
  await cluster?.close()
})

test('there are documents with programs, and what is around them compiles', () => {
  expect(blocks.filter(block => block.kind === 'program')).not.toEqual([])
  expect(compiled.errors()).toEqual([])
})

test.each(blocks.map(titled))('%s compiles', (_, block) => {
  expect(compiled.errors(block)).toEqual([])
})

test.each(blocks.filter(block => block.kind === 'program').map(titled))('%s runs and ends', async (_, block) => {
  // A program finds an empty database.
  await cluster.query('primary', 'drop schema public cascade; create schema public')
  await cluster.caughtUp()
  // Rejects unless the program ends by itself, in time, with code 0; the error has what it printed.
  await promisify(execFile)(process.execPath, [compiled.path(block)], {
    timeout: 20_000,
    env: {
      PATH: process.env.PATH,
      TMPDIR: process.env.TMPDIR,
      PRIMARY_URL: cluster.url('primary'),
      REPLICA_URL: cluster.url('replica-1'),
      REPLICA_2_URL: cluster.url('replica-2'),
      TIDEMARK_SECRET: 'a secret of the documentation’s tests',
    },
  })
})

const excerpts = [...documents].flatMap(([document, read]) =>
  read.excerpts.map(excerpt => [`${document}:${excerpt.line}`, excerpt] as const),
)
test.each(excerpts)('%s is in the file that it is said to be from', (_, { file, code }) => {
  const unindented = (text: string) => text.replace(/^ +/gm, '')
  expect(unindented(readFileSync(join(PROJECT, file), 'utf8'))).toContain(unindented(code))
})

test.each([...documents.keys()])('links of %s lead somewhere', path => {
  const broken = documents
    .get(path)!
    .links.filter(({ target }) => !/^https?:|^mailto:/.test(target) && !leadsSomewhere(path, target))
  expect(broken).toEqual([])
})

function leadsSomewhere(from: string, target: string): boolean {
  const [file, anchor] = target.split('#') as [string, string?]
  const path = file === '' ? from : join(dirname(from), file)
  if (!existsSync(join(PROJECT, path))) return false
  if (anchor === undefined || statSync(join(PROJECT, path)).isDirectory()) return anchor === undefined
  return readDocument(join(PROJECT, path)).anchors.has(anchor)
}
