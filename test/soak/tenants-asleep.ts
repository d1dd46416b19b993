import { parseArgs } from "node:util";
import { systemClock } from "../../src/core/clock.ts";
import { condition } from "../../src/core/conditions.ts";
import { reasonOf } from "../../src/core/errors.ts";
import { VIRTUAL_CLUSTER } from "../../src/core/resources.ts";
import { CONFIG_MAP, connectKube } from "../../src/kube/index.ts";
import { openWorld, together } from "../bench/tenants/world.ts";
import { eventually } from "../flow/eventually.ts";
import { createTenant, kubeconfigText } from "../flow/tenant-world.ts";
import { row } from "./row.ts";

/**
 * Many tenants are asked for at once, and are made a few at a time. Then they sleep while the etcd that holds them is killed: each answers
 * with what was written before.
 */
const { values } = parseArgs({ options: { tenants: { type: "string", default: "50" } } });
const tenants = Number(values.tenants);
const began = Date.now();
const say = (line: string) => console.log(`${String(Math.round((Date.now() - began) / 1000)).padStart(5)} s  ${line}`);
const world = await openWorld({ tenants, logLevel: "error", say });
const { host } = world;
const names = Array.from({ length: tenants }, (_, nth) => `asleep-${String(nth).padStart(4, "0")}`);
const MAKE_MS = 20_000;
const LOOK_MS = 500;
/** Two are made from nothing at once. */
const MOST_STARTS = 2;
const queue = { most: 0, said: "", starting: 0 };
const lost: string[] = [];
let killed = 0;
try {
  for (const name of names) await createTenant(host, name);
  say(`${tenants} are asked for; waiting until each is made, in its turn`);
  const made = new AbortController();
  const making = together(names, async (name) => {
    await world.answers(name, tenants * MAKE_MS);
    await onIts(name, (kube) =>
      kube.create(CONFIG_MAP, {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "kept", namespace: "default" },
        data: { of: name },
      }),
    );
    await world.join(name);
    say(`${name} sleeps`);
  }).finally(() => made.abort());
  await Promise.all([making, lookAtQueue(made.signal)]);
  const shards = (await host.supervisor.list()).filter((child) => child.name.startsWith("tenants-etcd"));
  for (const { pid } of shards) if (pid !== undefined) process.kill(pid, "SIGKILL");
  killed = shards.length;
  say(`${killed} etcds were killed; waiting until they run again`);
  await eventually("the shards run again", async () => {
    const now = new Map((await host.supervisor.list()).map((child) => [child.name, child]));
    for (const { name, pid } of shards) {
      const child = now.get(name);
      if (!child?.ready || child.pid === pid) throw new Error(`${name} is ${child?.state}`);
    }
  });
  for (const name of names) {
    try {
      const kept = await onIts(name, (kube) => kube.get(CONFIG_MAP, "kept", "default"));
      if ((kept as { data?: { of?: string } } | undefined)?.data?.of !== name) lost.push(`${name} has lost its object`);
    } catch (error) {
      lost.push(`${name}: ${reasonOf(error)}`);
    }
    say(`${name} answers`);
    await world.awake(name);
    await world.sleep([name]);
  }
} finally {
  say("waiting until everything is removed");
  await world.close();
}

/** What people are told who wait, and how many apiservers start at once. */
async function lookAtQueue(over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    const { items } = await host.kube.list(VIRTUAL_CLUSTER, { namespace: "default" });
    const waiting = items.flatMap(({ status }) => condition(status?.conditions, "Ready") ?? []).filter(({ reason }) => reason === "Queued");
    if (waiting.length > queue.most) Object.assign(queue, { most: waiting.length, said: waiting.at(-1)?.message });
    const starting = (await host.supervisor.list()).filter(({ name, state }) => name.endsWith("-kube-apiserver") && state === "starting");
    queue.starting = Math.max(queue.starting, starting.length);
    await systemClock.sleep(LOOK_MS, over).catch(() => {});
  }
}

async function onIts<T>(name: string, call: (kube: ReturnType<typeof connectKube>) => Promise<T>): Promise<T> {
  const kube = connectKube(await kubeconfigText(host, { name }));
  try {
    return await call(kube);
  } finally {
    await kube.close();
  }
}

const result = lost.length === 0 ? "each was woken by a call and has what was written before" : lost.join("; ");
const burst = `asked for at once: up to ${queue.most} waited and were told ("${queue.said}"), never more than ${queue.starting} apiservers seen to start at once`;
console.log(row("tenants-asleep", `${tenants} asleep, their ${killed} etcds killed`, `${burst}; ${result}`, began));
// some are made before the first look
const paced = queue.starting <= MOST_STARTS && queue.most >= tenants / 2 && /others are made before it/.test(queue.said);
process.exitCode = lost.length === 0 && paced ? 0 : 1;
