import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import { condition } from "../../src/core/conditions.ts";
import { NODE_CLAIM, VIRTUAL_CLUSTER, type VirtualCluster } from "../../src/core/resources.ts";
import type { SleepSpec } from "../../src/core/virtual-clusters.ts";
import { CONFIG_MAP, connectKube } from "../../src/kube/index.ts";
import { startEmbeddedSupervisor } from "../../src/supervise/index.ts";
import type { TenantController } from "../../src/tenant/index.ts";
import { eventually } from "./eventually.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { cellsOf, controllerOf, createTenant, kubeconfigText, readyTenant } from "./tenant-world.ts";

const ACME = { namespace: "default", name: "acme" };
const PORTS = { from: 21_481, to: 21_489 };
const MIB = 2 ** 20;
const isRoot = process.getuid?.() === 0;

let host: HostControlPlane;
let tenants: TenantController;
let kubeconfig: string;
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

  test("it sleeps again when nobody has called for a while, open watches or not", async () => {
    const watching = connectKube(readFileSync(kubeconfig, "utf8"));
    const { resourceVersion } = await watching.list(CONFIG_MAP, { namespace: "default" });
    const watch = (async () => {
      for await (const _ of watching.watch(CONFIG_MAP, { namespace: "default", resourceVersion, timeoutSeconds: 300 })) break;
    })().catch(() => {});
    await order({ state: "Auto", afterIdle: "5m" });
    await eventually("the policy is read", async () => expect((await get()).status?.sleep?.orderedAt).toBeUndefined());
    ahead += 6 * 60_000;
    await order({ afterIdle: "4m" });
    await becomes("hibernated");
    await watching.close();
    await watch;
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

  test("machines are given back first; its pods wait, and nobody buys others for them", async () => {
    await host.kube.create(NODE_CLAIM, {
      apiVersion: "karpenter.sh/v1",
      kind: "NodeClaim",
      metadata: { name: "acme-1", labels: { "ironwright.dev/tenant": "default.acme" }, finalizers: ["karpenter.sh/termination"] },
      spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "gpu" }, requirements: [] },
    });
    await order({ state: "Asleep", afterIdle: null });
    await eventually("it says what it waits for", async () => {
      expect((await get()).status?.sleep?.why).toContain("gives back NodeClaim acme-1");
      expect((await host.kube.get(NODE_CLAIM, "acme-1"))?.metadata.deletionTimestamp).toBeDefined();
    });
    expect(tenants.list()).toEqual([]);
    expect((await cell()).state).toBe("awake");
    await host.kube.patch(NODE_CLAIM, "acme-1", undefined, { metadata: { finalizers: null } });
    await becomes("hibernated");
  });

  test("a CronJob that comes due wakes it in time", async () => {
    await order({ state: "Awake" });
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

  test("twenty times asleep and awake, with a write each, and every write is there", async () => {
    await order({ state: "Asleep", afterIdle: null });
    for (let nth = 0; nth < 20; nth += 1) {
      await eventually("it sleeps", async () => {
        const { state } = await cell();
        if (state !== "frozen") {
          ahead += 11 * 60_000;
          await order({ awakeUntil: new Date(0).toISOString().replace(/\.\d+Z/, `.${String(nth)}Z`) });
        }
        expect(state).toBe("frozen");
      });
      await kubectl("create", "configmap", `write-${nth}`);
    }
    const names = (await kubectl("get", "configmaps", "-o", "name")).split("\n");
    expect(names.filter((name) => name.startsWith("configmap/write-"))).toHaveLength(20);
  }, 180_000);
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
