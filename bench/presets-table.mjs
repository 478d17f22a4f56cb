// How the presets' measurements are shown.

/** Three tables: in one place, on a second device, and with the primary in another region. */
export function print({ local, crossDevice, crossRegion, authors, rounds, trials }) {
  const parts = []
  for (const [lagMs, byName] of Object.entries(local)) {
    parts.push(`replicas ${lagMs} ms behind (${authors} authors, ${rounds} rounds; milliseconds)`, table(HEAD, byName, timings))
  }
  parts.push('the primary in another region, 30 ms away, replication as fast as it goes', table(HEAD, crossRegion, timings))
  const head = ['', 'no store: seen', 'by primary', 'read p50', 'memory store: seen', 'by primary', 'read p50']
  parts.push(
    `a second device's first read, replicas 100 ms behind (${trials} times)`,
    table(head, crossDevice, ({ none, memory }) => [...device(none), ...device(memory)]),
  )
  return parts.join('\n\n')
}

const HEAD = ['', 'missed', 'by primary', 'read p50', 'p99', 'read-back p50', 'p99', '/ primary', 'write p50', 'p99', '/ primary']

function timings({ missed, ownReads, failed, primaryShare, read, readBack, write }) {
  const failures = failed > 0 ? `, ${failed} failed` : ''
  return [
    `${missed}/${ownReads}${failures}`,
    percent(primaryShare),
    ms(read.p50),
    ms(read.p99),
    ms(readBack.p50),
    ms(readBack.p99),
    ratio(readBack.p50ToPrimary),
    ms(write.p50),
    ms(write.p99),
    ratio(write.p50ToPrimary),
  ]
}

function device({ seen, trials, byPrimary, readP50 }) {
  return [`${seen}/${trials}`, `${byPrimary}/${trials}`, ms(readP50)]
}

function table(head, byName, cellsOf) {
  const rows = [head, ...Object.entries(byName).map(([name, measured]) => [name, ...cellsOf(measured)])]
  const widths = head.map((_, column) => Math.max(...rows.map(row => row[column].length)))
  const line = row => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ')
  return rows.map(line).join('\n')
}

function ms(value) {
  return value.toFixed(1)
}

/** Of p50 to that of `always the primary`, round by round: the median, and the least and the greatest. */
function ratio({ median, min, max }) {
  return `${median.toFixed(1)} (${min.toFixed(1)}–${max.toFixed(1)})`
}

function percent(share) {
  return `${Math.round(share * 100)} %`
}
