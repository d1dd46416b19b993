import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { plan } from "../../src/autoscale/plan/index.ts";
import { storageOf, worldOf } from "../../src/autoscale/world/index.ts";
import {
  type Kube,
  NAMESPACE as NAMESPACES,
  type Namespace,
  NODE,
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  POD,
  type Pod,
  PV,
  PVC,
  SERVICE_ACCOUNT,
} from "../../src/kube/index.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import {
  LABEL_ZONE,
  NAMESPACE,
  NAMESPACE_LABELS,
  RUNTIME_CLASS,
  type SchedulerWorld,
  schedulerWorld,
  VOLUMES,
} from "./scheduler-worlds.ts";

/** The real kube-scheduler over nodes that are API objects alone. */
let host: HostControlPlane;
let kube: Kube;

const WORLDS = Number(process.env.IRONWRIGHT_AGREEMENT_WORLDS ?? 24);
const RUNTIME_CLASSES = { group: "node.k8s.io", version: "v1", kind: "RuntimeClass", plural: "runtimeclasses", namespaced: false } as const;

const namespaces = Object.entries(NAMESPACE_LABELS).map(
  ([name, labels]): Namespace => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } }),
);
const volumes = VOLUMES.map((zone) => ({
  apiVersion: "v1",
  kind: "PersistentVolume",
  metadata: { name: zone },
  spec: {
    capacity: { storage: "1Gi" },
    accessModes: ["ReadWriteMany"],
    storageClassName: "none",
    local: { path: "/data" },
    claimRef: { namespace: NAMESPACE, name: zone },
    nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [{ key: LABEL_ZONE, operator: "In", values: [zone] }] }] } },
  },
})) as PersistentVolume[];
const claims = VOLUMES.map((zone) => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  // what the volume controller says of a claim that is bound: there is none here
  metadata: { name: zone, namespace: NAMESPACE, annotations: { "pv.kubernetes.io/bind-completed": "yes" } },
  spec: { accessModes: ["ReadWriteMany"], resources: { requests: { storage: "1Gi" } }, storageClassName: "none", volumeName: zone },
})) as PersistentVolumeClaim[];
const storage = storageOf({ claims, volumes, classes: [] });
const WAIT = { timeout: 20_000, interval: 10 };

beforeAll(async () => {
  host = await withHost({ crds: false });
  kube = host.kube;
  for (const one of namespaces) {
    await kube.create(NAMESPACES, one);
    const account = { name: "default", namespace: one.metadata.name };
    await kube.create(SERVICE_ACCOUNT, { apiVersion: "v1", kind: "ServiceAccount", metadata: account });
  }
  await kube.create(RUNTIME_CLASSES, {
    apiVersion: "node.k8s.io/v1",
    kind: "RuntimeClass",
    metadata: { name: RUNTIME_CLASS.name },
    handler: "runc",
    overhead: { podFixed: RUNTIME_CLASS.overhead },
  });
  for (const one of volumes) await kube.create(PV, one);
  for (const one of claims) await kube.create(PVC, one);
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
  let fit = 0;
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
            if (theirs) fit += 1;
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
  // neither says the same whatever it is asked
  expect(fit).toBeGreaterThan(0);
  expect(fit).toBeLessThan(judged / 2);
  console.log(`${judged} questions in ${WORLDS} worlds, ${fit} times a place`);
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
      tenants: [{ tenant: "default.t", pods: [...world.running, waiting], nodes, daemonSets: [], namespaces, storage }],
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
  await kube.delete(POD, pod.metadata.name, { namespace: pod.metadata.namespace ?? NAMESPACE, gracePeriodSeconds: 0 });
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
