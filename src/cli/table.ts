import type { Paint, Style } from './terminal.js'

export type Cell = string | { readonly text: string; readonly style: Style }

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
}

/** Lines of a table whose columns are as wide as what is in them. */
export function table(columns: readonly Column[], rows: readonly (readonly Cell[])[], paint: Paint): string[] {
  const titles = columns.map(({ title }): Cell => ({ text: title, style: 'dim' }))
  const widths = columns.map((_, index) => Math.max(...[titles, ...rows].map(row => textOf(row[index] ?? '').length)))
  return [titles, ...rows].map(row =>
    columns
      .map(({ align }, index) => {
        const cell = row[index] ?? ''
        const text = textOf(cell)
        const painted = typeof cell === 'string' ? text : paint(cell.style, text)
        const gap = ' '.repeat(widths[index]! - text.length)
        return align === 'right' ? gap + painted : painted + gap
      })
      .join('  ')
      .trimEnd(),
  )
}

function textOf(cell: Cell): string {
  return typeof cell === 'string' ? cell : cell.text
}
