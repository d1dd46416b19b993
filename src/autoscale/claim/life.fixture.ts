import { pino } from "pino";
import { type Clock, systemClock } from "../../core/clock.ts";
import { condition } from "../../core/conditions.ts";
import { IronwrightError } from "../../core/errors.ts";
import {
  MACHINE,
  type Machine,
  NODE_CLAIM,
  NODE_POOL,
  type NodeClaim,
  type NodePool,
  VIRTUAL_CLUSTER,
  type VirtualCluster,
} from "../../core/resources.ts";
import { NODE, type Node, POD, type Pod } from "../../kube/index.ts";
import { memoryApiserver } from "../apiserver.fixture.ts";
import type { TenantView } from "../demand.ts";
import type { Drift } from "../world/index.ts";
import type { ClaimContext } from "./claim.ts";
import { reconcileClaim } from "./controller.ts";

export const START = "2026-01-01T00:00:00.000Z";

export function machine(more: { spec?: Partial<Machine["spec"]>; status?: Partial<NonNullable<Machine["status"]>> } = {}): Machine {
  return {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "Machine",
    metadata: { name: "gpu-1" },
    spec: { bmc: { address: "redfish://10.0.0.1", credentialsSecret: "bmc" }, bootMAC: "52:54:00:00:00:01", ...more.spec },
    status: {
      phase: "Available",
      inventory: {
        system: { manufacturer: "m", product: "p", serial: "s", uuid: "u" },
        firmware: "uefi",
        architecture: "x86_64",
        cpu: { model: "c", sockets: 1, cores: 2, threads: 2 },
        memoryBytes: 2 * 2 ** 30,
        disks: [],
        nics: [],
        gpus: [{ address: "0000:01:00.0", id: "10de:2330", model: "H100", numaNode: 0 }],
      },
      ...more.status,
    },
  };
}

export function claim(more: Partial<NodeClaim["spec"]> = {}): NodeClaim {
  return {
    apiVersion: "karpenter.sh/v1",
    kind: "NodeClaim",
    metadata: {
      name: "gpu-abcde",
      uid: "claim-uid",
      generation: 1,
      labels: { "karpenter.sh/nodepool": "gpu", "ironwright.dev/tenant": "default.acme", tier: "gold" },
      annotations: { "ironwright.dev/machine": "gpu-1", team: "x" },
      finalizers: ["karpenter.sh/termination"],
    },
    spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "h100" }, requirements: [], ...more },
  };
}

export function node(more: { spec?: Partial<Node["spec"]>; status?: Node["status"] } = {}): Node {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "gpu-1", labels: { own: "kept" } },
    spec: { providerID: "ironwright://gpu-1", taints: [{ key: "karpenter.sh/unregistered", effect: "NoExecute" }], ...more.spec },
    ...(more.status ? { status: more.status } : {}),
  };
}

export function pod(name: string, more: Partial<Pod["spec"]> = {}, metadata: Partial<Pod["metadata"]> = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", uid: name, ...metadata },
    spec: { nodeName: "gpu-1", containers: [], ...more },
    status: { phase: "Running" },
  };
}

const CLUSTER: VirtualCluster = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "VirtualCluster",
  metadata: { name: "acme", namespace: "default" },
  spec: {},
};
const POOL: NodePool = {
  apiVersion: "karpenter.sh/v1",
  kind: "NodePool",
  metadata: { name: "gpu" },
  spec: { template: { spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "h100" } } } },
};

