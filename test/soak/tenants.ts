import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/core/clock.ts";
import { condition } from "../../src/core/conditions.ts";
import { reasonOf } from "../../src/core/errors.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../../src/core/resources.ts";
import { connectKube, type Kube, NAMESPACE } from "../../src/kube/index.ts";
import { eventually } from "../flow/eventually.ts";
import { createTenant, kubeconfigText, readyTenant } from "../flow/tenant-world.ts";
import { row } from "./row.ts";
import { counted, countOne, openSoak } from "./tenants-world.ts";
import { startWriters } from "./tenants-writers.ts";

/**
 * A tenant that is put to sleep and woken again and again, with writes in flight and a fault each time: afterwards it answers within a
 * deadline with every acknowledged write, or its condition says why it does not.
 */
const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    faults: { type: "string" },
    lane: { type: "string", default: "0" },
  },
});
const cycles = Number(values.cycles);
const seed = Number(values.seed);
const lane = Number(values.lane);
if (!/^[0-9]$/.test(values.lane)) throw new Error(`--lane ${values.lane}: want 0 to 9`);
const ANSWER_MS = 90_000;
const SLEEP_MS = 60_000;
const MOST_PUT_DOWN_AGAIN = 2;
const REF = { namespace: "default", name: "sleeper" };
/** Each lane's own, so that runs go side by side. */
const PORTS = { from: 21_901 + lane * 10, to: 21_909 + lane * 10 };
const UID = 2_975_000 + lane * 100;

const world = await openSoak({ ports: PORTS, uid: UID, seed });
const { host, random, pick } = world;
const FAULTS = world.faults(() => id);
let id = "";

async function get(): Promise<VirtualCluster> {
  const found = await host.kube.get(VIRTUAL_CLUSTER, REF.name, REF.namespace);
  if (!found) throw new Error("it is gone");
  return found;
}

/** An order counts from when it is first seen, so another one needs that the last one is over. */
async function orderSleep(): Promise<void> {
  const patch = (sleep: object) => host.kube.patch(VIRTUAL_CLUSTER, REF.name, REF.namespace, { spec: { sleep } });
  await patch({ state: "Auto" });
  await eventually("the last order is over", async () => {
    if ((await get()).status?.sleep?.orderedAt !== undefined) throw new Error("not yet");
  });
  await patch({ state: "Asleep" });
}

async function sleeps(): Promise<string> {
  return eventually(
    "it sleeps",
    async () => {
      const state = (await get()).status?.sleep?.state;
      if (state === undefined || state === "awake") throw new Error(JSON.stringify((await get()).status?.sleep));
      return state;
    },
    SLEEP_MS,
  );
}

/** How often its processes were frozen or stopped, as the supervisor's log has it: writers wake it before its status says so. */
function putDown(): number {
  return readFileSync(join(host.dir, "logs", "supervisor.log"), "utf8").match(/"cell".*"msg":"(frozen|stopped)"/g)?.length ?? 0;
}

/** Its controllers work: whatever namespace is made gets its account. */
async function controllersWork(kube: Kube, nth: number): Promise<void> {
  const name = `cycle-${nth}`;
  await eventually("a namespace", () => made(kube, name), ANSWER_MS);
  await eventually("its account", () => kube.raw("GET", `/api/v1/namespaces/${name}/serviceaccounts/default`), ANSWER_MS);
  // a clock that went ahead takes it for idle: whoever calls just then is cut off, and calls again
  await eventually("the namespace goes", () => kube.delete(NAMESPACE, name), ANSWER_MS);
}

