import { describe, expect, test } from 'vitest'
import { Script } from '../../../test/support/histories.js'
import { checkHistory } from './check-history.js'
import { RULE_NAMES, type RuleName } from './rules.js'

type Play = (script: Script) => void

/** The rules that a history breaks, each once. */
async function broken(play: Play): Promise<RuleName[]> {
  const script = new Script()
  play(script)
  const { violations } = await checkHistory(script.records)
  return [...new Set(violations.map(({ rule }) => rule))]
}

async function undecided(play: Play): Promise<RuleName[]> {
  const script = new Script()
  play(script)
  const { rules } = await checkHistory(script.records)
  return RULE_NAMES.filter(rule => rules[rule].verdict === 'not-decidable')
}

describe('read your writes', () => {
  // Terry et al. 1994, section 3.1: "users often find that their new password is not accepted".
  const changePassword = (s: Script) => {
    s.write('ada', 'password', 'old', null)
    s.write('ada', 'password', 'new', 'old')
  }

  test.each<[string, RuleName[], Play]>([
    ['a changed password is the one that counts', [], s => s.read('ada', 'password', 'new')],
    ['a changed password is not known where one logs in', ['read-your-writes'], s => s.read('ada', 'password', 'old')],
    ['a store that has nothing yet', ['read-your-writes'], s => s.read('ada', 'password', null)],
    ['somebody else may still see the old one', [], s => s.read('bob', 'password', 'old')],
    ['a caller that wants no guarantee', [], s => s.read('ada', 'password', 'old', { asked: 'eventual' })],
    [
      'an answer that says that it is eventual',
      [],
      s => s.read('ada', 'password', 'old', { achieved: 'eventual', mayDegrade: true }),
    ],
  ])('%s', async (_, rules, read) => {
    expect(
      await broken(s => {
        changePassword(s)
        read(s)
      }),
    ).toEqual(rules)
  })

  test('a later write of somebody else that builds upon it shows it; one beside it does not', async () => {
    const play = (prev: string) => (s: Script) => {
      s.write('ada', 'x', 'a1', null)
      s.write('bob', 'x', 'b1', prev)
      s.read('ada', 'x', 'b1')
    }
    expect(await broken(play('a1'))).toEqual([])
    const beside = (s: Script) => {
      s.version('x', 'v0', null)
      s.write('ada', 'x', 'a1', 'v0')
      s.write('bob', 'x', 'b1', 'v0')
      s.read('ada', 'x', 'b1')
    }
    expect(await broken(beside)).toEqual(['read-your-writes'])
  })

  test('a write without an answer obliges to nothing, and may be seen; so may one that is still under way', async () => {
    const play = (value: string | null) => (s: Script) => {
      s.write('ada', 'x', 'a1', undefined, { status: 'unknown' })
      s.read('ada', 'x', value)
    }
    expect(await broken(play(null))).toEqual([])
    expect(await broken(play('a1'))).toEqual([])
    expect(
      await broken(s => {
        s.write('ada', 'x', 'a1', null, { start: 0, end: 10 })
        s.read('ada', 'x', null, { start: 5, end: 12 })
      }),
    ).toEqual([])
  })

  test('devices of one user: who begins when the other has ended is obliged, who overlaps is not', async () => {
    const play = (start: number) => (s: Script) => {
      s.write('ada', 'x', 'from the phone', null, { start: 0, end: 10 })
      s.read('ada', 'x', null, { start, end: 20 })
    }
    expect(await broken(play(9.999))).toEqual([])
    expect(await broken(play(10))).toEqual(['read-your-writes'])
  })

  test('two instants at the same time are concurrent', async () => {
    expect(
      await broken(s => {
        s.write('ada', 'x', 'a1', null, { start: 5, end: 5 })
        s.read('ada', 'x', null, { start: 5, end: 5 })
      }),
    ).toEqual([])
  })
})

describe('monotonic reads', () => {
  test('messages that were listed can be opened (Terry et al. 1994, section 3.2), and do not go away', async () => {
    const play = (opened: string | null, achieved?: 'read-your-writes') => (s: Script) => {
      s.write('bob', 'inbox', 'one message', null)
      s.write('cleo', 'inbox', 'two messages', 'one message')
      s.read('ada', 'inbox', 'two messages')
      s.read('ada', 'inbox', opened, achieved && { asked: achieved })
    }
    expect(await broken(play('two messages'))).toEqual([])
    expect(await broken(play('one message'))).toEqual(['monotonic-reads'])
    expect(await broken(play(null))).toEqual(['monotonic-reads'])
    // Who asked for read-your-writes only was not promised more.
    expect(await broken(play(null, 'read-your-writes'))).toEqual([])
  })

  test('what a read without that guarantee showed need not be shown again', async () => {
    expect(
      await broken(s => {
        s.write('bob', 'x', 'b1', null)
        s.read('ada', 'x', 'b1', { asked: 'read-your-writes' })
        s.read('ada', 'x', null)
      }),
    ).toEqual([])
  })

  test('sessions that see a change one after the other, in turns (Viotti & Vukolić 2016: not linearizable, yet all four hold)', async () => {
    expect(
      await broken(s => {
        s.write('bob', 'x', 'b1', null)
        s.read('ada', 'x', 'b1')
        s.read('cleo', 'x', null)
        s.read('cleo', 'x', 'b1')
      }),
    ).toEqual([])
  })
})

