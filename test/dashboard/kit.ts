/** A dashboard as it is published, on a real database, and a browser to look at it. */
import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import type * as DashboardModule from '../../src/dashboard/index.js'
import type { Dashboard, DashboardOptions, ShownDatabase } from '../../src/dashboard/index.js'
import type { CompiledCli } from '../cli/compiled-cli.js'

export const chromiumPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
export const chromiumMissing =
  chromiumPath === undefined ? 'skipped: no Chromium is installed; npm run setup:servers installs it on Debian' : undefined

export async function launch(): Promise<Browser> {
  const { chromium } = await import('playwright-core')
  // As root, which containers are, Chromium has no sandbox.
  return chromium.launch({ executablePath: chromiumPath!, args: ['--no-sandbox'] })
}

export interface Served {
  readonly url: string
  readonly page: Dashboard
  /** Ends it as a crash would: connections are cut. */
  stop(): Promise<void>
}

/** Mounted below a path, as applications do. `port` 0 takes any. */
export async function serve(cli: CompiledCli, db: ShownDatabase, options: DashboardOptions = {}, port = 0): Promise<Served> {
  const { dashboard, toNodeListener } = (await import(join(cli.directory, 'dashboard', 'index.js'))) as typeof DashboardModule
  const page = dashboard(db, options)
  const server: Server = createServer(toNodeListener(page))
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/ops/tidemark/`,
    page,
    async stop() {
      page.close()
      const closed = new Promise(resolve => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}
