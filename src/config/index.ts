export { type Artifacts, artifactFiles, KUBE_PROGRAMS, readArtifacts, readIndex } from "./artifacts.ts";
export { type ConfigSources, describeIssue, listSettings, loadConfig, redacted, variables } from "./load.ts";
export { type Config, configSchema } from "./schema.ts";
