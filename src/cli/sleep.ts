import type { Command } from "commander";
import { timestamp } from "../core/clock.ts";
import { isTrue } from "../core/conditions.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import type { SleepSpec } from "../core/virtual-clusters.ts";
import type { Kube } from "../kube/index.ts";
import { withHost } from "./host.ts";
import { virtualClusterCommand } from "./kinds.ts";
import type { GlobalOptions } from "./options.ts";
import { seconds } from "./print.ts";
import { existing, type Named, saysNow, waitUntil } from "./virtual-cluster.ts";
import { type Look, withDefault } from "./wait.ts";

const WAIT_MS = 600_000;
const AWAKE_MS = 1_800_000;

export function sleepCommand(global: () => GlobalOptions): Command {
  const { whole, command } = virtualClusterCommand(
    "sleep",
    "put a virtual cluster to sleep, until `ironwright wake`; a call wakes it for as long as calls come",
  );
  command
    .option("--wait", "until it sleeps, with a line that says what it waits for")
    .addOption(withDefault("--timeout <duration>", "wait no longer", WAIT_MS))
    .action(async (name: string, options) => {
      await withHost(global(), options.kubeconfig, async (kube) => {
        const at = { project: options.namespace as string, name };
        // what was to keep it awake is over
        await order(kube, at, { state: "Asleep", awakeUntil: null });
        console.log(`virtual cluster ${at.project}/${name} is to sleep`);
        if (options.wait) await wait(kube, at, "asleep", options.timeout);
      });
    });
  return whole;
}

export function wakeCommand(global: () => GlobalOptions): Command {
  const { whole, command } = virtualClusterCommand(
    "wake",
    "wake a virtual cluster and keep it awake for a while; then its own policy goes on",
  );
  command
    .addOption(withDefault("--for <duration>", "keep it awake at least so long", AWAKE_MS))
    .option("--stay", "keep it awake until `ironwright sleep`, or until spec.sleep.state is Auto again")
    .option("--wait", "until it answers, with a line that says what it waits for")
    .addOption(withDefault("--timeout <duration>", "wait no longer", WAIT_MS))
    .action(async (name: string, options) => {
      await withHost(global(), options.kubeconfig, async (kube) => {
        const at = { project: options.namespace as string, name };
        const until = timestamp(new Date(Date.now() + options.for));
        await order(kube, at, options.stay ? { state: "Awake", awakeUntil: null } : { state: "Auto", awakeUntil: until });
        console.log(`virtual cluster ${at.project}/${name} is to be awake${options.stay ? "" : ` until ${until} at least`}`);
        if (options.wait) await wait(kube, at, "awake", options.timeout);
      });
    });
  return whole;
}

/** What is null is taken out. */
type Order = { readonly [K in keyof SleepSpec]: SleepSpec[K] | null };

async function order(kube: Kube, at: Named, sleep: Order): Promise<void> {
  await existing(kube, at);
  await kube.patch(VIRTUAL_CLUSTER, at.name, at.project, { spec: { sleep } });
}

async function wait(kube: Kube, at: Named, wanted: "awake" | "asleep", timeoutMs: number): Promise<void> {
  const took = await waitUntil(kube, at, { wanted, timeoutMs, look: (now) => lookFor(wanted, now) });
  console.error(`${wanted} after ${seconds(took)}`);
}

function lookFor(wanted: "awake" | "asleep", now: VirtualCluster | undefined): Look {
  if (!now) return { done: false, seen: "it to be there again: somebody deleted it" };
  const { sleep, conditions } = now.status ?? {};
  const seen = sleep ? `it is ${sleep.state}${sleep.why ? `: ${sleep.why}` : ""}` : saysNow(now);
  // who has never slept says nothing of sleep
  const isAwake = (sleep?.state ?? "awake") === "awake";
  return { done: wanted === "awake" ? isAwake && isTrue(conditions, "Ready") : !isAwake, seen };
}
