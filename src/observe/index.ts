export {
  type Alert,
  type BudgetStatus,
  ErrorBudget,
  type ErrorBudgetOptions,
  errorBudget,
  OBJECTIVE_DEFAULTS,
  type Objective,
} from './error-budget.js'
export { type OpenTelemetryOptions, openTelemetry } from './opentelemetry.js'
export { type Exporter, type PrometheusOptions, prometheus } from './prometheus.js'
