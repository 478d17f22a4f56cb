import { expect, test } from 'vitest'
import { EMPTY_HISTORY, joinHistories, UNCERTAIN_HISTORY } from '../../core/history.js'
import { MAX_OFFSET, Position } from '../../core/position.js'
import { Session } from '../../core/session.js'
import { TokenCodec } from '../../core/token/codec.js'
import { VirtualClock } from '../../core/virtual-clock.js'
import { listItems, TOKEN_HEADER } from '../../http/carrier.js'
import { tokenExchange } from '../../http/exchange.js'
import { ResponseHeaders, tokenCarrier } from './token-carrier.js'

const LOG = '7/1'
const at = (offset: bigint) => Position.at(LOG, offset)

/**
 * A device has a doubt, "somewhere in this log", and sends a read with it. A write that had begun before it had the doubt commits behind
 * that read, and is answered first.
 */
test('a device that holds a doubt keeps what it writes, whatever the answer to an older read settles', () => {
  const clock = new VirtualClock()
  const codec = new TokenCodec({ secret: 'a secret of enough bytes', clock })
  const open = tokenExchange({
    session: (tokens, options = {}) =>
      Object.assign(new Session({ codec, clock }, tokens, options), { run: <T>(fn: () => T) => fn() }),
  })
  const carrier = tokenCarrier('header', () => 0.5)
  const held = () =>
    listItems(carrier.request().get(TOKEN_HEADER))
      .map(token => codec.decode(token))
      .reduce(joinHistories, EMPTY_HISTORY)
  const answer = (exchange: ReturnType<typeof open>) => {
    const response = new ResponseHeaders()
    exchange.apply(response)
    carrier.receive(response)
  }

  const writing = open(carrier.request())
  const doubting = open(carrier.request())
  doubting.session.doubt(LOG, true)
  answer(doubting)
  expect(held()).toEqual({ ...UNCERTAIN_HISTORY, writes: at(MAX_OFFSET) })
  const reading = open(carrier.request())
  const { doubts } = reading.session
  void writing.session.wrote(at(9n))
  answer(writing)
  reading.session.settle(at(5n), doubts)
  answer(reading)
  expect(held()).toEqual({ ...EMPTY_HISTORY, writes: at(9n) })
})