/** A host and one tenant in memory, and a claim whose life is moved on by {@link Life.go}. */
export async function life(start: { claim?: NodeClaim; machine?: Machine; node?: Node; pods?: Pod[] } = {}) {
  const host = memoryApiserver();
  const tenant = memoryApiserver();
  let at = Date.parse(START);
  const clock: Clock = { ...systemClock, now: () => new Date(at) };
  const events: string[] = [];
  const revoked: string[] = [];
  const givenBack: string[] = [];
  let refusal: Error | undefined;
  let unkept: Error | undefined;
  const recorder = { record: (_object: unknown, _type: string, reason: string) => void events.push(reason), flush: async () => {} };
  await host.kube.create(VIRTUAL_CLUSTER, CLUSTER);
  await host.kube.create(NODE_POOL, POOL);
  await host.kube.create(MACHINE, start.machine ?? machine());
  await host.kube.create(NODE_CLAIM, start.claim ?? claim());
  if (start.node) await tenant.kube.create(NODE, start.node);
  for (const one of start.pods ?? []) await tenant.kube.create(POD, one);

  let watched = true;
  let attached = true;
  let drifted: Drift | undefined;
  let lastPodEvent: Date | undefined;
  const get = () => host.kube.get(NODE_CLAIM, "gpu-abcde");
  const theMachine = () => host.kube.get(MACHINE, "gpu-1");
  const theNode = () => tenant.kube.get(NODE, "gpu-1");

  /** One round on copies as fresh as they can be. */
  async function go(times = 1): Promise<NodeClaim | undefined> {
    for (let n = 0; n < times; n += 1) {
      const now = await get();
      if (!now) return undefined;
      const [nodeNow, machineNow] = [await theNode(), await theMachine()];
      const [pool, cluster] = [await host.kube.get(NODE_POOL, "gpu"), await host.kube.get(VIRTUAL_CLUSTER, "acme", "default")];
      const view: TenantView = {
        ref: { namespace: "default", name: "acme" },
        tenant: "default.acme",
        kube: tenant.kube,
        events: recorder,
        since: new Date(START),
        node: () => nodeNow,
        pod: () => undefined,
        known: () => ({ tenant: "default.acme", pods: [], nodes: [], daemonSets: [] }),
        lastPodEvent: () => lastPodEvent,
      };
      const context: ClaimContext = {
        kube: host.kube,
        tenants: {
          list: () => [view.ref],
          onChange: () => {},
          kube() {
            if (!attached) throw new IronwrightError("IRW_TENANT_NOT_READY", { tenant: "default.acme", reason: "it has not answered yet" });
            return tenant.kube;
          },
          async revoke(_ref, one) {
            if (refusal) throw refusal;
            revoked.push(`${one.claim} ${one.claimUid} ${one.nodeName}`);
            await tenant.kube.delete(NODE, one.nodeName);
          },
          async keepGivenBack({ namespace, name }, ending) {
            if (!(await get())) throw new Error("the claim is gone already");
            if (unkept) throw unkept;
            givenBack.push(`${namespace}.${name} ${ending.metadata.uid} ${said(ending, "InstanceTerminating")}`);
          },
        },
        clock,
        log: pino({ level: "silent" }),
        events: recorder,
        view: () => (watched ? view : undefined),
        machine: () => machineNow,
        pool: () => pool,
        cluster: () => cluster,
        drift: () => drifted,
      };
      await reconcileClaim(now, context);
    }
    return get();
  }

  return {
    host: host.kube,
    tenant: tenant.kube,
    blocked: tenant.blocked,
    events,
    revoked,
    givenBack,
    go,
    get,
    machine: theMachine,
    node: theNode,
    later(ms: number) {
      at += ms;
    },
    /** What the tenant answers to a revocation from here on. */
    refuseRevoking(error: Error | undefined) {
      refusal = error;
    },
    /** What the host answers to who keeps the hours of a node from here on. */
    refuseKeeping(error: Error | undefined) {
      unkept = error;
    },
    drift(found: Drift | undefined) {
      drifted = found;
    },
    /** Its control plane does not answer. */
    detach() {
      attached = false;
    },
    unwatch() {
      watched = false;
    },
    podEvent(date: Date) {
      lastPodEvent = date;
    },
  };
}

/** `True/Launched`, or nothing. */
export function said(of: NodeClaim | undefined, type: string): string | undefined {
  const one = condition(of?.status?.conditions, type);
  return one && `${one.status}/${one.reason}`;
}
