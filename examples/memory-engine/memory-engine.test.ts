import { testEngine } from 'tidemark/testing'
import { afterAll, describe, expect, test } from 'vitest'
import { MemoryDatabase } from './memory-engine.js'
import { MemoryServer } from './memory-server.js'
import { memoryUnderTest } from './memory-under-test.js'

testEngine(memoryUnderTest(), { describe, test, after: afterAll })

test('an author sees what he wrote, and so does who has his token', async () => {
  const primary = new MemoryServer('photos')
  const replica = new MemoryServer('photos', primary)
  replica.paused = true
  const specs = [
    { id: 'primary', servers: [primary] },
    { id: 'replica', servers: [replica] },
  ]
  const db = await MemoryDatabase.open(specs, { secret: 'a secret of the memory engine' })
  const author = db.session()
  await author.put('photo 1', 'The harbour at seven')
  expect(await author.get('photo 1')).toBe('The harbour at seven')
  expect(author.lastOutcome?.node).toBe('primary')
  expect(await db.session(author.token()).get('photo 1')).toBe('The harbour at seven')
  expect(await db.session().get('photo 1')).toBeUndefined()
  await db.close()
  for (const server of [primary, replica]) server.stop()
})
