import type { SimulatedSession } from '../../engines/simulated/simulated-session.js'

/** A session of the simulated engine, as the HTTP layer takes it: nothing here asks which session is in scope. */
export type AppSession = SimulatedSession & { run<T>(work: () => T): T }
