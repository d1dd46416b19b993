export { createLog, type Logger } from "./log.ts";
export { addProcessMetrics, createMetrics, type Metrics, metricTable } from "./metrics.ts";
