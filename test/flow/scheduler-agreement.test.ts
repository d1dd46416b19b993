import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { plan } from "../../src/autoscale/plan/index.ts";
import { worldOf } from "../../src/autoscale/world/index.ts";
import { type Kube, NAMESPACE as NAMESPACES, NODE, type Node, POD, type Pod, SERVICE_ACCOUNT } from "../../src/kube/index.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { NAMESPACE, type SchedulerWorld, schedulerWorld } from "./scheduler-worlds.ts";

/** The real kube-scheduler over nodes that are API objects alone. */
let host: HostControlPlane;
let kube: Kube;

const WORLDS = Number(process.env.IRONWRIGHT_AGREEMENT_WORLDS ?? 12);
const WAIT = { timeout: 20_000, interval: 10 };

beforeAll(async () => {
  host = await withHost({ crds: false });
  kube = host.kube;
  await kube.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
  await kube.create(SERVICE_ACCOUNT, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: NAMESPACE } });
  await host.supervisor.ensure({
    name: "scheduler",
    command: [
      join(host.artifacts.kube.bin, "kube-scheduler"),
      `--kubeconfig=${host.kubeconfig}`,
      "--leader-elect=false",
      "--secure-port=0",
    ],
    logFile: join(host.dir, "scheduler.log"),
  });
});

afterAll(() => host?.stop());

test("the planner lets a pod onto a node exactly where kube-scheduler does", { timeout: 120_000 + WORLDS * 30_000 }, async () => {
  let nth = 0;
  let judged = 0;
  await fc.assert(
    fc.asyncProperty(schedulerWorld("w"), async (drawn) => {
      const world = named(drawn, `w${nth++}`);
      await build(world);
      try {
        for (const pod of world.asking) {
          for (const asked of [pod, ...world.nodes.map((node) => pinned(pod, node.metadata.name))]) {
            judged += 1;
            const ours = planned(world, asked);
            const theirs = await agreed(asked, ours);
            expect(ours, JSON.stringify({ asked, nodes: world.nodes, running: world.running })).toBe(theirs);
          }
        }
      } finally {
        await clear(world);
      }
    }),
    // a smaller world would need the cluster again for each step of the way there
    { numRuns: WORLDS, endOnFailure: true },
  );
  expect(judged).toBeGreaterThan(WORLDS * 3);
});

/** Whether the planner finds a place for the pod on what there is. */
function planned(world: SchedulerWorld, pod: Pod): boolean {
  const waiting = { ...pod, status: { conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable" }] } } as Pod;
  const nodes = world.nodes;
  const decided = plan(
    worldOf({
      machines: [],
      claims: [],
      pools: [],
      classes: [],
      images: [],
      clusters: [],
      tenants: [{ tenant: "default.t", pods: [...world.running, waiting], nodes, daemonSets: [] }],
      now: new Date("2026-01-01T00:00:00Z"),
    }),
  );
  return decided.placements.some((one) => one.pods.includes(`${NAMESPACE}/${pod.metadata.name}`));
}

/** What kube-scheduler says; asked again where it differs, for its caches learn of nodes and of pods in any order. */
async function agreed(pod: Pod, expected: boolean): Promise<boolean> {
  let verdict = await scheduled(pod);
  for (let again = 0; again < 3 && verdict !== expected; again++) verdict = await scheduled(pod);
  return verdict;
}

async function scheduled(pod: Pod): Promise<boolean> {
  const { name } = pod.metadata;
  await kube.create(POD, pod);
  try {
    return await vi.waitFor(async () => {
      const now = await kube.get(POD, name, NAMESPACE);
      if (now?.spec.nodeName) return true;
      const said = now?.status?.conditions?.find((one) => one.type === "PodScheduled");
      if (said?.status !== "False") throw new Error(`kube-scheduler has not judged ${name} yet`);
      return false;
    }, WAIT);
  } finally {
    await remove(pod);
  }
}

async function build(world: SchedulerWorld): Promise<void> {
  for (const { status, ...node } of world.nodes) {
    const made = await kube.create(NODE, node as Node);
    await kube.replaceStatus(NODE, { ...made, ...(status ? { status } : {}) });
    // admission marks each new node as not ready, which a kubelet would clear
    await vi.waitFor(async () => {
      const fresh = await kube.get(NODE, made.metadata.name);
      if (!fresh) throw new Error("the node is gone");
      await kube.replace(NODE, { ...fresh, spec: { ...fresh.spec, taints: node.spec.taints ?? [] } });
    }, WAIT);
  }
  for (const pod of world.running) await kube.create(POD, pod);
}

async function clear(world: SchedulerWorld): Promise<void> {
  for (const pod of world.running) await remove(pod);
  for (const node of world.nodes) await kube.delete(NODE, node.metadata.name);
}

async function remove(pod: Pod): Promise<void> {
  await kube.delete(POD, pod.metadata.name, { namespace: NAMESPACE, gracePeriodSeconds: 0 });
}

function pinned(pod: Pod, node: string): Pod {
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [{}];
  const here = { key: "metadata.name", operator: "In" as const, values: [node] };
  return {
    ...pod,
    metadata: { ...pod.metadata, name: `${pod.metadata.name}-${node}` },
    spec: {
      ...pod.spec,
      affinity: {
        ...pod.spec.affinity,
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: required.map((term) => ({ ...term, matchFields: [here] })) },
        },
      },
    },
  };
}

/** The same world under names that no world before it had. */
function named(world: SchedulerWorld, name: string): SchedulerWorld {
  return JSON.parse(JSON.stringify(world).replaceAll('"w-', `"${name}-`)) as SchedulerWorld;
}
