/** Text that is HTML already. Only {@link html} makes it, so nothing gets into a page unescaped by oversight. */
export class Html {
  readonly text: string

  /** @internal Use {@link html}. */
  constructor(text: string) {
    this.text = text
  }
}

export type HtmlValue = string | number | Html | readonly Html[]

/** A template whose values are escaped, unless they are {@link Html} themselves. Attributes must be quoted. */
export function html(parts: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(parts.reduce((text, part, index) => text + render(values[index - 1] ?? '') + part))
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function render(value: HtmlValue): string {
  if (value instanceof Html) return value.text
  if (Array.isArray(value)) return value.map((each: Html) => each.text).join('')
  return String(value).replaceAll(/[&<>"']/g, char => ESCAPES[char]!)
}
