/** `npm run bench -- tenants [PART …] [--json FILE] [--count N] [--quick]`: what a tenant's control plane costs, awake and asleep. */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { aligned } from "../boot-part.ts";
import { benchChurn } from "./churn.ts";
import { benchCreate } from "./create.ts";
import { benchMemory } from "./memory.ts";
import type { TenantsPart } from "./part.ts";
import { againstPublished } from "./published.ts";
import { benchSixty } from "./sixty.ts";
import { curve, type Measured } from "./thousand.ts";
import { benchWake } from "./wake.ts";
import { openWorld, type World } from "./world.ts";

/** In this order, since each leaves its tenants to the next one, asleep. */
const COUNTS = {
  memory: { full: 10, quick: 2 },
  create: { full: 10, quick: 2 },
  wake: { full: 10, quick: 1 },
  sixty: { full: 60, quick: 4 },
  churn: { full: 200, quick: 5 },
} as const;
type Part = keyof typeof COUNTS;
const PARTS = Object.keys(COUNTS) as Part[];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "string" },
    count: { type: "string" },
    quick: { type: "boolean", default: false },
    log: { type: "string" },
  },
});
const asked = positionals.map(partOf);
const only = asked.length > 0 ? asked : PARTS.map((part) => ({ part, count: undefined }));
const chosen = PARTS.filter((part) => only.some((one) => one.part === part));
const total = numberOf(values.count);
const began = performance.now();

function partOf(text: string): { readonly part: Part; readonly count: number | undefined } {
  const [name = "", count] = text.split("=");
  const part = PARTS.find((one) => one === name);
  if (!part) throw new Error(`${name} is none of ${PARTS.join(", ")}; PART=N says how many tenants it takes`);
  return { part, count: numberOf(count) };
}

function numberOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Error(`${text} is no number of tenants`);
  return Number(text);
}

function countOf(part: Part): number {
  return only.find((one) => one.part === part)?.count ?? total ?? COUNTS[part][values.quick ? "quick" : "full"];
}

function say(line: string): void {
  console.error(`  ${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${line}`);
}

const figures: Record<string, number> = {};
const measured: Measured[] = [];

async function measure(world: World, part: Part, run: (options: Parameters<typeof benchCreate>[0]) => Promise<TenantsPart>): Promise<void> {
  if (!chosen.includes(part)) return;
  const result = await run({ world, count: countOf(part), quick: values.quick, say: (line) => say(`${part}: ${line}`) });
  Object.assign(figures, result.figures);
  measured.push(...(result.measured ?? []));
  console.log(`\n${aligned(result.table)}\n`);
}

async function measureAll(world: World): Promise<void> {
  const rest = async () => {
    await measure(world, "sixty", benchSixty);
    await measure(world, "churn", benchChurn);
  };
  await measure(world, "memory", benchMemory);
  await measure(world, "create", benchCreate);
  await measure(world, "wake", (options) => benchWake(options, rest));
  if (!chosen.includes("wake")) await rest();
}

/** Most who sleep at once, each with its place in the swap file. */
function sleepers(): number {
  const made = (["memory", "create", "create"] as const)
    .filter((part) => chosen.includes(part))
    .reduce((sum, part) => sum + countOf(part), 1);
  const wanted = [chosen.includes("wake") ? 3 * countOf("wake") : 0, chosen.includes("sixty") ? countOf("sixty") : 0];
  return Math.max(made, ...wanted);
}

const opening = openWorld({ tenants: sleepers(), say, ...(values.log === undefined ? {} : { logLevel: values.log }) });
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, () => {
    say(`${signal}: waiting until everything is removed`);
    void opening.then((opened) => opened.close()).finally(() => process.exit(130));
  });
const world = await opening;
try {
  await measureAll(world);
} finally {
  say("waiting until everything is removed");
  await world.close();
}
const ratios = againstPublished(figures);
if (chosen.includes("memory")) console.log(`\n${aligned(curve(figures, measured))}`);
if (Object.keys(ratios).length > 0)
  console.log(`\n${aligned([["theirs over ours", "ratio"], ...Object.entries(ratios).map(([name, ratio]) => [name, ratio.toFixed(2)])])}`);
if (values.json) writeFileSync(values.json, `${JSON.stringify({ ratios, figures, measured }, null, 2)}\n`);
