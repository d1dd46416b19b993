import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { autoscaler } from "../../src/autoscale/index.ts";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import { condition } from "../../src/core/conditions.ts";
import { MACHINE, NODE_CLAIM, VIRTUAL_CLUSTER, type VirtualCluster } from "../../src/core/resources.ts";
import type { SleepSpec } from "../../src/core/virtual-clusters.ts";
import { CONFIG_MAP, connectKube, eventRecorder } from "../../src/kube/index.ts";
import { startEmbeddedSupervisor } from "../../src/supervise/index.ts";
import type { TenantController } from "../../src/tenant/index.ts";
import { startWriters } from "../soak/tenants-writers.ts";
import { eventually } from "./eventually.ts";
import { createClass, createGpuPod, createMachine, createPool, releaseMachine, removePools } from "./gpu-pool.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { cellsOf, controllerOf, createTenant, keyOfToken, kubeconfigText, readyTenant } from "./tenant-world.ts";

const ACME = { namespace: "default", name: "acme" };
const PORTS = { from: 21_481, to: 21_489 };
const MIB = 2 ** 20;
const isRoot = process.getuid?.() === 0;

let host: HostControlPlane;
let tenants: TenantController;
let kubeconfig: string;
/** The last version that a watcher saw before it slept. */
let lastSeen: string;
/** What the controller's clock is ahead of the machine's. */
let ahead = 0;
const clock: Clock = { ...systemClock, now: () => new Date(Date.now() + ahead) };

beforeAll(async () => {
  if (!isRoot) return;
  host = await withHost();
  await begin();
  await createTenant(host, ACME.name);
  await readyTenant(host, ACME);
  kubeconfig = join(host.dir, "acme.kubeconfig");
  writeFileSync(kubeconfig, await kubeconfigText(host, ACME), { mode: 0o600 });
}, 120_000);
afterAll(async () => {
  await tenants?.stop();
  await host?.stop();
});

async function begin(): Promise<void> {
  tenants = controllerOf(host, PORTS, { ...cellsOf(host, 2_963_000, PORTS.from - 1, 1536 * MIB), clock });
  await tenants.start();
}

async function get(): Promise<VirtualCluster> {
  const found = await host.kube.get(VIRTUAL_CLUSTER, ACME.name, ACME.namespace);
  if (!found) throw new Error("it is gone");
  return found;
}

async function order(sleep: { [K in keyof SleepSpec]: SleepSpec[K] | null }): Promise<void> {
  await host.kube.patch(VIRTUAL_CLUSTER, ACME.name, ACME.namespace, { spec: { sleep } });
}

/** Orders it to sleep, anew. It may be awake again as this resolves: by the callers there are, it falls asleep for a moment. */
async function putDown(): Promise<void> {
  await order({ state: "Auto" });
  const awake = await eventually("the last order is over", async () => {
    const { status } = await get();
    expect(status?.sleep).toMatchObject({ state: "awake" });
    expect(status?.sleep?.orderedAt).toBeUndefined();
    return status?.sleep;
  });
  await order({ state: "Asleep" });
  await eventually("it was put down", async () => expect((await get()).status?.sleep?.since).not.toBe(awake?.since));
}

/** Puts the controller's clock ahead to the next time it is so late, in UTC. */
function goTo(time: string): void {
  const now = clock.now();
  const next = Date.parse(`${now.toISOString().slice(0, 10)}T${time}Z`);
  ahead += next - now.getTime() + (next > now.getTime() ? 0 : 86_400_000);
}

/** kubectl get --watch: what it has shown, and how it ended. */
function watching() {
  const output = 'jsonpath={.metadata.name} {.metadata.resourceVersion}{"\\n"}';
  const program = join(host.artifacts.kube.bin, "kubectl");
  const child = spawn(program, ["--kubeconfig", kubeconfig, "get", "configmaps", "--watch", "-o", output], { env: { HOME: host.dir } });
  const seen: { readonly name: string; readonly resourceVersion: string }[] = [];
  createInterface(child.stdout).on("line", (line) => {
    const [name = "", resourceVersion = ""] = line.split(" ");
    seen.push({ name, resourceVersion });
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, errors }));
  return { seen, ended };
}

