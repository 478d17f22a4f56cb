// The application as its parent sees it.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export class AppProcess {
  #child
  #pending = new Map()
  #nextId = 0
  port

  static async start() {
    const app = new AppProcess()
    app.#child = fork(fileURLToPath(new URL('./app.mjs', import.meta.url)))
    await new Promise((resolve, reject) => {
      app.#child.once('message', resolve)
      app.#child.once('exit', code => reject(new Error(`the application ended with ${code}`)))
    })
    app.#child.on('message', ({ id, value, error }) => {
      const { resolve, reject } = app.#pending.get(id) ?? {}
      app.#pending.delete(id)
      if (error === undefined) resolve?.(value)
      else reject?.(new Error(error))
    })
    app.#child.on('exit', () => {
      for (const { reject } of app.#pending.values()) reject(new Error('the application ended'))
    })
    app.port = await app.ask('port')
    return app
  }

  ask(command, rest = {}) {
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.#child.send({ id, command, ...rest })
    })
  }

  stop() {
    this.#child.kill()
  }
}
