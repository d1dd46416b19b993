/** One plan in a process of its own: `ours.ts scenario FILE [ignore]`, `ours.ts fleet PODS KINDS TENANTS MACHINES [PARTS]`. Prints what it cost. */
import { readFileSync } from "node:fs";
import { plan, type World } from "../../../src/autoscale/plan/index.ts";
import type { Measured } from "./karpenter.ts";
import { fleet, worldOfScenario } from "./worlds.ts";

const [kind, ...rest] = process.argv.slice(2);
const world = worldOf();
const cpu = process.cpuUsage();
const began = performance.now();
const made = plan(world);
const wallSeconds = (performance.now() - began) / 1000;
const { user, system } = process.cpuUsage(cpu);
const measured: Measured = {
  wallSeconds,
  cpuSeconds: (user + system) / 1e6,
  peakMiB: peakMiB(),
  newNodes: made.claims.length,
  placed: made.placements.reduce((sum, one) => sum + one.pods.length, 0),
  failed: made.refusals.reduce((sum, one) => sum + one.pods.length, 0) + (made.rest ?? []).reduce((sum, one) => sum + one.pods.length, 0),
};
console.log(JSON.stringify(measured));

function worldOf(): World {
  if (kind === "scenario") return worldOfScenario(rest[0] ?? "", rest[1] === "ignore" ? { preferences: "ignore" } : {});
  const [pods = 0, kinds = 0, tenants = 0, machines = 0, parts] = rest.map(Number);
  return fleet({ pods, kinds, tenants, machines, ...(parts === undefined ? {} : { parts }) });
}

/** The most the process ever held, VmHWM of proc(5). */
function peakMiB(): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;
}
