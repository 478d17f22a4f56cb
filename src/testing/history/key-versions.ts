import type { Operation } from './operation.js'
import type { FinalRecord, ReadValue, VersionRecord, WrittenValue } from './record.js'
import { includes, Version } from './version.js'
import { quote } from './words.js'

/** The versions of one key, and how they follow from one another. First everything is added, then `build`, then it is asked. */
export class KeyVersions {
  readonly key: string
  readonly root: Version
  /** What the key holds in the end; `undefined` when the history does not say. */
  final: Version | undefined
  finalRecord: FinalRecord | undefined
  readonly #byValue = new Map<string, Version>()
  #named: Version | undefined

  constructor(key: string) {
    this.key = key
    this.root = new Version(this, null)
  }

  /** The version with that value; a new one when it was not there. What was only read has a place, too. */
  get(value: string | null): Version {
    if (value === null) return this.root
    // Most operations name the version that the one before has named.
    if (this.#named?.value === value) return this.#named
    let version = this.#byValue.get(value)
    if (version === undefined) {
      version = new Version(this, value)
      this.#byValue.set(value, version)
    }
    this.#named = version
    return version
  }

  /** All but the root. */
  versions(): Iterable<Version> {
    return this.#byValue.values()
  }

  /** Throws a sentence when the value has been written before. */
  addWrite(written: WrittenValue, writer: Operation): Version {
    const value = written[1]
    const version = this.get(value)
    if (version.writer !== undefined) {
      const where = version.writer === writer ? 'twice by the same operation' : `before, by operation ${version.writer.record.id}`
      throw new Error(`the value ${quote(value)} of ${quote(this.key)} was written ${where}; values of a key are unique`)
    }
    version.writer = writer
    version.firstSign = Math.min(version.firstSign, writer.start)
    this.#follow(version, written[2])
    return version
  }

  addRead(read: ReadValue, { acknowledged, end }: Operation): Version {
    const version = this.get(read[1])
    // "Never written" is no news to anybody.
    if (read[1] !== null && acknowledged && end < version.firstSign) version.firstSign = end
    return version
  }

  /** Throws a sentence when the version has been declared before, or otherwise. */
  addDeclaration(declaration: VersionRecord): void {
    const version = this.get(declaration.value)
    if (version.declaration !== undefined) {
      throw new Error(`the version ${quote(version.value)} of ${quote(this.key)} is there twice; expected one record for each`)
    }
    version.declaration = declaration
    this.#follow(version, declaration.prev)
  }

  /** Throws a sentence when there is one. */
  addFinal(record: FinalRecord): void {
    if (this.final !== undefined) throw new Error(`${quote(this.key)} has two final values; expected one`)
    this.finalRecord = record
    this.final = this.get(record.value)
  }

  #follow(version: Version, prev: string | null | undefined): void {
    if (prev === undefined) return
    const parent = this.get(prev)
    if (version.parent !== undefined && version.parent !== parent) {
      const name = `the version ${quote(version.value)} of ${quote(this.key)}`
      throw new Error(`${name} replaced ${quote(prev)} here, but ${quote(version.parent.value)} elsewhere`)
    }
    version.parent = parent
  }

  /** Throws a sentence when versions descend from each other in a circle. */
  build(): void {
    this.#linkChildren()
    const order = this.#inOrder()
    for (const { first, value } of this.versions()) {
      if (first < 0) throw new Error(`the version ${quote(value)} of ${quote(this.key)} descends from itself by its "prev"`)
    }
    // From the leaves up …
    for (let index = order.length - 1; index >= 0; index--) {
      const { parent, last, firstSign } = order[index]!
      if (parent === undefined) continue
      parent.last = Math.max(parent.last, last)
      parent.firstSign = Math.min(parent.firstSign, firstSign)
    }
    // … and from the tops down.
    tellOthersSigns(this.root, Number.POSITIVE_INFINITY)
    for (const version of order) {
      version.outgrown = tellOthersSigns(version.firstChild, version.outgrown)
      inherit(version)
      if (this.final !== undefined) version.fate = FATES.get(includes(this.final, version))!
    }
  }

  /** The tops, of which the root is first, are siblings, too. */
  #linkChildren(): void {
    for (const version of this.versions()) {
      if (version.parent === undefined) {
        version.nextSibling = this.root.nextSibling
        this.root.nextSibling = version
      } else {
        version.nextSibling = version.parent.firstChild
        version.parent.firstChild = version
      }
    }
  }

  /** Numbers the versions so that the descendants of each come right after it. Without recursion: lines are long. */
  #inOrder(): Version[] {
    const order: Version[] = []
    const rest: Version[] = []
    for (let top: Version | undefined = this.root; top !== undefined; top = top.nextSibling) {
      for (let version: Version | undefined = top; version !== undefined; version = rest.pop()) {
        version.top = top
        version.first = order.length
        version.last = order.length
        order.push(version)
        for (let child = version.firstChild; child !== undefined; child = child.nextSibling) rest.push(child)
      }
    }
    return order
  }
}

const FATES = new Map([
  [true, 'kept'],
  [false, 'lost'],
  [undefined, 'unknown'],
] as const)

function inherit(version: Version): void {
  const { parent, writer } = version
  version.newestStart = Math.max(parent?.newestStart ?? Number.NEGATIVE_INFINITY, writer?.start ?? Number.NEGATIVE_INFINITY)
  version.together = parent?.together === true || writer?.writes.some(({ of }) => of !== version.of) === true
}

/** Notes for each sibling the earliest sign of the others, or `elsewhere`; returns the earliest sign of all. */
function tellOthersSigns(first: Version | undefined, elsewhere: number): number {
  let earliest = first
  let second = elsewhere
  for (let version = first?.nextSibling; version !== undefined; version = version.nextSibling) {
    if (version.firstSign < earliest!.firstSign) {
      second = Math.min(second, earliest!.firstSign)
      earliest = version
    } else second = Math.min(second, version.firstSign)
  }
  const all = Math.min(elsewhere, earliest?.firstSign ?? Number.POSITIVE_INFINITY)
  for (let version = first; version !== undefined; version = version.nextSibling) {
    version.outgrown = version === earliest ? second : all
  }
  return all
}
