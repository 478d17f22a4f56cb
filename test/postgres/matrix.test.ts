/**
 * The whole promise: every preset, with replicas of every lag, in every way to come back after a write, before, during and after
 * a promotion that loses writes. An author's read includes every write that was acknowledged to it, or says that one may be lost,
 * or fails openly. The control asks for nothing, and does miss writes.
 */
import { afterAll, describe, expect, test } from 'vitest'
import { type Cell, type Column, type Lag, PATTERN_NAMES, PHASES, PRESET_NAMES, runColumn } from './matrix/column.js'
import { type Tally, tableOf, total } from './matrix/tally.js'

const LAGS: readonly Lag[] = [0, 100, 1_000, 'paused']
const columns = new Map<Lag, Column>()

function tallyOf(cells: readonly Cell[], wanted: Partial<Cell>): Tally {
  const matches = (cell: Cell) => Object.entries(wanted).every(([key, value]) => cell[key as keyof Cell] === value)
  return total(cells.filter(matches).map(({ tally }) => tally))
}

describe('no read misses an acknowledged write that it does not report as lost', () => {
  for (const lag of LAGS) {
    test(`with a replica lag of ${lag}`, { timeout: 120_000 }, async () => {
      const column = await runColumn(lag)
      columns.set(lag, column)
      const { cells, controls } = column
      expect(cells).toHaveLength(PRESET_NAMES.length * PATTERN_NAMES.length * PHASES.length)
      for (const { preset, pattern, phase, tally } of cells) {
        const name = `${preset}, ${pattern}, ${phase}`
        expect(tally.details, name).toEqual([])
        expect(tally.violations, name).toBe(0)
        expect(tally.reads, name).toBeGreaterThan(0)
        if (phase === 'during') {
          // Each workload had writes that were lost, and was told.
          expect(tally.lost, name).toBeGreaterThan(0)
        } else expect(tally, name).toMatchObject({ unavailable: 0, reports: 0 })
      }
      for (const preset of PRESET_NAMES) {
        // No service for a moment, not for long.
        const { reads, unavailable } = tallyOf(cells, { preset, phase: 'during' })
        expect(reads, preset).toBeGreaterThan(unavailable)
      }
      for (const [phase, control] of controls) {
        if (lag !== 0) expect(control.violations, `control ${phase}`).toBeGreaterThan(0)
      }
    })
  }
})

afterAll(() => {
  const rows = [...columns].flatMap(([lag, { cells, controls }]) => [
    ...PRESET_NAMES.flatMap(preset =>
      PHASES.map(phase => ({ labels: [String(lag), preset, phase], tally: tallyOf(cells, { preset, phase }), routed: true })),
    ),
    ...[...controls].map(([phase, tally]) => ({ labels: [String(lag), '(unfenced control)', phase], tally, routed: false })),
  ])
  process.stdout.write(`\n${tableOf(['lag', 'preset', 'phase'], rows)}\n`)
})
