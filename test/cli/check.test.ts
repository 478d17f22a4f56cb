import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { writeHistory } from '../../src/testing/index.js'
import { Script } from '../support/histories.js'
import { CompiledCli } from './compiled-cli.js'

let cli: CompiledCli
const directory = mkdtempSync(join(tmpdir(), 'tidemark-check-'))
const file = (name: string) => join(directory, name)

beforeAll(async () => {
  const good = new Script()
  good.write('ada', 'x', 'a1', null)
  good.read('ada', 'x', 'a1')
  const bad = new Script()
  bad.write('ada', 'x\u202e', 'a1', null)
  bad.read('ada', 'x\u202e', null)
  await Promise.all([
    writeHistory(file('good.jsonl'), good.records),
    writeHistory(file('bad.jsonl'), bad.records),
    CompiledCli.compile().then(compiled => {
      cli = compiled
    }),
  ])
})

afterAll(() => {
  cli?.remove()
  rmSync(directory, { recursive: true })
})

test('a history without a violation: exit code 0 and what was judged', async () => {
  const { code, stdout, stderr } = await cli.run(['check', file('good.jsonl')])
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toContain('2 operations (1 with reads, 1 with writes) of 1 sessions on 1 keys')
  expect(stdout).toMatch(/read-your-writes +holds +1 +0 +0/)
  expect(stdout).toMatch(/bounds-kept +nothing to judge/)
})

test('a violation: exit code 1, in words, with the records that show it', async () => {
  const { code, stdout } = await cli.run(['check', file('bad.jsonl')])
  expect(code).toBe(1)
  expect(stdout).toMatch(/read-your-writes +VIOLATED +1 +1 +0/)
  expect(stdout).toContain(
    'Operation 1 of session "ada", completed at 1 ms, wrote "a1"; operation 2, which began later, read nothing',
  )
  expect(stdout).toContain('2–3 ms  session "ada"  operation 2: read "x\\u{202e}" = nothing')
})

test('--json is the report', async () => {
  const { code, stdout } = await cli.run(['check', '--json', file('bad.jsonl')])
  expect(code).toBe(1)
  expect(JSON.parse(stdout)).toMatchObject({
    ok: false,
    violationCount: 1,
    rules: { 'read-your-writes': { verdict: 'violated', checked: 1, violations: 1, undecided: 0 } },
    violations: [{ rule: 'read-your-writes', counterexample: [{ id: 1 }, { id: 2 }] }],
  })
})

test('several files are one history, and what is there twice is named by file and line', async () => {
  const { code, stdout, stderr } = await cli.run(['check', file('good.jsonl'), file('bad.jsonl')])
  expect([code, stdout]).toEqual([2, ''])
  expect(stderr).toContain('bad.jsonl:1: the id 1 is there twice')
})
