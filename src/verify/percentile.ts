/** Of some numbers, the smallest that is at least as large as this part of them; `undefined` of none. Sorts them. */
export function percentile(numbers: number[], part: number): number | undefined {
  numbers.sort((a, b) => a - b)
  return numbers[Math.min(numbers.length - 1, Math.floor(numbers.length * part))]
}
