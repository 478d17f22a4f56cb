/** The server's end of one connection: carries out statements in order, with at most one transaction open. */
import type { Backend, Connection } from './connection.js'
import { type Answer, type Row, ServerError, type Statement } from './protocol.js'
import type { ServerProcess } from './server-process.js'
import type { Version } from './wal.js'

/** What a transaction has done so far. Nobody else sees it before it commits. */
export class Transaction {
  readonly readOnly: boolean
  readonly asyncCommit: boolean
  readonly versions: Version[] = []
  readonly own = new Map<string, Version>()
  failed = false
  constructor(readOnly: boolean, asyncCommit: boolean) {
    this.readOnly = readOnly
    this.asyncCommit = asyncCommit
  }
}

type Reply = (answer: Answer | ServerError) => void

export class ServerBackend implements Backend {
  readonly #server: ServerProcess
  readonly #connection: Connection
  readonly #queue: Statement[] = []
  #busy = false
  #gone = false
  #transaction: Transaction | undefined

  constructor(server: ServerProcess, connection: Connection) {
    this.#server = server
    this.#connection = connection
  }

  receive(statement: Statement): void {
    this.#server.whenAwake(() => {
      this.#queue.push(statement)
      this.#next()
    })
  }

  closed(): void {
    this.#server.whenAwake(() => this.#close())
  }

  /** The server goes away: the client is told, or (a host that has lost its power) not even that. */
  end(reason: string | undefined): void {
    this.#gone = true
    if (reason === undefined) this.#connection.abandoned()
    else this.#connection.closedByServer(reason)
  }

  #close(): void {
    this.#gone = true
    this.#queue.length = 0
    this.#server.backends.delete(this)
    // What is being committed is committed; an open transaction is rolled back.
    if (!this.#busy) this.#rollBack()
  }

  #next(): void {
    const statement = this.#busy || this.#gone ? undefined : this.#queue.shift()
    if (statement === undefined) return
    this.#busy = true
    this.#run(statement, answer => {
      this.#busy = false
      if (this.#gone) return this.#rollBack()
      if (answer instanceof ServerError) {
        if (this.#transaction !== undefined) this.#transaction.failed = true
        this.#connection.answerError(answer)
      } else this.#connection.answer(answer, this.#server.serviceMs())
      this.#next()
    })
  }

  #run(statement: Statement, reply: Reply): void {
    const { kind } = statement
    if (this.#transaction?.failed && kind !== 'rollback' && kind !== 'commit') reply(failed())
    else if (kind === 'write') this.#write(statement, reply)
    else if (kind === 'commit') this.#commit(reply)
    else if (kind === 'sleep') this.#server.later(statement.ms, () => reply(null))
    else reply(this.#answerTo(statement))
  }

  #answerTo(statement: Exclude<Statement, { readonly kind: 'write' | 'commit' | 'sleep' }>): Answer | ServerError {
    switch (statement.kind) {
      case 'read':
        return { rows: this.#rowsOf(statement.keys) }
      case 'begin':
        if (this.#transaction !== undefined) return new ServerError('no-such-transaction', 'a transaction is open already')
        this.#transaction = new Transaction(statement.readOnly ?? false, statement.asyncCommit ?? false)
        return null
      case 'rollback':
        this.#rollBack()
        return null
      default:
        return this.#server.describe(statement.kind)
    }
  }

  #rowsOf(keys: readonly string[]): Row[] {
    const rows: Row[] = []
    for (const key of keys) for (const register of this.#server.registersOf(key)) rows.push(this.#rowOf(register))
    return rows
  }

  #rowOf(register: string): Row {
    const version = this.#transaction?.own.get(register) ?? this.#server.data.get(register)
    return version ?? { key: register, value: null, prev: null }
  }

  #write(statement: Statement & { readonly kind: 'write' }, reply: Reply): void {
    const open = this.#transaction
    const transaction = open ?? new Transaction(false, statement.asyncCommit ?? false)
    if (!this.#server.writable || transaction.readOnly) {
      reply(new ServerError('read-only', 'cannot write in a read-only transaction'))
      return
    }
    const { values } = statement
    const rows: Version[] = []
    const step = (index: number) => {
      const next = values[index]
      if (next === undefined) {
        if (open !== undefined) reply({ rows })
        else this.#server.commit(transaction, error => reply(error ?? { rows }))
        return
      }
      const [name, value] = next
      const key = this.#server.registerOf(name)
      this.#server.locks.acquire(transaction, key, acquired => {
        if (!acquired) {
          this.#server.locks.release(transaction)
          return reply(new ServerError('lock-timeout', `no lock on ${key} in time`))
        }
        // Read committed: what counts is what is there once the lock is ours.
        const prev = (transaction.own.get(key) ?? this.#server.data.get(key))?.value ?? null
        const version = { key, value, prev }
        rows.push(version)
        transaction.versions.push(version)
        transaction.own.set(key, version)
        step(index + 1)
      })
    }
    step(0)
  }

  #commit(reply: Reply): void {
    const transaction = this.#transaction
    if (transaction === undefined) reply(new ServerError('no-such-transaction', 'no transaction is open'))
    else if (transaction.failed) {
      this.#rollBack()
      reply(failed())
    } else {
      this.#transaction = undefined
      this.#server.commit(transaction, error => reply(error ?? null))
    }
  }

  #rollBack(): void {
    if (this.#transaction !== undefined) this.#server.locks.release(this.#transaction)
    this.#transaction = undefined
  }
}

function failed(): ServerError {
  return new ServerError('transaction-failed', 'the transaction has failed; nothing of it is kept')
}
