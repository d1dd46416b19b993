/**
 * `npm run bench -- plan [PART …] [--json FILE]`: the planner beside Karpenter's, each plan in a process of its own, on the same pods,
 * types and nodes, one after the other in the same run; then a whole fleet, the curve of what it costs, and plans against the optimum.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildKarpenter, KARPENTER_VERSION, type Measured, runKarpenter, type Scenario } from "./karpenter.ts";
import { planQuality } from "./quality.ts";
import { run } from "./run.ts";
import type { FleetSize } from "./worlds.ts";

const SCENARIOS: readonly Scenario[] = [
  ...[100, 500, 1000, 2000].map((count) => ({ name: `diverse-${count}`, pods: "diverse" as const, count, types: 400, existingNodes: 0 })),
  { name: "preferences-4000", pods: "preferences", count: 4000, types: 400, existingNodes: 0 },
  { name: "preferences-ignored-4000", pods: "preferences", count: 4000, types: 400, existingNodes: 0, ignore: true },
  { name: "mixed-5000", pods: "diverse", count: 5000, types: 10, existingNodes: 0 },
  { name: "existing-2000", pods: "plain", count: 2000, types: 10, existingNodes: 1000 },
];

const FLEET: FleetSize = { pods: 100_000, kinds: 200, tenants: 1_000, machines: 10_000 };
/** The same fleet with fewer pods, then with fewer and more kinds of as many. */
const CURVE: readonly FleetSize[] = [
  ...[1_000, 10_000, 50_000].map((pods) => ({ ...FLEET, pods })),
  ...[20, 2_000].map((kinds) => ({ ...FLEET, kinds })),
];

/** Pods that grow in number as they shrink in size, then fewer and more kinds, then fewer tenants, of as many: about as many claims each time. */
const SAME_CLAIMS: readonly FleetSize[] = [
  ...[1, 5, 10, 20].map((parts) => ({ ...FLEET, pods: 10_000 * parts, parts })),
  ...[20, 2_000].map((kinds) => ({ ...FLEET, kinds, parts: 10 })),
  ...[10, 100].map((tenants) => ({ ...FLEET, tenants, parts: 10 })),
];

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: "string" } } });
const known = [...SCENARIOS.map(({ name }) => name), "fleet", "claims", "quality"];
const unknown = positionals.find((name) => !known.includes(name));
if (unknown !== undefined) throw new Error(`${unknown} is none of ${known.join(", ")}`);
const wanted = (name: string) => positionals.length === 0 || positionals.includes(name);
const ratios: Record<string, number> = {};
const figures: Record<string, unknown> = { karpenter: KARPENTER_VERSION };
const work = mkdtempSync(join(tmpdir(), "ironwright-bench-"));

try {
  await besideKarpenter(SCENARIOS.filter(({ name }) => wanted(name)));
  if (wanted("fleet")) figures.fleet = await wholeFleet("A whole fleet in one plan", [FLEET, ...CURVE]);
  if (wanted("claims")) figures.claims = await wholeFleet("As many claims for other pods", SAME_CLAIMS);
  if (wanted("quality")) quality();
} finally {
  rmSync(work, { recursive: true, force: true });
}
if (values.json) writeFileSync(values.json, `${JSON.stringify({ ratios, figures }, undefined, 2)}\n`);

async function besideKarpenter(scenarios: readonly Scenario[]): Promise<void> {
  if (scenarios.length === 0) return;
  const program = await buildKarpenter(console.log);
  console.log(`\nIronwright beside Karpenter ${KARPENTER_VERSION}: CPU-seconds of one plan in a fresh process (theirs: of Solve alone)`);
  row(["", "theirs", "ours", "ratio", "pods/CPU-s", "MiB theirs", "MiB ours", "nodes theirs", "nodes ours"]);
  for (const scenario of scenarios) {
    const file = join(work, `${scenario.name}.json`);
    const theirs = await runKarpenter(program, scenario, file);
    const ours = await runOurs(["scenario", file, ...(scenario.ignore ? ["ignore"] : [])]);
    if (ours.failed > theirs.failed)
      throw new Error(`${scenario.name}: ${ours.failed} pods without a place, Karpenter leaves ${theirs.failed}`);
    if (ours.newNodes > theirs.newNodes) throw new Error(`${scenario.name}: ${ours.newNodes} nodes, Karpenter needs ${theirs.newNodes}`);
    if (ours.cpuSeconds > theirs.cpuSeconds)
      throw new Error(`${scenario.name}: ${ours.cpuSeconds} CPU-seconds, Karpenter needs ${theirs.cpuSeconds}`);
    ratios[scenario.name] = round(theirs.cpuSeconds / ours.cpuSeconds);
    figures[scenario.name] = { theirs, ours };
    row([
      scenario.name,
      seconds(theirs.cpuSeconds),
      seconds(ours.cpuSeconds),
      `${ratios[scenario.name]}×`,
      String(Math.round(scenario.count / ours.cpuSeconds)),
      String(Math.round(theirs.peakMiB)),
      String(Math.round(ours.peakMiB)),
      String(theirs.newNodes),
      String(ours.newNodes),
    ]);
  }
}

async function wholeFleet(title: string, sizes: readonly FleetSize[]): Promise<unknown[]> {
  console.log(`\n${title}`);
  row(["pods", "kinds", "tenants", "machines", "wall s", "CPU s", "peak MiB", "placed", "claims"]);
  const list = [];
  for (const size of sizes) {
    const made = await runOurs(
      ["fleet", size.pods, size.kinds, size.tenants, size.machines, ...(size.parts ? [size.parts] : [])].map(String),
    );
    list.push({ ...size, ...made });
    const { pods, kinds, tenants, machines } = size;
    row(
      [
        pods,
        kinds,
        tenants,
        machines,
        seconds(made.wallSeconds),
        seconds(made.cpuSeconds),
        Math.round(made.peakMiB),
        made.placed,
        made.newNodes,
      ].map(String),
    );
  }
  return list;
}

function quality(): void {
  const found = planQuality(1000, 1);
  figures.quality = found;
  console.log(
    `\nAgainst the optimum, ${found.worlds} small random worlds: ${found.optimal} optimal; ${found.podsMissed} pods missed in all, ` +
      `${found.machinesMore} machines more than the ${found.machinesBest} needed`,
  );
}

async function runOurs(args: readonly string[]): Promise<Measured> {
  return JSON.parse(await run(process.execPath, [join(import.meta.dirname, "ours.ts"), ...args]));
}

function row(cells: readonly string[]): void {
  console.log(cells.map((cell, at) => (at === 0 ? cell.padEnd(18) : cell.padStart(13))).join(""));
}

function seconds(value: number): string {
  return value.toFixed(value < 1 ? 3 : 2);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
