/** The page in a real browser: what a person sees, and what nobody may put there. */
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Tidemark } from '../../src/engines/postgres/index.js'
import { errorBudget } from '../../src/observe/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { CompiledCli } from '../cli/compiled-cli.js'
import { openDatabase } from '../support/database.js'
import { chromiumMissing, launch, type Served, serve } from './kit.js'

const HOSTILE = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'

const title = chromiumMissing === undefined ? '' : ` (${chromiumMissing})`

describe.skipIf(chromiumMissing !== undefined)(`in Chromium${title}`, () => {
  let browser: Browser
  let cli: CompiledCli
  let cluster: Cluster
  let db: Tidemark
  let served: Served
  let page: Page
  let wrong: string[]
  let asked: Set<string>

  beforeAll(async () => {
    ;[browser, cli, cluster] = await Promise.all([launch(), CompiledCli.compile(), startCluster({ replicas: 2 })])
    const url = (node: string) => cluster.url(node)
    db = await openDatabase(cluster, {
      name: HOSTILE,
      nodes: [
        { name: 'primary', url: url('primary'), region: 'eu' },
        { name: HOSTILE, url: url('replica-1'), region: 'eu' },
        { name: 'far', url: url('replica-2'), region: HOSTILE },
      ],
    })
    await db.session().query('CREATE TABLE notes (id int)')
    served = await serve(cli, db, { budget: errorBudget(db) })
  })
  afterAll(async () => {
    await browser?.close()
    await served?.stop()
    await db?.close()
    await cluster?.close()
    cli?.remove()
  })
  afterEach(() => page?.context().close())

  /** Opens the page and waits until it is live. Whatever goes wrong in it is kept. */
  async function open(options: BrowserContextOptions = {}): Promise<void> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
    page = await context.newPage()
    wrong = []
    asked = new Set()
    page.on('console', message => {
      if (message.type() === 'error' || message.type() === 'warning') wrong.push(message.text())
    })
    page.on('pageerror', error => wrong.push(String(error)))
    page.on('request', request => asked.add(new URL(request.url()).origin))
    await page.goto(served.url)
    await page.locator('#connection[data-state=live]').waitFor()
    await page.locator('.node').first().waitFor()
  }
  const text = (selector: string) => page.locator(selector).innerText()
  const overflow = () => page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth')

  test('loads, asks nobody but its own server, and breaks no rule of its policy', async () => {
    await open()
    expect(await page.locator('.node').count()).toBe(3)
    expect(await page.locator('#topology path').count()).toBe(2)
    expect(await page.locator('#staleness canvas').count()).toBe(1)
    expect(await text('#budgets tbody')).toContain('violations')
    expect([...asked]).toEqual([new URL(served.url).origin])
    expect(wrong).toEqual([])
  })

  test('names are shown as they are written, and do nothing', async () => {
    await open()
    expect(await page.locator('.node h3').allInnerTexts()).toContainEqual(expect.stringContaining(HOSTILE))
    expect(await text('#name')).toBe(HOSTILE)
    expect(await page.locator('main img, main script').count()).toBe(0)
    expect(await page.title()).not.toBe('owned')
    expect(wrong).toEqual([])
  })

  test('follows what happens: reads, a paused replica, a rejected token', async () => {
    await open()
    const reads = async () => Number((await text('#rungs tbody')).match(/replica\s+([\d,]+)/)?.[1]?.replace(',', '') ?? 0)
    const before = await reads()
    for (let i = 0; i < 20; i++) await db.session().query('SELECT 1')
    await expect.poll(reads, { timeout: 10_000 }).toBe(before + 20)
    db.session('made up')
    await expect.poll(() => text('#rejected'), { timeout: 10_000 }).toContain('malformed')
    await cluster.pause('replica-2')
    try {
      await db.session().query('INSERT INTO notes VALUES (1)')
      await page.locator('.node[data-node=far][data-state=behind]').waitFor()
      expect(await page.locator('#topology path[data-state=behind]').count()).toBe(1)
    } finally {
      await cluster.resume('replica-2')
    }
    await page.locator('.node[data-node=far][data-state=ok]').waitFor()
    expect(wrong).toEqual([])
  })

  test("survives its server's restart: says that nothing is heard, then goes on", async () => {
    await open()
    const { port } = new URL(served.url)
    await served.stop()
    await page.locator('#connection[data-state=lost]').waitFor()
    served = await serve(cli, db, {}, Number(port))
    await page.locator('#connection[data-state=live]').waitFor()
    // This one has no objective: what is shown is what is said now.
    await expect.poll(() => text('#budgets-note'), { timeout: 10_000 }).toContain('No objective is set')
  })

  test('the search by keyboard alone', async () => {
    await open()
    const session = db.session(undefined, { user: 'ada' })
    // Which settles what another device of hers may have written.
    await session.query('SELECT 1')
    await session.query('INSERT INTO notes VALUES (2)')
    await cluster.caughtUp()
    await page.keyboard.press('Tab')
    expect(await page.evaluate<string>('document.activeElement.textContent')).toBe('Skip to content')
    await page.keyboard.press('Enter')
    await page.keyboard.press('Tab')
    await page.keyboard.insertText(session.token())
    await page.keyboard.press('Tab')
    await page.keyboard.insertText('ada')
    await page.keyboard.press('Enter')
    await page.locator('#explanation ol').waitFor()
    expect(await text('#explanation .answer')).toMatch(/would serve it\.$/)
    expect(await text('#explanation')).toContain('It needs a node that has applied')
    expect(wrong).toEqual([])
  })

  test.each(['light', 'dark'] as const)('at phone width, %s: nothing sticks out, and it can be read', async colorScheme => {
    await open({ viewport: { width: 360, height: 740 }, colorScheme })
    expect(await overflow()).toBe(0)
    const style = (name: string) => page.evaluate<string>(`getComputedStyle(document.body).${name}`)
    const [ink, ground] = [await style('color'), await style('backgroundColor')]
    expect(contrast(ink!, ground!)).toBeGreaterThan(7)
    expect(luminance(ground!) < 0.5).toBe(colorScheme === 'dark')
    expect(wrong).toEqual([])
  })

  // The last: the cluster is another one afterwards.
  test('after a promotion: the new primary, and what is wrong with a replica that has not followed it', async () => {
    await open()
    await cluster.kill('primary')
    await cluster.promote('replica-1', { repoint: false })
    const far = page.locator('.node[data-node=far]')
    await far.locator('.problem').waitFor()
    expect(await far.innerText()).toContain('still in timeline 1, the primary is in 2')
    const shown = page.locator('.node[data-role=primary][data-state=ok]')
    await expect.poll(() => shown.count(), { timeout: 10_000 }).toBe(1)
    expect(await shown.innerText()).toContain(HOSTILE)
    await expect.poll(() => text('#numbers'), { timeout: 10_000 }).toMatch(/failovers\s+1/)
    expect(wrong).toEqual([])
  })
})

/** As in WCAG 2. */
function luminance(rgb: string): number {
  const [r, g, b] = rgb.match(/\d+/g)!.map(value => {
    const channel = Number(value) / 255
    return channel <= 0.03928 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
}

function contrast(a: string, b: string): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x)
  return (light! + 0.05) / (dark! + 0.05)
}
