import { runChaos } from './run-chaos.js'

const r = await runChaos({
  durationMs: Number(process.argv[2]) * 1000,
  seed: Number(process.argv[3]),
  onProgress: p => console.log(Math.round(p.elapsedMs), p.operations, p.doing),
})
console.log(
  r.faults,
  r.trace.operations,
  r.trace.worstStallMs,
  r.trace.losses().reported.length,
  r.trace.losses().unreported.length,
)
const ops = r.trace.byDevice().filter(x => x.type === 'op') as any[]
const by: Record<string, number> = {}
for (const o of ops) {
  const k =
    `${o.status} ${o.writes ? 'w' : 'r'} ${o.error ?? (o.end === undefined ? 'no answer' : '')} ${o.reportsLoss ? 'LOST' : ''}`.slice(
      0,
      120,
    )
  by[k] = (by[k] ?? 0) + 1
}
console.log(by)
const { writeFileSync } = await import('node:fs')
writeFileSync(
  '/tmp/chaos-dev.jsonl',
  r.trace
    .byDevice()
    .map(x => JSON.stringify(x))
    .join('\n'),
)
writeFileSync(
  '/tmp/chaos-usr.jsonl',
  r.trace
    .byUser()
    .map(x => JSON.stringify(x))
    .join('\n'),
)
