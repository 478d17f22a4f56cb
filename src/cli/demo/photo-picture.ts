import { type Html, html } from './html.js'

/** The picture of a photo: a small seascape that depends on nothing but its caption. */
export function photoPicture(caption: string): Html {
  const random = numbersFrom(caption)
  const hue = Math.floor(random() * 360)
  const colour = (turn: number, saturation: number, lightness: number) =>
    `hsl(${(hue + turn) % 360} ${saturation}% ${lightness}%)`
  const sunX = 15 + Math.floor(random() * 90)
  const sunY = 14 + Math.floor(random() * 18)
  const horizon = 48 + Math.floor(random() * 10)
  const hills = `M0 ${horizon} Q${20 + random() * 20} ${horizon - 26 * random()} 60 ${horizon - 4} T120 ${horizon - 14 * random()} V90 H0Z`
  const boatX = 20 + Math.floor(random() * 70)
  return html`<svg viewBox="0 0 120 90" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
<rect width="120" height="90" fill="${colour(0, 70, 82)}"/><rect width="120" height="28" fill="${colour(345, 65, 74)}" opacity=".6"/>
<circle cx="${sunX}" cy="${sunY}" r="9" fill="${colour(180, 85, 90)}"/><path d="${hills}" fill="${colour(30, 35, 52)}"/>
<rect y="${horizon}" width="120" height="60" fill="${colour(330, 55, 45)}"/>
<path d="M0 ${horizon + 14} q15 -6 30 0 t30 0 t30 0 t30 0 V90 H0Z" fill="${colour(330, 60, 37)}"/>
<path d="M${boatX} ${horizon + 7} h18 l-4 6 h-10z M${boatX + 8} ${horizon + 5} v-15 l9 15z" fill="${colour(180, 50, 96)}"/>
<path d="M0 ${horizon + 27} q20 -6 40 0 t40 0 t40 0 V90 H0Z" fill="${colour(330, 65, 29)}"/></svg>`
}

/** Evenly spread numbers in [0, 1) that the text determines (FNV-1a, then mulberry32). */
function numbersFrom(text: string): () => number {
  let state = 0x811c9dc5
  for (const char of text) state = Math.imul(state ^ char.codePointAt(0)!, 0x01000193)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
