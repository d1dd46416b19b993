/** `npm run demo`: from a powered-off server to a running GPU pod and back, on this machine. */
import { writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { IronwrightError, reasonOf } from "../../src/core/errors.ts";
import { createTenant, cycle, declareMachines, deleteTenant, inspectMachines, showCost } from "./road.ts";
import { buildStage, type Stage, tearDownLeftovers } from "./stage.ts";
import { createShow, type Show } from "./steps.ts";
import { timelineOf, timelineTable } from "./timeline.ts";

const { values: options } = parseArgs({
  options: {
    keep: { type: "boolean", default: false },
    early: { type: "boolean", default: false },
    down: { type: "boolean", default: false },
    kill: { type: "boolean", default: false },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

const cache = process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright");
const show = createShow(process.stdout);

if (options.help) {
  show.say(`npm run demo -- [--keep [--early]] [--kill] [--json FILE]
npm run demo -- --down

  --keep   stop once the first pod runs, leave all of it running and print the commands to look around
  --early  --keep stops once the tenant is there, its Deployments yours to make, while the servers are inspected
  --down   end what --keep left
  --kill   SIGKILL the daemon three times on the second server's road, to show that it goes on where it was
  --json   write the timeline there`);
} else if (options.early && !options.keep) {
  show.say("--early says when --keep stops: npm run demo -- --keep --early");
  process.exitCode = 2;
} else if (options.down) {
  await tearDownLeftovers(show.say);
} else {
  process.exitCode = await demo();
}

async function demo(): Promise<number> {
  const ending = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => ending.abort(new Error(`stopped by ${name}`)));
  const { signal } = ending;
  let stage: Stage | undefined;
  let kept = false;
  let failure: unknown;
  try {
    stage = await show.step("a virtual rack: network, BMCs, two servers with two GPUs each, powered off", (watch) =>
      buildStage(cache, watch),
    );
    kept = await bothRoads(stage, show, signal);
  } catch (error) {
    failure = error;
    report(error);
  }
  if (!stage) {
    await tearDownLeftovers(() => {});
    return 1;
  }
  if (kept) return 0;
  const ended = stage;
  const log = await show.step("all of it is ended and removed", () => ended.tearDown(failure !== undefined));
  if (log) show.say(`       the daemon's log: ${log}`);
  return failure === undefined ? 0 : 1;
}

/** Resolves to whether all of it stays. */
async function bothRoads(stage: Stage, show: Show, signal: AbortSignal): Promise<boolean> {
  await show.step("the daemon: Redis, host control plane with CRDs, boot plane", () => stage.startDaemon());
  await declareMachines(stage, show);
  if (options.keep && options.early) {
    await (await createTenant(stage, show, signal)).close();
    lookAround(stage, show);
    return true;
  }
  await inspectMachines(stage, show, signal);
  const tenant = await createTenant(stage, show, signal);
  const at = { stage, tenant, show, signal };
  try {
    await cycle({ ...at, machine: "bios-1", kill: false, giveBack: !options.keep });
    const first = await timelineOf(stage, show, "bios-1");
    if (!options.keep) {
      await cycle({ ...at, machine: "uefi-1", kill: options.kill, giveBack: true });
      await showCost(stage, show);
      await deleteTenant(stage, show, signal);
    }
    show.say(`\n${timelineTable(show)}`);
    if (options.json) writeFileSync(options.json, `${JSON.stringify(first, null, 2)}\n`);
  } finally {
    await tenant.close();
  }
  if (options.keep) lookAround(stage, show);
  return options.keep;
}

function lookAround(stage: Stage, show: Show): void {
  const acme = join(stage.dir, "acme.kubeconfig");
  show.say(`
All of it is left running. To look around:

  export IRONWRIGHT_KUBECONFIG=${stage.kubeconfig}
  bin/ironwright get machines
  bin/ironwright describe machine bios-1
  bin/ironwright kubeconfig acme > ${acme}
  ${join(stage.artifacts.kube.bin, "kubectl")} --kubeconfig ${acme} get nodes,pods -o wide
  less ${stage.daemonLog}

To end it: npm run demo -- --down`);
}

function report(error: unknown): void {
  show.say(`\n${error instanceof IronwrightError ? `${error.code}: ${error.message}\n  next: ${error.next}` : reasonOf(error)}`);
}
