/** `npm run demo`: from a powered-off server to a running GPU pod and back, on this machine. */
import { writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { IronwrightError, reasonOf } from "../../src/core/errors.ts";
import { lookAround } from "./look-around.ts";
import { createTenant, cycle, declareMachines, deleteTenant, inspectMachines, showCost } from "./road.ts";
import { buildStage, type Stage, tearDown } from "./stage.ts";
import { createShow } from "./steps.ts";
import { machinesOf, type Timeline, timelineTable } from "./timeline.ts";

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
/** Seconds from a Deployment's creation to its pod Running, by machine. */
const running = new Map<string, number>();

if (options.help) {
  show.say(`npm run demo -- [--keep [--early]] [--kill] [--json FILE]
npm run demo -- --down

  --keep   stop once the first pod runs, leave all of it running and print the commands to look around
  --early  --keep stops once the tenant is there, its Deployments yours to make, while the servers are inspected
  --down   end what --keep left
  --kill   SIGKILL the daemon three times on the second server's road, to show that it goes on where it was
  --json   write the timeline there: the steps, each server's history and its seconds from the Deployment to the running pod`);
} else if (options.early && !options.keep) {
  show.say("--early says when --keep stops: npm run demo -- --keep --early");
  process.exitCode = 2;
} else if (options.down) {
  await tearDown({ cache, onStep: show.say });
} else {
  process.exitCode = await demo();
}

async function demo(): Promise<number> {
  const ending = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => ending.abort(new Error(`stopped by ${name}`)));
  // nobody reads on: the terminal is closed, or the program behind a pipe has ended
  process.stdout.on("error", (error) => ending.abort(error));
  const { signal } = ending;
  let stage: Stage | undefined;
  let failed: string | undefined;
  const fail = (error: unknown) => {
    failed ??= told(error);
    show.say(`\n${told(error)}`);
  };
  try {
    stage = await show.step("a virtual rack: network, BMCs, two servers with two GPUs each, powered off", (onStep) =>
      buildStage({ cache, signal, onStep }),
    );
    await bothRoads(stage, signal);
  } catch (error) {
    fail(error);
  }
  const machines = stage && options.json ? await machinesOf(stage, running).catch(() => []) : [];
  const kept = options.keep && failed === undefined;
  await stage?.close().catch(fail);
  if (!kept) {
    try {
      const keepLogs = failed !== undefined;
      const logs = await show.step("all of it is ended and removed", (onStep) => tearDown({ cache, keepLogs, onStep }));
      for (const log of logs) show.say(`       log: ${log}`);
    } catch (error) {
      fail(error);
    }
  }
  show.say(`\n${timelineTable(show.taken)}`);
  if (options.json) {
    const timeline: Timeline = { ...(failed === undefined ? {} : { failed }), steps: show.taken, machines };
    try {
      writeFileSync(options.json, `${JSON.stringify(timeline, null, 2)}\n`);
    } catch (error) {
      fail(error);
    }
  }
  if (stage && kept) {
    const commands = lookAround(join(stage.artifacts.kube.bin, "kubectl"));
    show.say(`\nAll of it is left running. To look around:\n\n${commands}\n\nTo end it: npm run demo -- --down`);
  }
  return failed === undefined ? 0 : 1;
}

async function bothRoads(stage: Stage, signal: AbortSignal): Promise<void> {
  await show.step("the daemon: Redis, host control plane with CRDs, boot plane", () => stage.startDaemon());
  await declareMachines(stage, show);
  if (!options.early) await inspectMachines(stage, show, signal);
  const tenant = await createTenant(stage, show, signal);
  try {
    if (options.early) return;
    const road = (machine: string, kill: boolean) =>
      cycle({ ...{ stage, tenant, show, signal, machine, kill }, giveBack: !options.keep, onRunning: (it) => running.set(machine, it) });
    await road("bios-1", false);
    if (options.keep) return;
    await road("uefi-1", options.kill);
    await showCost(stage, show);
    await deleteTenant(stage, show, signal);
  } finally {
    await tenant.close();
  }
}

/** What went wrong, and what to do next where that is known. */
function told(error: unknown): string {
  return error instanceof IronwrightError ? `${error.code}: ${error.message}\n  next: ${error.next}` : reasonOf(error);
}