describe('monotonic writes', () => {
  test('a newly saved version of a file does not end up below the older one (Terry et al. 1994, section 3.4)', async () => {
    expect(
      await broken(s => {
        s.write('ada', 'file', 'draft', null)
        s.write('ada', 'file', 'corrected', 'draft')
      }),
    ).toEqual([])
    // Last writer wins, by the clocks of the servers.
    expect(
      await broken(s => {
        s.write('ada', 'file', 'draft', 'corrected')
        s.write('ada', 'file', 'corrected', null)
        s.final('file', 'draft')
      }),
    ).toEqual(['monotonic-writes'])
  })

  test('a program arrives only where the library is that it needs (ibid.; N-MW in Bailis et al. 2013)', async () => {
    const play = (library: string | null) => (s: Script) => {
      s.write('ada', 'library', 'library 2', null)
      s.write('ada', 'program', 'needs library 2', null)
      s.snapshot('bob', [
        ['library', library],
        ['program', 'needs library 2'],
      ])
    }
    expect(await broken(play('library 2'))).toEqual([])
    expect(await broken(play(null))).toEqual(['monotonic-writes'])
  })

  test('also where the program has been replaced since, by somebody else', async () => {
    expect(
      await broken(s => {
        s.write('ada', 'library', 'library 2', null)
        s.write('ada', 'program', 'needs library 2', null)
        s.write('cleo', 'program', 'recompiled', 'needs library 2')
        s.snapshot('bob', [
          ['library', null],
          ['program', 'recompiled'],
        ])
      }),
    ).toEqual(['monotonic-writes'])
  })
})

describe('writes follow reads', () => {
  test('an answer is seen only where the question is (Terry et al. 1994, section 3.3; MRWD in Bailis et al. 2013)', async () => {
    const play = (question: string | null) => (s: Script) => {
      s.write('ada', 'question', 'why?', null)
      s.read('bob', 'question', 'why?')
      s.write('bob', 'answer', 'because', null)
      s.snapshot('cleo', [
        ['question', question],
        ['answer', 'because'],
      ])
    }
    expect(await broken(play('why?'))).toEqual([])
    expect(await broken(play(null))).toEqual(['writes-follow-reads'])
  })

  test('a correction goes upon what was read', async () => {
    const play = (prev: string | null) => (s: Script) => {
      s.write('ada', 'entry', 'wrong', null)
      s.read('bob', 'entry', 'wrong')
      s.write('bob', 'entry', 'right', prev)
    }
    expect(await broken(play('wrong'))).toEqual([])
    expect(await broken(play(null))).toEqual(['writes-follow-reads'])
  })
})

describe('what is weaker than serializable and breaks no rule (Bailis et al. 2013)', () => {
  test.each<[string, Play]>([
    [
      'a lost update',
      s => {
        s.version('x', 'v0', null)
        s.transaction('ada', { reads: [['x', 'v0']], writes: [['x', 'a1', 'v0']] }, { start: 0, end: 9 })
        s.transaction('bob', { reads: [['x', 'v0']], writes: [['x', 'b1', 'a1']] }, { start: 1, end: 10 })
      },
    ],
    [
      'write skew',
      s => {
        s.transaction('ada', { reads: [['y', null]], writes: [['x', 'a1', null]] }, { start: 0, end: 9 })
        s.transaction('bob', { reads: [['x', null]], writes: [['y', 'b1', null]] }, { start: 1, end: 10 })
      },
    ],
    [
      'a long fork: two readers see two writes in opposite orders',
      s => {
        s.write('ada', 'x', 'a1', null)
        s.write('bob', 'y', 'b1', null)
        s.snapshot('cleo', [
          ['x', 'a1'],
          ['y', null],
        ])
        s.snapshot('dora', [
          ['x', null],
          ['y', 'b1'],
        ])
      },
    ],
  ])('%s', async (_, play) => expect(await broken(play)).toEqual([]))
})

