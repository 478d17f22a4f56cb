/**
 * Dependencies point one way (ARCHITECTURE.md): this reads the imports of every source file and holds them against it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative, sep } from 'node:path'
import { describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const SRC = join(ROOT, 'src')

interface Import {
  /** Relative to `src`, with slashes. */
  readonly file: string
  /** A file relative to `src`, or the name of a package. */
  readonly target: string
  readonly kind: 'static' | 'type' | 'lazy'
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .map(file => file.split(sep).join('/'))
  .filter(file => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.endsWith('.d.ts'))
const imports = files.flatMap(file => importsOf(file, readFileSync(join(SRC, file), 'utf8')))

function importsOf(file: string, source: string): Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  const found: Import[] = []
  const add = (specifier: string, kind: Import['kind']) => found.push({ file, target: resolve(file, specifier), kind })
  for (const [, what, specifier] of code.matchAll(/^\s*(?:import|export)\s+([^'";=()]*?)\s*from\s*'([^']+)'/gm)) {
    add(specifier!, isTypeOnly(what!) ? 'type' : 'static')
  }
  for (const [, specifier] of code.matchAll(/^\s*import\s*'([^']+)'/gm)) add(specifier!, 'static')
  for (const [, typeOf, specifier] of code.matchAll(/(typeof\s+)?\bimport\(\s*'([^']+)'/g))
    add(specifier!, typeOf ? 'type' : 'lazy')
  return found
}

/** `type X`, or nothing but `{ type A, type B }`. */
function isTypeOnly(what: string): boolean {
  if (/^type\s/.test(what)) return true
  const names = /^\{([\s\S]*)\}$/
    .exec(what)?.[1]
    ?.split(',')
    .map(name => name.trim())
    .filter(Boolean)
  return names?.every(name => name.startsWith('type ')) ?? false
}

function resolve(file: string, specifier: string): string {
  if (!specifier.startsWith('.')) {
    if (specifier.startsWith('node:') || builtinModules.includes(specifier)) return 'node'
    return specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/')
  }
  const path = relative(SRC, join(SRC, dirname(file), specifier))
    .split(sep)
    .join('/')
  return path.replace(/\.js$/, '.ts')
}

/** `core`, `http`, `engines/postgres`, …; the index is a layer of its own. */
function layerOf(file: string): string {
  const parts = file.split('/')
  if (parts.length === 1) return 'index'
  return parts[0] === 'engines' ? `engines/${parts[1]}` : parts[0]!
}

const isFile = (target: string) => target.endsWith('.ts')

/** What each layer may use: layers, and packages at run time. Types are free of packages' cost, not of layers. */
const MAY_USE: Record<string, { readonly layers: readonly string[]; readonly packages: readonly string[] }> = {
  core: { layers: [], packages: ['lru-cache'] },
  index: { layers: ['core'], packages: [] },
  'engines/postgres': { layers: ['core'], packages: ['pg', 'libpg-query', 'lru-cache'] },
  'engines/simulated': { layers: ['core'], packages: [] },
  http: { layers: ['core'], packages: ['on-headers'] },
  stores: { layers: ['core'], packages: [] },
  observe: { layers: ['core'], packages: ['prom-client', '@opentelemetry/api'] },
  dashboard: { layers: ['core'], packages: [] },
  testing: { layers: ['core', 'engines/simulated'], packages: ['pg'] },
  // A run puts all of it to work, as an application and its users would.
  verify: { layers: ['core', 'engines/postgres', 'http', 'testing'], packages: [] },
}
/** Only these put things together; nothing uses them. `proof` is the developers' own, and no part of the package. */
const TOPS = ['cli', 'proof']

const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly exports: Record<string, string | { readonly default: string }>
  readonly bin: Record<string, string>
  readonly dependencies: Record<string, string>
}

describe('the reader of imports', () => {
  test('tells static, type and lazy imports apart', () => {
    const source = `
      import a, { type B } from 'a'
      import type c from 'c'
      import { type D, type E } from './d.js'
      import { type F, g } from '../g.js'
      export { h } from '@scope/h/deep'
      export type { I } from './i.js'
      import 'j'
      import {
        k,
      } from 'k'
      const l = await import('l')
      let m: typeof import('m')
      // import n from 'n'
      /* import o from 'o' */
    `
    expect(importsOf('http/x.ts', source).map(({ target, kind }) => `${kind} ${target}`)).toEqual([
      'static a',
      'type c',
      'type http/d.ts',
      'static g.ts',
      'static @scope/h',
      'type http/i.ts',
      'static k',
      'static j',
      'lazy l',
      'type m',
    ])
  })

  test('finds what there is', () => {
    expect(files.length).toBeGreaterThan(50)
    expect(imports.length).toBeGreaterThan(200)
    for (const { file, target } of imports.filter(each => isFile(each.target))) {
      expect(files.includes(target), `${file} imports ${target}, which is not there`).toBe(true)
    }
  })
})

test('every layer is known, and uses only the layers below it', () => {
  const wrong = imports
    .filter(({ target }) => isFile(target))
    .map(({ file, target }) => ({ file, target, from: layerOf(file), to: layerOf(target) }))
    .filter(
      ({ from, to }) =>
        from !== to && !(TOPS.includes(from) && (from === 'proof' || to !== 'proof')) && !MAY_USE[from]?.layers.includes(to),
    )
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([])
  expect(files.map(layerOf).filter(layer => !TOPS.includes(layer) && MAY_USE[layer] === undefined)).toEqual([])
})

test('every layer uses only its own packages', () => {
  const wrong = imports
    .filter(({ target, kind }) => !isFile(target) && target !== 'node' && kind !== 'type')
    .filter(({ file, target }) => !TOPS.includes(layerOf(file)) && !MAY_USE[layerOf(file)]?.packages.includes(target))
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([])
})

test('the core knows no driver and no framework, not even their types', () => {
  const packages = imports.filter(({ file, target }) => layerOf(file) === 'core' && !isFile(target)).map(({ target }) => target)
  expect(new Set(packages)).toEqual(new Set(['node', 'lru-cache']))
})

test('the stores know their clients by shape only', () => {
  const packages = imports.filter(({ file, target }) => layerOf(file) === 'stores' && !isFile(target)).map(({ target }) => target)
  expect(new Set(packages)).toEqual(new Set(['node']))
})

test('nothing is imported in a circle', () => {
  const graph = new Map<string, string[]>()
  for (const { file, target, kind } of imports) {
    if (kind === 'static' && isFile(target)) graph.set(file, [...(graph.get(file) ?? []), target])
  }
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (file: string, path: readonly string[]) => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' > '))
    if (done.has(file) || path.includes(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  expect(circles).toEqual([])
})

test('in the core, not even types go in a circle', () => {
  const core = imports.filter(({ file, target }) => layerOf(file) === 'core' && isFile(target))
  let rest = new Set(files.filter(file => layerOf(file) === 'core'))
  for (;;) {
    const blocked = new Set(core.filter(({ file, target }) => rest.has(file) && rest.has(target)).map(({ file }) => file))
    if (blocked.size === rest.size) break
    rest = blocked
  }
  expect([...rest]).toEqual([])
})

test('no entry point loads a package that may not be installed', () => {
  const targets = [
    ...Object.values(PACKAGE.exports).map(each => (typeof each === 'string' ? each : each.default)),
    ...Object.values(PACKAGE.bin),
  ]
  const entries = targets
    .filter(target => target.startsWith('./dist/'))
    .map(target => target.replace('./dist/', '').replace(/\.js$/, '.ts'))
  expect(entries.length).toBeGreaterThan(5)
  expect(entries.filter(entry => !existsSync(join(SRC, entry)))).toEqual([])
  const loaded = new Set<string>()
  const load = (file: string) => {
    if (loaded.has(file)) return
    loaded.add(file)
    for (const each of imports) if (each.file === file && each.kind === 'static' && isFile(each.target)) load(each.target)
  }
  for (const entry of entries) load(entry)
  const wrong = imports
    .filter(({ file, target, kind }) => loaded.has(file) && kind === 'static' && !isFile(target) && target !== 'node')
    .filter(({ target }) => PACKAGE.dependencies[target] === undefined)
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([])
})

test('the history checker knows nothing of what it judges', () => {
  const its = imports.filter(({ file }) => file.startsWith('testing/history/'))
  expect(its.length).toBeGreaterThan(20)
  const foreign = its.filter(({ target }) => target !== 'node' && !target.startsWith('testing/history/'))
  expect(foreign.map(({ file, target }) => `${file} imports ${target}`)).toEqual([])
})
