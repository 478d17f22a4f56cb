export { type Dashboard, type DashboardOptions, dashboard, type ShownDatabase } from './dashboard.js'
export type { ShownBudget } from './live.js'
export { toNodeListener } from './node-listener.js'