function becomes(state: "awake" | "hibernated" | "stopped", deadlineMs = 60_000): Promise<VirtualCluster> {
  return eventually(
    `it is ${state}`,
    async () => {
      const now = await get();
      expect(now.status?.sleep?.state).toBe(state);
      // what is awake is in use again once the daemon has seen it
      if (state === "awake") expect(tenants.list()).toEqual([ACME]);
      return now;
    },
    deadlineMs,
  );
}

/** What it said as it came into a state after a version, whatever it says by now. */
async function saidBecoming(state: string, resourceVersion: string): Promise<string | undefined> {
  const options = { namespace: ACME.namespace, resourceVersion, timeoutSeconds: 30 };
  for await (const event of host.kube.watch(VIRTUAL_CLUSTER, options)) {
    if (event.type === "BOOKMARK" || event.object.metadata.name !== ACME.name) continue;
    if (event.object.status?.sleep?.state === state) return event.object.status.sleep.why;
  }
  return undefined;
}

function kubectl(...args: string[]): Promise<string> {
  const program = join(host.artifacts.kube.bin, "kubectl");
  return new Promise((resolve, reject) => {
    execFile(program, ["--kubeconfig", kubeconfig, ...args], { timeout: 60_000, env: { HOME: host.dir } }, (error, out, err) => {
      if (error) reject(new Error(err));
      else resolve(out.trim());
    });
  });
}

async function cell() {
  const uid = (await get()).metadata.uid;
  const [found] = (await host.supervisor.cells()).filter((one) => one.name === `tenant-${uid}`);
  if (!found) throw new Error("there is no cell");
  return found;
}

