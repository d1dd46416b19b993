import { parseArgs } from "node:util";
import { systemClock } from "../../src/core/clock.ts";
import { NAMESPACE, NODE, POD } from "../../src/kube/index.ts";
import { KEY_TIMES, type TenantController } from "../../src/tenant/index.ts";
import { eventually } from "../flow/eventually.ts";
import { withHost } from "../flow/host-control-plane.ts";
import { controllerOf, createTenant, kubeOfPeople, readyTenant } from "../flow/tenant-world.ts";

/**
 * A control plane frozen until every certificate its processes hold has ended: when it goes on, do they work again by
 * themselves, and how soon? Client-go looks every five minutes for a renewed file, so it takes longer than that.
 */
const { values } = parseArgs({ options: { frozen: { type: "string", default: "330" } } });
const frozenMs = Number(values.frozen) * 1_000;
const host = await withHost();
const ref = { namespace: "default", name: "sleeper" };
let tenants: TenantController | undefined;
try {
  const { supervisor } = host;
  tenants = controllerOf(
    host,
    { from: 21_551, to: 21_559 },
    {
      // it ends while the control plane is frozen
      keyTimes: { ...KEY_TIMES, lives: { ...KEY_TIMES.lives, leafMs: frozenMs } },
    },
  );
  await tenants.start();
  await createTenant(host, ref.name);
  const cluster = await readyTenant(host, ref);
  const people = await kubeOfPeople(host, ref);
  const accountIn = (namespace: string) => () => people.raw("GET", `/api/v1/namespaces/${namespace}/serviceaccounts/default`);
  await people.create(NODE, {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "node" },
    spec: {},
    status: {
      capacity: { pods: "10" },
      allocatable: { pods: "10" },
      conditions: [{ type: "Ready", status: "True", reason: "Test", message: "" }],
    },
  } as never);
  await eventually("a namespace has its account", accountIn("default"));
  const pids = (await supervisor.list()).filter(({ name }) => name.includes(cluster.metadata.uid ?? "?")).map(({ pid }) => pid ?? 0);
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  console.log(`${pids.length} processes frozen for ${frozenMs / 1000 + 20} s; their certificates end after ${frozenMs / 1000} s`);
  await systemClock.sleep(frozenMs + 20_000);
  for (const pid of pids) process.kill(pid, "SIGCONT");
  const began = Date.now();
  const took = () => `${((Date.now() - began) / 1000).toFixed(2)} s`;
  await eventually("the apiserver answers", () => people.get(NAMESPACE, "default"));
  console.log(`apiserver: ${took()}`);
  await people.create(NAMESPACE, { apiVersion: "v1", kind: "Namespace", metadata: { name: "after" } });
  await eventually("the controller-manager works", accountIn("after"), 400_000);
  console.log(`controller-manager: ${took()}`);
  await people.create(POD, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "pod", namespace: "after" },
    spec: { containers: [{ name: "c", image: "none" }], tolerations: [{ operator: "Exists" }] },
  } as never);
  await eventually(
    "the scheduler works",
    async () => {
      const pod = await people.get(POD, "pod", "after");
      if (!(pod?.spec as { nodeName?: string } | undefined)?.nodeName) throw new Error("not yet");
    },
    400_000,
  );
  console.log(`scheduler: ${took()}`);
  await people.close();
} finally {
  await tenants?.stop();
  await host.stop();
}
