/** The library's presets, in words for the page, the help and the errors. */
import { PRESETS, type PresetName } from '../../core/presets.js'
import { UsageError } from '../errors.js'

export const DEFAULT_PRESET: PresetName = 'two-level'

export const ABOUT_PRESET: Readonly<Record<PresetName, string>> = {
  'leader-reads': 'After a post its author reads from the primary, until every replica has the post.',
  'token-fence': 'Reads wait up to a second for a replica that has the author’s posts; then the primary serves.',
  quorum: 'A post counts once a majority of nodes has it, and reads ask a majority. Replicas a second behind make posts fail.',
  'write-through-cache':
    'After a post the author’s profile is read from the primary once, then from memory, until a replica has the post.',
  'fence-on-write': 'A post returns when every node has it, or after a second: so posts take a second while a node is down.',
  'two-level': 'A replica that has the author’s posts, a short wait for one, else the primary.',
}

export const PRESET_NAMES = Object.keys(PRESETS) as readonly PresetName[]

/** `undefined` when there is no preset of this name. */
export function presetNamed(name: string | null | undefined): PresetName | undefined {
  return PRESET_NAMES.find(known => known === name)
}

/** The value of `--preset`. Throws {@link UsageError} when there is no such preset. */
export function presetOption(value: string | undefined): PresetName {
  const preset = presetNamed(value ?? DEFAULT_PRESET)
  if (preset === undefined) throw new UsageError(`--preset must be one of ${PRESET_NAMES.join(', ')}, not '${value}'`)
  return preset
}
