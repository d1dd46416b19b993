/** `npm run bench -- NAME [PART …] [--json FILE]`: the one way benchmarks run. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const benches: Readonly<Record<string, { readonly file: string; readonly says: string }>> = {
  plan: {
    file: "plan/main.ts",
    says: "the planner beside Karpenter's, on the same pods; a whole fleet in one plan; plans against the optimum",
  },
  demo: {
    file: "../rack/demo.ts",
    says: "both roads on the virtual rack; as JSON the steps, and of each server its history and how long its pod took",
  },
  boot: { file: "boot.ts", says: "DHCP, TFTP and HTTP of the boot plane beside the servers people use today" },
  tenants: {
    file: "tenants/main.ts",
    says: "tenants' control planes: creating one, memory awake and asleep, waking, sixty of them, two hundred come and gone",
  },
};

const [name = "", ...options] = process.argv.slice(2);
const bench = benches[name];
if (!bench) {
  const list = Object.entries(benches).map(([name, { says }]) => `  ${name}  ${says}`);
  console.error(`npm run bench -- NAME [PART …] [--json FILE]\n${list.join("\n")}`);
  process.exitCode = 2;
} else {
  // it cleans up after itself
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
  const program = fileURLToPath(new URL(bench.file, import.meta.url));
  process.exitCode = spawnSync(process.execPath, ["--expose-gc", program, ...options], { stdio: "inherit" }).status ?? 1;
}
