import { parseArgs } from "node:util";
import { systemClock } from "../../src/core/clock.ts";
import { reasonOf } from "../../src/core/errors.ts";
import { VIRTUAL_CLUSTER } from "../../src/core/resources.ts";
import { connectKube, NAMESPACE, SECRET } from "../../src/kube/index.ts";
import { rangeOf } from "../../src/tenant/shard.ts";
import { eventually } from "../flow/eventually.ts";
import { inShards, tenantsThings } from "../flow/tenant-things.ts";
import { createTenant, kubeconfigText, readyTenant } from "../flow/tenant-world.ts";
import { counted, openSoak, row } from "./tenants-world.ts";

/**
 * Tenants that are created and deleted, awake or asleep, with a fault at some moment of each: every one answers by its kubeconfig, and
 * nothing of any is left.
 */
const { values } = parseArgs({
  options: { lives: { type: "string", default: "100" }, seed: { type: "string", default: "1" }, faults: { type: "string" } },
});
const lives = Number(values.lives);
const seed = Number(values.seed);
const PORTS = { from: 21_561, to: 21_569 };
const UIDS = { from: 2_968_000, to: 2_968_100 };
const DEADLINE_MS = 120_000;
/** About what a cold creation and a deletion take. */
const [CREATING_MS, DELETING_MS] = [5_000, 2_000];

const world = await openSoak({ ports: PORTS, uid: UIDS.from, seed });
const { host, random, pick } = world;
let id = "";
const FAULTS = world.faults(() => id);
const names = values.faults?.split(",") ?? Object.keys(FAULTS);
const seen: Record<string, number> = {};
const began = Date.now();
let [done, asleep, slowestMs] = [0, 0, 0];
let failed: string | undefined;
try {
  await world.startDaemon();
  // what the first one brings stays for all: a shard, the gateway
  await live("first", "none", "none");
  const before = await things();
  for (; done < lives && failed === undefined; done += 1) {
    const [first, second] = [pick(names), pick(names)];
    for (const fault of [first, second]) seen[fault] = (seen[fault] ?? 0) + 1;
    try {
      const line = await live(`life-${done}`, first, second);
      await eventually("nothing is left", async () => nothingNew(before, await things()), DEADLINE_MS);
      console.log(`${done + 1}/${lives}  ${first}, then ${second}: ${line}`);
    } catch (error) {
      failed = `life ${done + 1} (${first}, then ${second}): ${reasonOf(error)}; ${reasonOf((error as Error).cause)}`;
      console.error(failed);
      console.error(JSON.stringify((await host.kube.list(VIRTUAL_CLUSTER)).items, undefined, 1));
    }
  }
} finally {
  await world.close();
}

/** Created, called, perhaps asleep, deleted, with a fault while it is created and one while it is deleted. */
async function live(name: string, whileCreated: string, whileDeleted: string): Promise<string> {
  const ref = { namespace: "default", name };
  const from = Date.now();
  await createTenant(host, name);
  id = (await host.kube.get(VIRTUAL_CLUSTER, name, "default"))?.metadata.uid ?? "";
  await strike(whileCreated, CREATING_MS);
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
  await strike(whileDeleted, DELETING_MS);
  await eventually(
    `${name} is gone`,
    async () => {
      const left = await host.kube.get(VIRTUAL_CLUSTER, name, "default");
      if (left) throw new Error(JSON.stringify(left.status?.conditions));
    },
    DEADLINE_MS,
  );
  world.tell({ aheadMs: 0, swap: true });
  const keys = await eventually("its keys are counted", () => inShards(host.dir, (etcd) => etcd.count(rangeOf(id))), DEADLINE_MS);
  if (keys.some((count) => count > 0)) throw new Error(`${keys.join(", ")} keys of it are left`);
  const secrets = (await host.kube.list(SECRET, { namespace: "default" })).items.filter((one) => one.metadata.name.startsWith(`${name}-`));
  if (secrets.length > 0) throw new Error(`left: ${secrets.map((one) => one.metadata.name).join(", ")}`);
  return `answered after ${(tookMs / 1000).toFixed(1)} s${sleeps ? ", slept" : ""}, gone`;
}

async function strike(fault: string, withinMs: number): Promise<void> {
  const fall = FAULTS[fault];
  if (!fall) throw new Error(`there is no fault ${fault}`);
  if (fault === "none") return;
  await systemClock.sleep(random() * withinMs);
  await fall();
}

async function sleep(name: string): Promise<void> {
  await host.kube.patch(VIRTUAL_CLUSTER, name, "default", { spec: { sleep: { state: "Asleep" } } });
  await eventually(`${name} sleeps`, async () => {
    const state = (await host.kube.get(VIRTUAL_CLUSTER, name, "default"))?.status?.sleep?.state;
    if (state === undefined || state === "awake") throw new Error("not yet");
  });
  asleep += 1;
}

function things(): ReturnType<typeof tenantsThings> {
  return tenantsThings({ dir: host.dir, supervisor: world.supervisor() }, { ports: PORTS, uids: UIDS });
}

function nothingNew(before: Awaited<ReturnType<typeof things>>, now: Awaited<ReturnType<typeof things>>): void {
  const left = Object.entries(now).flatMap(([what, all]) =>
    all.filter((one) => !before[what]?.includes(one)).map((one) => `${what}: ${one}`),
  );
  if (left.length > 0) throw new Error(`left: ${left.join("; ")}`);
}

const result = failed ?? `every one answered, nothing of any is left; ${asleep} of them deleted asleep`;
const how = `${done} tenants created and deleted, seed ${seed}: ${counted(seen)}`;
console.log(row("tenants-lives", how, `${result}; slowest creation ${(slowestMs / 1000).toFixed(1)} s`, began));
process.exitCode = failed === undefined ? 0 : 1;
