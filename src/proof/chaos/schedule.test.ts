import { expect, test } from 'vitest'
import { FAULT_KINDS, FAULT_TARGETS, type Round, schedule, type Target } from './schedule.js'

const first = (count: number, rounds: Iterator<Round, never>) => Array.from({ length: count }, () => rounds.next().value)
const isNode = (target: Target) => !target.startsWith('router') && target !== 'cluster'

test('a seed gives one schedule, another seed another one', () => {
  expect(first(50, schedule(7))).toEqual(first(50, schedule(7)))
  expect(first(50, schedule(7))).not.toEqual(first(50, schedule(8)))
})

test('every kind comes within a few rounds, wherever it may', () => {
  const places = new Set<string>()
  for (let seed = 1; seed <= 50; seed++) {
    const rounds = first(30, schedule(seed))
    expect(new Set(rounds.slice(0, 20).flatMap(round => round.map(({ kind }) => kind)))).toEqual(new Set(FAULT_KINDS))
    for (const { kind, target } of rounds.flat()) places.add(`${kind} ${target}`)
  }
  expect(places).toEqual(new Set(FAULT_KINDS.flatMap(kind => FAULT_TARGETS[kind].map(target => `${kind} ${target}`))))
})

test('no round asks for what cannot be done', () => {
  let together = 0
  for (const round of [1, 2, 3, 4, 5].flatMap(seed => first(200, schedule(seed)))) {
    expect(round.length).toBeGreaterThan(0)
    expect(new Set(round.map(({ target }) => target)).size).toBe(round.length)
    const kinds = round.map(({ kind }) => kind)
    if (kinds.includes('promote')) expect(round.filter(({ target }) => isNode(target))).toEqual([])
    if (kinds.includes('rebuild')) {
      expect(round.filter(({ kind, target }) => target === 'primary' && (kind === 'kill' || kind === 'freeze'))).toEqual([])
    }
    if (round.length > 1) together++
  }
  expect(together).toBeGreaterThan(100)
})

test('only the kinds that are asked for', () => {
  expect(new Set(first(20, schedule(1, ['cut', 'promote'])).flatMap(round => round.map(({ kind }) => kind)))).toEqual(
    new Set(['cut', 'promote']),
  )
})
