/** The tokens that a client holds. Free of Node's modules: browsers load this. */
import type { TokenContent } from '../core/token/layout.js'
import {
  isIncluded,
  isMark,
  isTokenText,
  listItems,
  MAX_TOKENS,
  NAME_LENGTH,
  readToken,
  sameAudience,
  tokenName,
  UNCERTAIN_PREFIX,
} from './carrier.js'

/** The part of the Web Storage API that is used; `localStorage` is one. */
export interface TokenStorage {
  readonly length: number
  key(index: number): string | null
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/**
 * A bounded observed-remove set (see carrier.ts). Each token is stored under a key of its own, so that tabs that share a
 * storage do not overwrite each other's. A storage that fails costs what it would have kept, never a request.
 */
export class TokenSet {
  readonly #tokens = new Map<string, string>()
  readonly #storage: TokenStorage | undefined
  readonly #prefix: string
  readonly #random: () => number

  /** `random` makes names for marks: uniform in [0, 1). */
  constructor(storage: TokenStorage | undefined, prefix: string, random: () => number = Math.random) {
    this.#storage = storage
    this.#prefix = `${prefix}.`
    this.#random = random
  }

  /** All tokens, oldest first as far as is known; at most {@link MAX_TOKENS}. */
  all(): readonly string[] {
    this.#attempt(storage => {
      for (let i = 0; i < storage.length; i++) {
        const key = storage.key(i)
        const token = key?.startsWith(this.#prefix) ? storage.getItem(key) : null
        if (token !== null && isTokenText(token)) this.#tokens.set(tokenName(token), token)
      }
    })
    this.#shrink()
    return [...this.#tokens.values()]
  }

  /** Takes in what a response brought; both are comma separated lists. What is not a token is ignored. */
  update(added: string | null, replacedNames: string | null): void {
    for (const token of listItems(added)) if (isTokenText(token)) this.#add(token)
    for (const name of listItems(replacedNames)) this.#remove(name)
    this.#shrink()
  }

  #add(token: string): void {
    const name = tokenName(token)
    this.#tokens.set(name, token)
    this.#attempt(storage => storage.setItem(this.#prefix + name, token))
  }

  #remove(name: string): void {
    this.#tokens.delete(name)
    this.#attempt(storage => storage.removeItem(this.#prefix + name))
  }

  #shrink(): void {
    if (this.#tokens.size < 2) return
    this.#dropIncluded()
    if (this.#tokens.size <= MAX_TOKENS) return
    // None of these includes another. The oldest go, and a mark that something went takes their place. It gets a new name
    // each time: the answer to a request that carried an earlier mark does not settle what went since.
    const gone = [...this.#tokens.values()].filter(isMark)
    const rest = [...this.#tokens.values()].filter(text => !isMark(text))
    for (const text of [...gone, ...rest.slice(0, rest.length - MAX_TOKENS + 1)]) this.#remove(tokenName(text))
    this.#add(UNCERTAIN_PREFIX + this.#random().toString(36).slice(2).padEnd(NAME_LENGTH, '0').slice(0, NAME_LENGTH))
  }

  #dropIncluded(): void {
    const contents = new Map([...this.#tokens].map(([name, token]) => [name, readToken(token)]))
    for (const [name, content] of [...contents]) {
      if (![...contents].some(([other, candidate]) => other !== name && covers(candidate, content))) continue
      contents.delete(name)
      this.#remove(name)
    }
  }

  #attempt(use: (storage: TokenStorage) => void): void {
    if (this.#storage === undefined) return
    try {
      use(this.#storage)
    } catch {
      // Full, or forbidden by the user's settings: memory has it all the same.
    }
  }
}

function covers(stays: TokenContent | undefined, old: TokenContent | undefined): boolean {
  return stays !== undefined && old !== undefined && sameAudience(stays, old) && isIncluded(old, stays)
}