describe.skipIf(!isRoot)("a tenant sleeps", () => {
  test("ordered to, it takes no memory, and it is said", async () => {
    await kubectl("create", "configmap", "mine", "--from-literal=a=b");
    await order({ state: "Asleep" });
    const asleep = await becomes("hibernated");
    expect(asleep.status?.phase).toBe("Ready");
    expect(condition(asleep.status?.conditions, "Ready")).toMatchObject({ status: "True", reason: "Asleep" });
    expect(asleep.status?.sleep?.why).toContain("somebody wants it asleep");
    expect(tenants.list()).toEqual([]);
    const { state, residentBytes } = await cell();
    expect(state).toBe("frozen");
    expect(residentBytes).toBeLessThan(4 * MIB);
  });

  test("a node's call wakes nobody; a person's does, and is answered", async () => {
    const byNodePort = connectKube(
      readFileSync(kubeconfig, "utf8")
        .replace(`:${PORTS.from - 1}`, `:${PORTS.from}`)
        .replace(/ *tls-server-name: .*\n/, ""),
    );
    await expect(byNodePort.raw("GET", "/version", undefined, { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: "IRW_KUBE_UNREACHABLE",
    });
    await byNodePort.close();
    expect((await cell()).state).toBe("frozen");
    expect(await kubectl("get", "configmap", "mine", "-o", "jsonpath={.data.a}")).toBe("b");
    const awake = await becomes("awake");
    expect(awake.status?.sleep?.lastCallAt).toBeDefined();
    // the order to sleep stands, and waits until nobody calls any more
    expect(awake.status?.sleep?.why).toMatch(/called|woke|not asked yet/);
  });

  test("keys changed while it sleeps are taken up as it wakes, and it answers", async () => {
    const people = connectKube(readFileSync(kubeconfig, "utf8"));
    const accounts = "/api/v1/namespaces/default/serviceaccounts/default/token";
    const request = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
    const token = async () => ((await people.raw("POST", accounts, request)) as { status: { token: string } }).status.token;
    const before = await token();
    // its processes have the machine's clock, and believe no authority of tomorrow
    expect(ahead).toBe(0);
    await putDown();
    await becomes("hibernated");
    await host.kube.patch(VIRTUAL_CLUSTER, ACME.name, ACME.namespace, { spec: { pki: { authorities: 2, serviceAccountKeys: 2 } } });
    await eventually("asleep, it has other keys", async () =>
      expect((await get()).status?.pki).toMatchObject({
        authorities: { generation: 2, stage: "Trusting" },
        serviceAccountKeys: { generation: 2, stage: "Overlapping" },
      }),
    );
    expect((await cell()).state).toBe("frozen");
    // whoever reads the next authority has read it by then
    ahead += 7 * 60_000;
    // nobody is answered by the old key
    expect(keyOfToken(await eventually("it wakes, and signs", token))).not.toBe(keyOfToken(before));
    const review = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token: before } };
    expect(await people.raw("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)).toMatchObject({
      status: { authenticated: true },
    });
    await eventually("the next authority issues", async () => expect((await get()).status?.pki?.authorities.stage).toBe("Overlapping"));
    writeFileSync(kubeconfig, await kubeconfigText(host, ACME));
    await eventually("who knows it alone is served", () => kubectl("get", "configmap", "mine"));
    await people.close();
  });

  test("it sleeps again when nobody has called for a while, open watches or not", async () => {
    const watch = watching();
    await eventually("it shows what there is", () => expect(watch.seen.map(({ name }) => name)).toContain("mine"));
    await kubectl("create", "configmap", "seen");
    await eventually("and what comes", () => expect(watch.seen.at(-1)?.name).toBe("seen"));
    await order({ state: "Auto", afterIdle: "5m" });
    await eventually("the policy is read", async () => expect((await get()).status?.sleep?.orderedAt).toBeUndefined());
    ahead += 6 * 60_000;
    await order({ afterIdle: "4m" });
    await becomes("hibernated");
    // kubectl watches once, and says nothing of its end
    expect(await watch.ended).toEqual({ code: 0, errors: "" });
    lastSeen = watch.seen.at(-1)?.resourceVersion ?? "";
  });

  test("a daemon that starts meanwhile leaves it asleep; a supervisor that is killed as well", async () => {
    await tenants.stop();
    const { pid } = (await fetchSupervisor()) as { pid: number };
    process.kill(pid, "SIGKILL");
    await startEmbeddedSupervisor({ dir: host.dir, log: host.log });
    await begin();
    await eventually("it is looked at", async () => expect((await cell()).state).toBe("frozen"));
    expect((await get()).status?.sleep?.state).toBe("hibernated");
    expect(await kubectl("get", "configmap", "mine", "-o", "jsonpath={.data.a}")).toBe("b");
    await becomes("awake");
  });

  test("whoever watched it goes on from what he saw last, and misses nothing", async () => {
    for (const name of ["later-1", "later-2"]) await kubectl("create", "configmap", name);
    await kubectl("delete", "configmap", "later-1");
    const people = connectKube(readFileSync(kubeconfig, "utf8"));
    const where = { namespace: "default", resourceVersion: lastSeen, timeoutSeconds: 60 };
    const events: string[] = [];
    for await (const event of people.watch(CONFIG_MAP, where)) {
      if (event.type === "BOOKMARK") continue;
      events.push(`${event.type} ${event.object.metadata.name}`);
      if (event.type === "DELETED") break;
    }
    expect(events).toEqual(["ADDED later-1", "ADDED later-2", "DELETED later-1"]);
    await people.close();
  });

  test("machines are given back first; its pods wait, nobody buys others for them, and awake it gets machines for them again", async () => {
    const { kube, log } = host;
    const events = eventRecorder({ kube, component: "ironwright", clock, log });
    const scaler = autoscaler({ kube, tenants, clock, log, events });
    await createClass(kube);
    await createPool(kube);
    await createMachine(kube, "gpu-1");
    await scaler.start();
    const people = connectKube(readFileSync(kubeconfig, "utf8"));
    const claimed = () =>
      eventually("a machine is claimed", async () => {
        expect((await kube.get(MACHINE, "gpu-1"))?.spec.claimRef?.tenant).toBe("default.acme");
        const [claim] = (await kube.list(NODE_CLAIM)).items;
        if (!claim) throw new Error("there is no claim");
        return claim.metadata;
      });
    try {
      await createGpuPod(people, "waits", 2);
      const first = await claimed();
      await order({ state: "Asleep", afterIdle: null });
      await eventually("it says what it waits for", async () => {
        expect((await get()).status?.sleep?.why).toContain(`gives back NodeClaim ${first.name}`);
        expect(condition((await kube.get(NODE_CLAIM, first.name))?.status?.conditions, "InstanceTerminating")?.status).toBe("True");
      });
      expect(tenants.list()).toEqual([]);
      expect((await cell()).state).toBe("awake");
      await releaseMachine(kube, "gpu-1");
      await becomes("hibernated");
      expect((await kube.list(NODE_CLAIM)).items).toEqual([]);
      expect(await kubectl("get", "pod", "waits", "-o", "jsonpath={.status.phase}")).toBe("Pending");
      expect((await claimed()).uid).not.toBe(first.uid);
      await becomes("awake");
      await kubectl("delete", "pod", "waits");
    } finally {
      await people.close();
      await scaler.stop();
      await removePools(kube);
    }
  });

  test("by its schedule it sleeps in the evening of its time zone, is stopped after a while, and is awake in the morning", async () => {
    const schedule = [{ sleep: "0 20 * * *", wake: "0 7 * * *" }];
    await order({ state: "Awake" });
    await becomes("awake");
    goTo("12:00:00");
    await order({ state: "Auto", schedule, timeZone: "Asia/Kolkata", stopAfter: "1h" });
    // five and a half hours ahead of UTC, summer and winter
    goTo("14:30:01");
    await order({ stopAfter: "2h" });
    expect((await becomes("hibernated")).status?.sleep?.why).toMatch(/^by its schedule: \S+T14:30:00Z has come$/);
    ahead += 121 * 60_000;
    await order({ stopAfter: "90m" });
    expect((await becomes("stopped")).status?.sleep?.why).toMatch(/^by its schedule, since \S+T14:30:00Z/);
    expect(await cell()).toMatchObject({ state: "stopped", residentBytes: 0 });
    goTo("01:30:01");
    const { resourceVersion = "" } = (await get()).metadata;
    await order({ stopAfter: "1h" });
    await becomes("awake");
    expect(await saidBecoming("awake", resourceVersion)).toMatch(/^by its schedule: \S+T01:30:00Z has come$/);
    expect(await kubectl("get", "configmap", "mine", "-o", "jsonpath={.data.a}")).toBe("b");
  });

  test("a CronJob that comes due wakes it in time", async () => {
    await order({ state: "Awake", schedule: null, timeZone: null, stopAfter: null });
    await becomes("awake");
    await kubectl("create", "cronjob", "nightly", "--image=registry.invalid/x:1", "--schedule=0 3 * * *");
    await order({ state: "Auto", afterIdle: "1m" });
    ahead += 20 * 60_000;
    await order({ afterIdle: "2m" });
    const asleep = await becomes("hibernated");
    expect(asleep.status?.sleep?.nextCronJob?.name).toBe("default/nightly");
    const due = Date.parse(asleep.status?.sleep?.nextCronJob?.at ?? "");
    // half a minute before
    ahead += due - 30_000 - clock.now().getTime();
    await order({ afterIdle: "3m" });
    const awake = await becomes("awake");
    expect(awake.status?.sleep?.why).toContain("a CronJob is due");
    await kubectl("delete", "cronjob", "nightly");
  });

  test("twenty times asleep and awake with writes in flight, and after each every acknowledged one is there", async () => {
    const people = connectKube(readFileSync(kubeconfig, "utf8"));
    const writers = startWriters(people, 2);
    try {
      for (let nth = 0; nth < 20; nth += 1) {
        await putDown();
        const before = writers.acknowledged();
        await eventually("writes are acknowledged again", () => expect(writers.acknowledged()).toBeGreaterThan(before + 2));
        expect(await writers.missing()).toEqual([]);
      }
    } finally {
      await writers.stop();
      await people.close();
    }
  }, 600_000);
});

async function fetchSupervisor(): Promise<unknown> {
  const { request } = await import("node:http");
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: join(host.dir, "run", "supervisor.sock"), path: "/" }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => (text += chunk));
      answer.once("end", () => resolve(JSON.parse(text)));
    });
    asked.once("error", reject);
    asked.end();
  });
}
