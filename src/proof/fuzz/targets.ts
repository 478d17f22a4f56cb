import { commandLineTarget } from './command-line-target.js'
import { configurationTarget } from './configuration-target.js'
import { historyTarget } from './history-target.js'
import { httpTarget } from './http-target.js'
import { openNodeTarget } from './node-target.js'
import { openSqlTarget } from './sql/sql-target.js'
import type { TargetSource } from './target.js'
import { tokenTarget } from './token-target.js'

/** All that is fuzzed. */
export const TARGETS: readonly TargetSource[] = [
  { name: 'tokens', open: async () => tokenTarget() },
  { name: 'http', open: async () => httpTarget() },
  { name: 'node', open: () => openNodeTarget() },
  { name: 'sql', open: () => openSqlTarget() },
  { name: 'histories', open: async () => historyTarget() },
  { name: 'configuration', open: async () => configurationTarget() },
  { name: 'command-line', open: async () => commandLineTarget() },
]
