import { parseArgs } from "node:util";
import { reasonOf } from "../../src/core/errors.ts";
import { CONFIG_MAP, connectKube } from "../../src/kube/index.ts";
import { openWorld, together } from "../bench/tenants/world.ts";
import { eventually } from "../flow/eventually.ts";
import { kubeconfigText } from "../flow/tenant-world.ts";
import { row } from "./tenants-world.ts";

/** Many tenants sleep while the etcd that holds them is killed: each answers with what was written before. */
const { values } = parseArgs({ options: { tenants: { type: "string", default: "50" } } });
const tenants = Number(values.tenants);
const began = Date.now();
const say = (line: string) => console.log(`${String(Math.round((Date.now() - began) / 1000)).padStart(5)} s  ${line}`);
const world = await openWorld({ tenants, say });
const { host } = world;
const names = Array.from({ length: tenants }, (_, nth) => `asleep-${nth}`);
const lost: string[] = [];
let killed = 0;
try {
  await together(names, async (name) => {
    await world.create(name);
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
  });
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

async function onIts<T>(name: string, call: (kube: ReturnType<typeof connectKube>) => Promise<T>): Promise<T> {
  const kube = connectKube(await kubeconfigText(host, { name }));
  try {
    return await call(kube);
  } finally {
    await kube.close();
  }
}

const result = lost.length === 0 ? "each was woken by a call and has what was written before" : lost.join("; ");
console.log(row("tenants-asleep", `${tenants} asleep, their ${killed} etcds killed`, result, began));
process.exitCode = lost.length === 0 ? 0 : 1;