async function made(kube: Kube, name: string): Promise<void> {
  if (!(await kube.get(NAMESPACE, name))) await kube.create(NAMESPACE, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
}

const began = Date.now();
const tally = { inFlight: 0, asleep: 0, stopped: 0, explained: 0, slowestMs: 0 };
const hits: Record<string, number> = {};
let failed: string | undefined;
let done = 0;
let written = 0;
try {
  await world.startDaemon();
  await createTenant(host, REF.name);
  id = (await readyTenant(host, REF)).metadata.uid ?? "";
  const kube = connectKube(await kubeconfigText(host, REF));
  const writers = startWriters(kube, 3);
  const faults = values.faults?.split(",") ?? Object.keys(FAULTS);
  for (; done < cycles && failed === undefined; done += 1) {
    const fault = pick(faults);
    const moment = pick(["while it falls asleep", "asleep", "while it wakes", "awake"] as const);
    try {
      const line = await cycle(kube, writers, fault, moment);
      console.log(`${done + 1}/${cycles}  ${fault}, ${moment}: ${line}`);
    } catch (error) {
      failed = `cycle ${done + 1} (${fault}, ${moment}): ${reasonOf(error)}; ${reasonOf((error as Error).cause)}`;
      console.error(failed);
    }
  }
  written = writers.acknowledged();
  if (failed !== undefined) await show();
  await writers.stop();
  await kube.close();
} finally {
  await world.close();
}

async function cycle(kube: Kube, writers: ReturnType<typeof startWriters>, fault: string, moment: string): Promise<string> {
  let [state, struck] = ["woken at once", false];
  const strike = async () => {
    if (!FAULTS[fault]) throw new Error(`there is no fault ${fault}`);
    struck = await FAULTS[fault]();
    if (struck) countOne(hits, fault);
  };
  const inFlight = moment === "while it falls asleep" || random() < 0.3;
  if (moment === "awake") await Promise.all([strike(), systemClock.sleep(random() * 500)]);
  if (!inFlight) await writers.pause();
  const slept = putDown();
  await orderSleep();
  if (moment === "while it falls asleep") {
    await systemClock.sleep(random() * 2_500);
    await strike();
  } else if (!inFlight) {
    state = await sleeps();
    tally[state === "stopped" ? "stopped" : "asleep"] += 1;
  }
  if (moment === "asleep") await strike();
  if (inFlight) {
    await eventually("it is put down", () => {
      if (putDown() === slept) throw new Error("not yet");
    });
    tally.inFlight += 1;
  }
  const from = Date.now();
  const before = writers.acknowledged();
  writers.resume();
  if (moment === "while it wakes") await Promise.all([strike(), systemClock.sleep(random() * 300)]);
  const answered = await answers(writers, before);
  const tookMs = Date.now() - from;
  if (!answered) {
    const why = condition((await get()).status?.conditions, "Ready");
    if (why?.status !== "False") throw new Error(`no answer for ${ANSWER_MS / 1000} s, and its condition says ${JSON.stringify(why)}`);
    tally.explained += 1;
    if (!(await answers(writers, before))) throw new Error(`no answer for twice as long, though it is said why: ${why.message}`);
  }
  tally.slowestMs = Math.max(tally.slowestMs, tookMs);
  const answeredAt = putDown();
  const wrong = await eventually("all writes are looked at", () => writers.missing(), ANSWER_MS);
  if (wrong.length > 0) throw new Error(`lost: ${wrong.join("; ")}`);
  await controllersWork(kube, done);
  // by a clock that went ahead it seems idle, once
  const again = putDown() - answeredAt;
  if (again > MOST_PUT_DOWN_AGAIN) throw new Error(`it was put down ${again} times more while it was called`);
  world.tell({ aheadMs: 0, swap: true });
  return `${state}${struck ? "" : ", nothing was struck"}; answered after ${(tookMs / 1000).toFixed(1)} s, ${writers.acknowledged()} writes intact`;
}

/** A write and a read, of what was said after the fault. */
async function answers(writers: ReturnType<typeof startWriters>, before: number): Promise<boolean> {
  const until = Date.now() + ANSWER_MS;
  while (writers.acknowledged() < before + 3) {
    if (Date.now() > until) return false;
    await systemClock.sleep(50);
  }
  return true;
}

/** All that is known, once something is lost or does not come back. */
async function show(): Promise<void> {
  console.error(JSON.stringify((await get()).status, undefined, 1));
  console.error(JSON.stringify(await world.supervisor().list(), undefined, 1));
  for (const file of ["logs/tenants-gateway.log", "logs/supervisor.log"])
    console.error(readFileSync(join(host.dir, file), "utf8").split("\n").slice(-30).join("\n"));
}

const result =
  failed ?? `every one of ${written} acknowledged writes intact; ${tally.explained} times late with its reason in the condition`;
const put = `put down with writes in flight ${tally.inFlight} times, else ${tally.asleep} times hibernated and ${tally.stopped} times stopped`;
const slowest = `slowest answer ${(tally.slowestMs / 1000).toFixed(1)} s`;
console.log(row("tenants", `${done} cycles, seed ${seed}, hits: ${counted(hits)}`, [result, put, slowest].join("; "), began));
process.exitCode = failed === undefined ? 0 : 1;
