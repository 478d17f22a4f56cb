/** What is shipped for Prometheus and Grafana, held against what is exported, and against Prometheus' own tool where it is installed. */
import { execFile, execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { ADDED_LATENCY, MEASURES } from '../../src/observe/measures.js'
import { prometheusName } from '../../src/observe/prometheus.js'

const ROOT = join(import.meta.dirname, '..', '..')
const RULES = 'monitoring/prometheus/tidemark.rules.yml'
const GRAFANA = 'monitoring/grafana/tidemark.json'
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

const exported = new Map<string, readonly string[]>(
  MEASURES.map(({ name, unit, kind, labels }) => [prometheusName(name, unit, kind), ['db', ...labels]]),
)
for (const suffix of ['bucket', 'count', 'sum']) {
  exported.set(`${prometheusName(ADDED_LATENCY.name, ADDED_LATENCY.unit, 'histogram')}_${suffix}`, ['db', 'le'])
}

const promtoolMissing = (() => {
  try {
    execFileSync('promtool', ['--version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'skipped: promtool is not installed; npm run setup:servers installs it on Debian'
  }
})()

test.each([RULES, GRAFANA])('%s asks only for what is exported, by labels that it has', path => {
  // Annotations and titles are for people.
  const text = read(path).replace(/^\s*(?:summary|runbook|#).*$/gm, '')
  const asked = [...text.matchAll(/\b(tidemark_\w+)(?:\{([^}]*)\})?/g)]
  expect(asked.length).toBeGreaterThan(15)
  for (const [, name, selector = ''] of asked) {
    expect([...exported.keys()]).toContain(name)
    for (const [, label] of selector.matchAll(/(\w+)\s*(?:=~|!=|!~|=)/g)) expect(exported.get(name!)).toContain(label)
  }
})

test('every alert has a page of the runbook, and every page an alert', () => {
  const alerts = [...read(RULES).matchAll(/alert: (\w+)/g)].map(([, name]) => name)
  const linked = [...read(RULES).matchAll(/docs\/runbook\.md#(\w+)/g)].map(([, anchor]) => anchor)
  const pages = [...read('docs/runbook.md').matchAll(/^## (\w+)$/gm)].map(([, name]) => name)
  expect(pages.sort()).toEqual([...alerts].sort())
  expect(linked).toEqual(alerts.map(name => name!.toLowerCase()))
})

const title = promtoolMissing === undefined ? '' : ` (${promtoolMissing})`

test.skipIf(promtoolMissing !== undefined)(`promtool finds the rules in order, and their unit tests pass${title}`, async () => {
  const promtool = (...args: string[]) => promisify(execFile)('promtool', args, { cwd: join(ROOT, 'monitoring', 'prometheus') })
  const checked = await promtool('check', 'rules', 'tidemark.rules.yml')
  expect(checked.stdout).toMatch(/SUCCESS: \d+ rules found/)
  const tested = await promtool('test', 'rules', 'tidemark.rules.test.yml')
  expect(tested.stdout).toContain('SUCCESS')
})
