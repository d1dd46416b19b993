/** `npm run bench -- NAME [--json FILE]`: the one way benchmarks run. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const benches: Readonly<Record<string, { readonly file: string; readonly says: string }>> = {
  plan: {
    file: "plan/main.ts",
    says: "the planner beside Karpenter's, on the same pods; a whole fleet in one plan; plans against the optimum",
  },
  demo: { file: "../rack/demo.ts", says: "both roads on the virtual rack; the timeline of the first server as JSON" },
  boot: { file: "boot.ts", says: "DHCP, TFTP and HTTP of the boot plane beside the servers people use today" },
};

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: "string" }, only: { type: "string" } } });
const bench = positionals[0] === undefined ? undefined : benches[positionals[0]];
if (!bench) {
  const list = Object.entries(benches).map(([name, { says }]) => `  ${name}  ${says}`);
  console.error(`npm run bench -- NAME [--json FILE] [--only PART,…]\n${list.join("\n")}`);
  process.exitCode = 2;
} else {
  const options = Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
  process.exitCode =
    spawnSync(process.execPath, [fileURLToPath(new URL(bench.file, import.meta.url)), ...options], { stdio: "inherit" }).status ?? 1;
}
