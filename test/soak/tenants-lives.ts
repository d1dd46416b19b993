import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/core/clock.ts";
import { reasonOf } from "../../src/core/errors.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../../src/core/resources.ts";
import { connectKube, NAMESPACE, SECRET } from "../../src/kube/index.ts";
import type { ChildStatus } from "../../src/supervise/index.ts";
import { rangeOf } from "../../src/tenant/shard.ts";
import { eventually } from "../flow/eventually.ts";
import { inShards, tenantsThings } from "../flow/tenant-things.ts";
import { createTenant, kubeconfigText, readyTenant } from "../flow/tenant-world.ts";
import { row } from "./row.ts";
import { counted, countOne, openSoak } from "./tenants-world.ts";

/**
 * Tenants that are created and deleted, awake or asleep, with a fault at a step of each: every one answers by its kubeconfig, and nothing of
 * any is left.
 */
const { values } = parseArgs({
  options: { lives: { type: "string", default: "100" }, seed: { type: "string", default: "1" }, faults: { type: "string" } },
});
const lives = Number(values.lives);
const seed = Number(values.seed);
const PORTS = { from: 21_561, to: 21_569 };
const UIDS = { from: 2_968_000, to: 2_968_100 };
const DEADLINE_MS = 120_000;
/** A fault falls when a step is reached, or up to so long after. */
const WITHIN_MS = 500;

/** Not a day ahead: what is issued then is good a day later for everybody else, and there is no control plane before. */
const LEAPS_MS = [-30 * 60_000, 30 * 60_000];

const world = await openSoak({ ports: PORTS, uid: UIDS.from, seed, leapsMs: LEAPS_MS });
const { host, random, pick } = world;
let id = "";
const ids: string[] = [];
const FAULTS = world.faults(() => id);
const names = values.faults?.split(",") ?? Object.keys(FAULTS);

/** What a creation comes to, in order. */
const CREATING: Steps = {
  "asked for": () => true,
  "its place chosen": async (name) => (await get(name))?.status?.port !== undefined,
  "its door runs": async () => (await part("door"))?.pid !== undefined,
  "its apiserver runs": async () => (await part("kube-apiserver"))?.pid !== undefined,
  "its apiserver answers": async () => (await part("kube-apiserver"))?.ready === true,
  "its controllers run": async () => (await part("kube-controller-manager"))?.pid !== undefined,
  "its kubeconfig written": async (name) => (await host.kube.get(SECRET, `${name}-kubeconfig`, "default")) !== undefined,
};
/** And a deletion. */
const DELETING: Steps = {
  "deletion asked for": () => true,
  "its scheduler gone": async () => (await part("kube-scheduler")) === undefined,
  "its apiserver gone": async () => (await part("kube-apiserver")) === undefined,
  "its files gone": () => !existsSync(join(host.dir, "tenants", id)),
  "its Secrets gone": async (name) => (await host.kube.get(SECRET, `${name}-pki`, "default")) === undefined,
};
type Steps = Readonly<Record<string, (name: string) => boolean | Promise<boolean>>>;

const zeros = (of: readonly string[]): Record<string, number> => Object.fromEntries(of.map((one) => [one, 0]));
const hits = { faults: zeros(names), steps: zeros([...Object.keys(CREATING), ...Object.keys(DELETING)]) };
const began = Date.now();
let [done, asleep, slowestMs] = [0, 0, 0];
let failed: string | undefined;
try {
  await world.startDaemon();
  // what the first one brings stays for all: a shard, the gateway
  await live("first");
  const before = await things();
  for (; done < lives && failed === undefined; done += 1) {
    const steps = [pick(Object.keys(CREATING)), pick(Object.keys(DELETING))] as const;
    try {
      const line = await live(`life-${done}`, steps);
      await eventually("nothing is left", async () => nothingNew(before, await things()), DEADLINE_MS);
      console.log(`${done + 1}/${lives}  ${line}`);
    } catch (error) {
      failed = `life ${done + 1} (${steps.join(", then ")}): ${reasonOf(error)}; ${reasonOf((error as Error).cause)}`;
      console.error(failed);
      console.error(JSON.stringify((await host.kube.list(VIRTUAL_CLUSTER)).items, undefined, 1));
    }
  }
} finally {
  await world.close();
}

