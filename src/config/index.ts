export { type ConfigSources, describeIssue, loadConfig, redacted, variables } from "./load.ts";
export { type Config, configSchema } from "./schema.ts";
