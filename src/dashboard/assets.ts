/** The page's files, read once. They are served from here and nowhere else: the page works without internet. */
import { readFile } from 'node:fs/promises'

const TYPES: Readonly<Record<string, string>> = Object.freeze({
  'index.html': 'text/html; charset=utf-8',
  'app.js': 'text/javascript; charset=utf-8',
  'style.css': 'text/css; charset=utf-8',
  'icon.svg': 'image/svg+xml',
  'uplot.js': 'text/javascript; charset=utf-8',
  'uplot.css': 'text/css; charset=utf-8',
})

export interface Asset {
  readonly body: Uint8Array<ArrayBuffer>
  readonly type: string
}

const loaded = new Map<string, Promise<Asset>>()

/** A file of the page by its name; `undefined` for any other name. */
export function asset(name: string): Promise<Asset> | undefined {
  if (!Object.hasOwn(TYPES, name)) return undefined
  const known = loaded.get(name)
  if (known !== undefined) return known
  const loading = readFile(new URL(`./page/${name}`, import.meta.url)).then(bytes => ({
    body: Uint8Array.from(bytes),
    type: TYPES[name]!,
  }))
  loaded.set(name, loading)
  // Tried anew by the next who asks.
  loading.catch(() => loaded.delete(name))
  return loading
}
