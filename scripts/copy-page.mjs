// The dashboard's page is served as files: those of ours as they are, and uPlot's, so that no internet is needed.
// `node scripts/copy-page.mjs [compiled]`: into what tsc has compiled, by default dist.
import { copyFile, cp, readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const page = resolve(root, process.argv[2] ?? 'dist', 'dashboard/page')
await cp(`${root}src/dashboard/page`, page, { recursive: true })
const uplot = `${root}node_modules/uplot`
await copyFile(`${uplot}/dist/uPlot.min.css`, `${page}/uplot.css`)
// MIT: the notice goes with the copy.
const notice = `/*!\n${await readFile(`${uplot}/LICENSE`, 'utf8')}*/\n`
await writeFile(`${page}/uplot.js`, notice + (await readFile(`${uplot}/dist/uPlot.iife.min.js`, 'utf8')))