describe('a failover that cuts off the tail', () => {
  /** Ada's write is acknowledged by a primary that takes it with it; Bob writes to the next one. */
  const failover = (s: Script) => {
    s.version('x', 'v0', null)
    s.write('ada', 'x', 'lost', 'v0')
    s.write('bob', 'x', 'b1', 'v0')
    s.final('x', 'b1')
  }

  test('a lost write that is not told of breaks both promises', async () => {
    expect(
      await broken(s => {
        failover(s)
        s.read('ada', 'x', 'b1')
      }),
    ).toEqual(['read-your-writes', 'lost-writes-reported'])
  })

  test.each<[string, Play]>([
    ['by the read itself', s => s.read('ada', 'x', 'b1', { reportsLoss: true })],
    [
      'by an error before it',
      s => {
        s.snapshot('ada', [], { status: 'failed', reportsLoss: true })
        s.read('ada', 'x', 'b1')
      },
    ],
    [
      'on another device, at the same time',
      s => {
        s.read('ada', 'y', null, { start: 20, end: 30, reportsLoss: true })
        s.read('ada', 'x', 'b1', { start: 19, end: 21 })
      },
    ],
  ])('who is told %s is not deceived', async (_, read) => {
    expect(
      await broken(s => {
        failover(s)
        read(s)
      }),
    ).toEqual([])
  })

  test('to be told later is a violation for the read in between; to be told before one wrote is none at all', async () => {
    expect(
      await broken(s => {
        failover(s)
        s.read('ada', 'x', 'b1')
        s.read('ada', 'x', 'b1', { reportsLoss: true })
      }),
    ).toEqual(['read-your-writes'])
    expect(
      await broken(s => {
        s.read('ada', 'x', null, { reportsLoss: true, asked: 'eventual' })
        failover(s)
        s.read('ada', 'x', 'b1')
      }),
    ).toEqual(['read-your-writes', 'lost-writes-reported'])
  })

  test('a write that reports an earlier loss does not excuse its own', async () => {
    expect(
      await broken(s => {
        s.version('x', 'v0', null)
        s.write('ada', 'x', 'lost', 'v0', { reportsLoss: true })
        s.final('x', 'v0')
        s.read('ada', 'x', 'v0')
      }),
    ).toEqual(['read-your-writes', 'lost-writes-reported'])
  })

  test('a report excuses only what was lost', async () => {
    expect(
      await broken(s => {
        s.write('ada', 'x', 'a1', null)
        s.final('x', 'a1')
        s.read('ada', 'x', null, { reportsLoss: true })
      }),
    ).toEqual(['read-your-writes'])
  })

  test('a server that was cut off may still show the lost branch, and what followed on it', async () => {
    expect(
      await broken(s => {
        failover(s)
        s.write('cleo', 'x', 'lost too', 'lost')
        s.read('ada', 'x', 'lost too')
        s.read('ada', 'x', 'b1', { reportsLoss: true })
      }),
    ).toEqual([])
  })

  test('somebody who has read it, monotonically, is to be told as well', async () => {
    const play = (reportsLoss: boolean) => (s: Script) => {
      s.version('x', 'v0', null)
      s.write('ada', 'x', 'lost', 'v0')
      s.read('cleo', 'x', 'lost')
      s.write('bob', 'x', 'b1', 'v0')
      s.final('x', 'b1')
      s.read('cleo', 'x', 'b1', { reportsLoss })
    }
    expect(await broken(play(false))).toEqual(['monotonic-reads'])
    expect(await broken(play(true))).toEqual([])
  })

  test('what one was told was lost, and then read again all the same, is not to go away once more', async () => {
    const play = (again: boolean) => (s: Script) => {
      s.version('x', 'v0', null)
      s.write('bob', 'x', 'lost', 'v0')
      s.final('x', 'v0')
      s.read('ada', 'x', 'lost')
      s.read('ada', 'y', null, { reportsLoss: true })
      if (again) s.read('ada', 'x', 'lost')
      s.read('ada', 'x', 'v0')
    }
    expect(await broken(play(false))).toEqual([])
    expect(await broken(play(true))).toEqual(['monotonic-reads'])
  })

  test('many lost writes after one another, before and after a report', async () => {
    const play = (last: number) => (s: Script) => {
      s.version('x', 'v0', null)
      for (let i = 1; i <= 100; i++) s.write('ada', 'x', `lost ${i}`, i === 1 ? 'v0' : `lost ${i - 1}`)
      s.read('ada', 'x', 'v0', { reportsLoss: true })
      for (let i = 1; i <= 100; i++) s.write('ada', 'x', `a${i}`, i === 1 ? 'v0' : `a${i - 1}`)
      s.final('x', 'a100')
      s.read('ada', 'x', `a${last}`)
    }
    expect(await broken(play(100))).toEqual([])
    expect(await undecided(play(100))).toEqual([])
    expect(await broken(play(99))).toEqual(['read-your-writes'])
  })
})

