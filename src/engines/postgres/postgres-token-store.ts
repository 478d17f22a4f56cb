import type { TokenStore } from '../../core/token-store.js'
export type TokenStoreFactory = (
  query: (text: string, values: readonly unknown[]) => Promise<{ readonly rows: readonly Record<string, unknown>[] }>,
) => TokenStore
