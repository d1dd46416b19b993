import { systemClock } from "../../../src/core/clock.ts";
import { CONFIG_MAP, type ConfigMap, type Kube } from "../../../src/kube/index.ts";
import { settledMemory } from "./machine-memory.ts";
import { COLLECTED_S } from "./memory.ts";
import { spread, spreadFigures, type TenantsOptions, type TenantsPart } from "./part.ts";
import { measuredWith } from "./thousand.ts";
import { wake } from "./wake.ts";

const AWAKE = 5;
const PAUSE_MS = 100;

/** Many tenants, few of them awake and in use: the machine's memory, and how the awake are answered. */
export async function benchSixty({ world, count, quick, say }: TenantsOptions): Promise<TenantsPart> {
  const names = await world.fleet(count);
  const collectedS = quick ? 1 : COLLECTED_S;
  say(`waiting ${collectedS} s until memory is still, while all sleep`);
  await systemClock.sleep(collectedS * 1000);
  const asleep = await measuredWith(world, await settledMemory());
  const awake = names.slice(-Math.min(AWAKE, Math.ceil(count / 2)));
  for (const name of awake) {
    await wake(world, name);
    await world.awake(name);
  }
  const seconds = quick ? 5 : 30;
  say(`waiting ${seconds} s while ${awake.length} of ${count} are called`);
  const until = Date.now() + seconds * 1000;
  const [reads, writes]: [number[], number[]] = [[], []];
  const used = (async () => {
    await systemClock.sleep((seconds * 1000) / 3);
    return measuredWith(world, await settledMemory());
  })();
  await Promise.all(
    awake.map(async (name) => {
      const kube = await world.connect(name);
      try {
        while (Date.now() < until) await load(kube, reads, writes);
      } finally {
        await kube.close();
      }
    }),
  );
  const called = await used;
  await world.sleep(awake);
  return {
    measured: [asleep, called],
    figures: {
      sixtyTenants: count,
      sixtyAwake: awake.length,
      sixtyMiB: called.usedMiB,
      sixtyCalls: reads.length + writes.length,
      ...spreadFigures("sixtyRead", reads),
      ...spreadFigures("sixtyWrite", writes),
    },
    table: [
      [`${count} tenants, ${awake.length} of them awake and called`, ""],
      [`memory of all of it, host control plane and all ${called.tenants} tenants included, MiB`, String(called.usedMiB)],
      [`the same while all ${asleep.tenants} sleep, MiB`, String(asleep.usedMiB)],
      [`lists, ms, p50 / p99 of ${reads.length}`, spread(reads)],
      [`writes, ms, p50 / p99 of ${writes.length}`, spread(writes)],
    ],
  };
}

async function load(kube: Kube, reads: number[], writes: number[]): Promise<void> {
  const metadata = { name: "load", namespace: "default" };
  const object: ConfigMap = { apiVersion: "v1", kind: "ConfigMap", metadata, data: { at: String(performance.now()) } };
  writes.push(await timed(() => kube.apply(CONFIG_MAP, object)));
  reads.push(await timed(() => kube.list(CONFIG_MAP, { namespace: "kube-system" })));
  reads.push(await timed(() => kube.get(CONFIG_MAP, "load", "default")));
  await systemClock.sleep(PAUSE_MS);
}

async function timed(call: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await call();
  return performance.now() - began;
}
