import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { readHistory } from './read-history.js'

test('a file that is no history does not command the terminal through the error about it', async () => {
  // Found by `npm run fuzz`: the parser of JSON quotes what it could not read.
  for (const line of ['\x1b[2J\u202e', '{"a": \x1b[31m', 'x\r\n']) {
    const read = async () => {
      for await (const _ of readHistory(Readable.from([Buffer.from(line)])));
    }
    const error = await read().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'TIDEMARK_HISTORY', message: expect.stringMatching(/^stream:1: is not JSON \(\P{C}+$/u) })
  }
})
