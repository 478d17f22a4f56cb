import { rerouteReasonOf } from '../engines/postgres/driver-errors.js'

const ATTEMPTS = 5

/**
 * Does `work`, which can be done again, as long as a standby cancels it in favour of its replay: that hits any query there, and most of
 * all when replay goes on after a pause. Rejects as the last attempt does.
 */
export async function despiteConflicts<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (rerouteReasonOf(error, true) !== 'recovery-conflict' || attempt === ATTEMPTS) throw error
    }
  }
}