describe('what a history does not say', () => {
  test('without what a write replaced, another value may or may not include it', async () => {
    const play = (s: Script) => {
      s.write('ada', 'x', 'a1')
      s.write('bob', 'x', 'b1')
      s.read('ada', 'x', 'b1')
    }
    expect(await broken(play)).toEqual([])
    expect(await undecided(play)).toEqual(['read-your-writes'])
  })

  test('unless it was there before the write began: then it certainly does not', async () => {
    expect(
      await broken(s => {
        s.write('bob', 'x', 'b1')
        s.write('ada', 'x', 'a1')
        s.read('ada', 'x', 'b1')
      }),
    ).toEqual(['read-your-writes'])
  })

  test('a version record says it', async () => {
    const play = (prev: string | null) => (s: Script) => {
      s.write('ada', 'x', 'a1', null)
      s.write('bob', 'x', 'b1')
      s.version('x', 'b1', prev)
      s.read('ada', 'x', 'b1')
    }
    expect(await broken(play('a1'))).toEqual([])
    expect(await broken(play(null))).toEqual(['read-your-writes'])
  })

  test('who was told of a loss, in a history that does not say what was lost', async () => {
    const play = (s: Script) => {
      s.write('ada', 'x', 'a1', null)
      s.read('ada', 'x', null, { reportsLoss: true })
    }
    expect(await broken(play)).toEqual([])
    expect(await undecided(play)).toEqual(['read-your-writes'])
  })

  test('a snapshot that lacks something, beside a key that has been written very often since', async () => {
    const play = (often: number) => (s: Script) => {
      s.write('ada', 'library', 'library 2', null)
      s.write('ada', 'program', 'build 0', null)
      for (let i = 1; i <= often; i++) s.write('bob', 'program', `build ${i}`, `build ${i - 1}`)
      s.snapshot(
        'cleo',
        [
          ['library', null],
          ['program', `build ${often}`],
        ],
        { asked: 'eventual' },
      )
    }
    expect(await broken(play(30))).toEqual(['monotonic-writes'])
    expect(await undecided(play(30))).toEqual([])
    expect(await broken(play(40))).toEqual([])
    expect(await undecided(play(40))).toEqual(['monotonic-writes', 'writes-follow-reads'])
  })

  test('however often it has been written: what cannot have been known is not asked', async () => {
    const play = (library: string) => (s: Script) => {
      for (let i = 0; i < 100; i++) s.write('bob', 'program', `build ${i}`, i === 0 ? null : `build ${i - 1}`)
      s.write('ada', 'library', 'library 1', null)
      s.write('ada', 'library', 'library 2', 'library 1')
      s.write('ada', 'program', 'build 100', 'build 99')
      s.snapshot(
        'cleo',
        [
          ['library', library],
          ['program', 'build 100'],
        ],
        { asked: 'eventual' },
      )
    }
    expect(await broken(play('library 1'))).toEqual(['monotonic-writes'])
    expect(await broken(play('library 2'))).toEqual([])
    expect(await undecided(play('library 2'))).toEqual([])
  })
})

describe("an author's own cache", () => {
  const fromOwnCache = { fromOwnCache: true, asked: 'eventual' } as const

  test('shows what that session wrote, or read from elsewhere before, however often since', async () => {
    expect(
      await broken(s => {
        s.write('ada', 'x', 'a1', null)
        s.read('ada', 'x', 'a1', fromOwnCache)
        s.read('bob', 'x', 'a1')
        s.read('bob', 'x', 'a1', fromOwnCache)
        s.read('bob', 'x', 'a1')
      }),
    ).toEqual([])
  })

  test('shows nothing that only somebody else, or only itself, has shown', async () => {
    const play = (s: Script) => {
      s.write('ada', 'x', 'a1', null)
      s.read('cleo', 'x', 'a1')
      s.read('bob', 'x', 'a1', fromOwnCache)
      s.read('bob', 'x', 'a1', fromOwnCache)
    }
    const script = new Script()
    play(script)
    const { rules } = await checkHistory(script.records)
    expect(rules['own-cache-isolated']).toMatchObject({ checked: 2, violations: 2 })
    expect(await broken(play)).toEqual(['own-cache-isolated'])
  })
})

test('a gauge may reach its bound, and go no further', async () => {
  const play = (value: number) => (s: Script) => {
    s.records.push({ type: 'gauge', name: 'parked reads', value, bound: 10 })
  }
  expect(await broken(play(10))).toEqual([])
  expect(await broken(play(11))).toEqual(['bounds-kept'])
})

test('what was not asked about is not judged', async () => {
  const script = new Script()
  script.write('ada', 'x', 'a1', null)
  script.read('ada', 'x', null)
  const { ok, rules, violations } = await checkHistory(script.records, { rules: ['monotonic-reads'] })
  expect({ ok, violations }).toEqual({ ok: true, violations: [] })
  expect(rules['read-your-writes']).toEqual({ verdict: 'holds', checked: 0, violations: 0, undecided: 0 })
})