/** Created, called, perhaps asleep, deleted, with a fault at a step of its creation and one at a step of its deletion. */
async function live(name: string, [creating, deleting]: readonly [string?, string?] = []): Promise<string> {
  const ref = { namespace: "default", name };
  const from = Date.now();
  await createTenant(host, name);
  id = (await get(name))?.metadata.uid ?? "";
  ids.push(id);
  const first = await strike(name, CREATING, creating);
  await eventually(`${name} is Ready`, () => readyTenant(host, ref), DEADLINE_MS);
  const kube = connectKube(await kubeconfigText(host, ref));
  try {
    await eventually(`${name} answers`, async () => {
      if (!(await kube.get(NAMESPACE, "default"))) throw new Error("it has no namespace default yet");
    });
  } finally {
    await kube.close();
  }
  const tookMs = Date.now() - from;
  slowestMs = Math.max(slowestMs, tookMs);
  world.tell({ aheadMs: 0, swap: true });
  const sleeps = random() < 0.3;
  if (sleeps) await sleep(name);
  await host.kube.delete(VIRTUAL_CLUSTER, name, { namespace: "default" });
  const second = await strike(name, DELETING, deleting);
  await eventually(
    `${name} is gone`,
    async () => {
      const left = await get(name);
      if (left) throw new Error(JSON.stringify(left.status?.conditions));
    },
    DEADLINE_MS,
  );
  world.tell({ aheadMs: 0, swap: true });
  const keys = await eventually("its keys are counted", () => inShards(host.dir, (etcd) => etcd.count(rangeOf(id))), DEADLINE_MS);
  if (keys.some((count) => count > 0)) throw new Error(`${keys.join(", ")} keys of it are left`);
  return `${first}, then ${second}: answered after ${(tookMs / 1000).toFixed(1)} s${sleeps ? ", slept" : ""}, gone`;
}

/** Says what was struck at this step: the fault that hit least has its turn, or where it finds nothing the next. */
async function strike(name: string, steps: Steps, step: string | undefined): Promise<string> {
  if (step === undefined) return "nothing";
  await eventually(
    `${name}: ${step}`,
    async () => {
      if (!(await steps[step]?.(name))) throw new Error("not yet");
    },
    DEADLINE_MS,
    10,
  );
  await systemClock.sleep(random() * WITHIN_MS);
  for (const fault of names.toSorted((a, b) => (hits.faults[a] ?? 0) - (hits.faults[b] ?? 0))) {
    if (!FAULTS[fault]) throw new Error(`there is no fault ${fault}`);
    if (!(await FAULTS[fault]())) continue;
    countOne(hits.faults, fault);
    countOne(hits.steps, step);
    return `${fault} (${step})`;
  }
  return `nothing to strike (${step})`;
}

function get(name: string): Promise<VirtualCluster | undefined> {
  return host.kube.get(VIRTUAL_CLUSTER, name, "default");
}

async function part(of: string): Promise<ChildStatus | undefined> {
  const [child] = await world.supervisor().list([`tenant-${id}-${of}`]);
  return child;
}

async function sleep(name: string): Promise<void> {
  await host.kube.patch(VIRTUAL_CLUSTER, name, "default", { spec: { sleep: { state: "Asleep" } } });
  await eventually(`${name} sleeps`, async () => {
    const state = (await get(name))?.status?.sleep?.state;
    if (state === undefined || state === "awake") throw new Error("not yet");
  });
  asleep += 1;
}

function things(): ReturnType<typeof tenantsThings> {
  return tenantsThings({ ...host, supervisor: world.supervisor() }, { ports: PORTS, uids: UIDS, ids });
}

function nothingNew(before: Awaited<ReturnType<typeof things>>, now: Awaited<ReturnType<typeof things>>): void {
  const left = Object.entries(now).flatMap(([what, all]) =>
    all.filter((one) => !before[what]?.includes(one)).map((one) => `${what}: ${one}`),
  );
  if (left.length > 0) throw new Error(`left: ${left.join("; ")}`);
}

const result = failed ?? `every one answered, nothing of any is left; ${asleep} of them deleted asleep`;
const how = `${done} tenants created and deleted, seed ${seed}; struck: ${counted(hits.faults)}; at: ${counted(hits.steps)}`;
console.log(row("tenants-lives", how, `${result}; slowest creation ${(slowestMs / 1000).toFixed(1)} s`, began));
process.exitCode = failed === undefined ? 0 : 1;
