import type { FinalRecord, OperationRecord, VersionRecord } from './record.js'
import { includes, numberTree, Version } from './version.js'

/** What became of a version: part of what the key holds in the end, or not. */
export type Fate = 'kept' | 'lost' | 'unknown'

interface KeyVersions {
  readonly root: Version
  readonly byValue: Map<string, Version>
  final: Version | undefined
  finalRecord: FinalRecord | undefined
}

/** The versions of all keys, and how they follow from one another. First everything is added, then `build`, then it is asked. */
export class VersionForest {
  readonly #keys = new Map<string, KeyVersions>()

  get keyCount(): number {
    return this.#keys.size
  }

  /** Throws a sentence when the value of the key has been written before. */
  addWrite(key: string, value: string, prev: string | null | undefined, writer: OperationRecord): void {
    const version = this.#version(key, value)
    if (version.writer !== undefined) {
      const where = version.writer === writer ? 'twice by the same operation' : `before, by operation ${version.writer.id}`
      throw new Error(
        `the value ${JSON.stringify(value)} of ${JSON.stringify(key)} was written ${where}; values of a key are unique`,
      )
    }
    version.writer = writer
    this.#follow(version, prev)
  }

  /** Throws a sentence when the version has been declared before, or otherwise. */
  addDeclaration(declaration: VersionRecord): void {
    const { key, value, prev } = declaration
    const version = this.#version(key, value)
    if (version.declaration !== undefined) {
      throw new Error(
        `the version ${JSON.stringify(value)} of ${JSON.stringify(key)} is there twice; expected one record for each`,
      )
    }
    version.declaration = declaration
    this.#follow(version, prev)
  }

  /** Throws a sentence when the key has one. */
  addFinal(record: FinalRecord): void {
    const { key, value } = record
    const versions = this.#versions(key)
    versions.finalRecord ??= record
    if (versions.final !== undefined) throw new Error(`${JSON.stringify(key)} has two final values; expected one`)
    versions.final = value === null ? versions.root : this.#version(key, value)
  }

  /** Throws a sentence when versions descend from each other in a circle. */
  build(): void {
    let number = 0
    for (const { root, byValue } of this.#keys.values()) {
      for (const version of byValue.values()) {
        if (version.parent === undefined) continue
        version.nextSibling = version.parent.firstChild
        version.parent.firstChild = version
      }
      number = numberTree(root, number)
      for (const version of byValue.values()) if (version.parent === undefined) number = numberTree(version, number)
      for (const { first, key, value } of byValue.values()) {
        if (first < 0)
          throw new Error(`the version ${JSON.stringify(value)} of ${JSON.stringify(key)} descends from itself by its "prev"`)
      }
    }
  }

  /** `undefined`: the history knows of no such value. */
  find(key: string, value: string | null): Version | undefined {
    const versions = this.#keys.get(key)
    return value === null ? versions?.root : versions?.byValue.get(value)
  }

  /** The value that the key holds in the end; `undefined` when the history does not say. */
  final(key: string): Version | undefined {
    return this.#keys.get(key)?.final
  }

  finalRecord(key: string): FinalRecord | undefined {
    return this.#keys.get(key)?.finalRecord
  }

  *versions(): Iterable<Version> {
    for (const { byValue } of this.#keys.values()) yield* byValue.values()
  }

  fate(version: Version): Fate {
    const final = this.final(version.key)
    const kept = final && includes(final, version)
    if (kept === undefined) return 'unknown'
    return kept ? 'kept' : 'lost'
  }

  /** A version with that value, of whichever key, that was written. Looks at every key. */
  writtenTo(value: string): Version | undefined {
    for (const { byValue } of this.#keys.values()) {
      const version = byValue.get(value)
      if (version?.writer !== undefined) return version
    }
    return undefined
  }

  /** Makes the key known, so that reads of it have a root to show. */
  addKey(key: string): void {
    this.#versions(key)
  }

  #versions(key: string): KeyVersions {
    let versions = this.#keys.get(key)
    if (versions === undefined) {
      versions = { root: new Version(key, null), byValue: new Map(), final: undefined, finalRecord: undefined }
      this.#keys.set(key, versions)
    }
    return versions
  }

  #version(key: string, value: string): Version {
    const { byValue } = this.#versions(key)
    let version = byValue.get(value)
    if (version === undefined) {
      version = new Version(key, value)
      byValue.set(value, version)
    }
    return version
  }

  #follow(version: Version, prev: string | null | undefined): void {
    if (prev === undefined) return
    const parent = prev === null ? this.#versions(version.key).root : this.#version(version.key, prev)
    if (version.parent !== undefined && version.parent !== parent) {
      const name = `the version ${JSON.stringify(version.value)} of ${JSON.stringify(version.key)}`
      throw new Error(`${name} replaced ${JSON.stringify(prev)} here, but ${JSON.stringify(version.parent.value)} elsewhere`)
    }
    version.parent = parent
  }
}
