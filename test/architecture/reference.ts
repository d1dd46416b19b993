import { listSettings, variables } from "../../src/config/index.ts";
import { codes, explain } from "../../src/core/errors.ts";
import { metricTable } from "../../src/observe/index.ts";

/** The pages of docs/reference that are made from the code, by file name. `node test/architecture/reference.ts` writes them. */
export function pages(): Readonly<Record<string, string>> {
  return { "errors.md": errorsPage(), "configuration.md": configurationPage(), "metrics.md": metricsPage() };
}

function errorsPage(): string {
  const rows = codes.map((code) => {
    const { says = "", next = "" } = explain(code) ?? {};
    return `| \`${code}\` | ${cell(says)} | ${cell(next)} |`;
  });
  return `# Errors

Every error has a code to switch on; messages may change, codes are never reused. \`ironwright explain CODE\` prints the same.

| code | what happened | what to do next |
| --- | --- | --- |
${rows.join("\n")}
`;
}

function configurationPage(): string {
  const rows = variables().map(({ path, name, description }) => `| \`${path.join(".")}\` | \`${name}\` | ${cell(description)} |`);
  return `# Configuration

One file (\`--config\`, else \`./ironwright.yaml\`, else \`/etc/ironwright/ironwright.yaml\`), then the environment, then \`--set key=value\`; later
ones win. \`ironwright config\` prints the effective configuration. What is not valid is refused with the field's path, and nothing starts.

| setting | variable | meaning |
| --- | --- | --- |
${rows.join("\n")}

## What stands in lists

What a subnet has as an interface does, and a reservation's options, mean the same there.

| setting | meaning |
| --- | --- |
${listSettings()
  .map(({ setting, description }) => `| \`${setting}\` | ${cell(description)} |`)
  .join("\n")}
`;
}

function metricsPage(): string {
  const rows = Object.values(metricTable).map(
    ({ name, kind, labels, help }) => `| \`${name}\` | ${kind} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${cell(help)} |`,
  );
  return `# Metrics

In Prometheus' text format, at \`/metrics\` of the daemon's own socket (\`<dataDir>/run/daemon.sock\`, root only), and at
\`http://ADDRESS:PORT/metrics\` when \`api.metrics.address\` and \`api.metrics.port\` (9464) are set. Node's own (\`process_*\`, \`nodejs_*\`) are there as well. No label
carries the name of a machine or an address, and of a tenant only where each is to be watched (a plane is the id of a control plane): the others are in \`ironwright timeline machine NAME\` and \`ironwright get leases\`.

| metric | kind | labels | what it says |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

if (import.meta.main) {
  const { writeFileSync } = await import("node:fs");
  for (const [name, text] of Object.entries(pages())) writeFileSync(new URL(`../../docs/reference/${name}`, import.meta.url), text);
}
