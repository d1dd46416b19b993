import { type Kind, MACHINE, MACHINE_CLASS, type Machine, NODE_CLAIM, NODE_POOL, OS_IMAGE } from "../../src/core/resources.ts";
import { type Kube, POD } from "../../src/kube/index.ts";

export const GPU = "nvidia.com/gpu";
const IRONWRIGHT = { apiVersion: "ironwright.dev/v1alpha1" } as const;

/** The MachineClass `h100` and its image. */
export async function createClass(kube: Kube): Promise<void> {
  await kube.create(OS_IMAGE, {
    ...IRONWRIGHT,
    kind: "OSImage",
    metadata: { name: "node" },
    spec: { url: "http://127.0.0.1/node", sha256: "ab".repeat(32), format: "ext4+zstd", sizeBytes: 1_000_000 },
  });
  await kube.create(MACHINE_CLASS, { ...IRONWRIGHT, kind: "MachineClass", metadata: { name: "h100" }, spec: { image: "node" } });
}

/** The pool `gpu` of default.acme: machines of `h100`, whose nodes only those take who tolerate `gpu`. */
export async function createPool(
  kube: Kube,
  disruption: object = { consolidateAfter: "1s", budgets: [{ nodes: "100%" }] },
  spec: object = {},
): Promise<void> {
  await kube.create(NODE_POOL, {
    apiVersion: "karpenter.sh/v1",
    kind: "NodePool",
    metadata: { name: "gpu", labels: { "ironwright.dev/tenant": "default.acme" } },
    spec: {
      template: {
        metadata: { labels: { tier: "gold" } },
        spec: {
          nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "h100" },
          requirements: [],
          taints: [{ key: "gpu", effect: "NoSchedule" }],
          ...spec,
        },
      },
      disruption,
    },
  });
}

/** A machine that was inspected: two GPUs. */
export async function createMachine(kube: Kube, name: string): Promise<void> {
  const made = await kube.create(MACHINE, {
    ...IRONWRIGHT,
    kind: "Machine",
    metadata: { name },
    spec: { bmc: { address: "redfish://127.0.0.1:1", credentialsSecret: "bmc" }, bootMAC: "52:54:00:77:00:01", erase: true },
  });
  const gpu = (n: number) => ({ address: `0000:0${n}:00.0`, id: "10de:2330", model: "H100", numaNode: 0 });
  await kube.replaceStatus(MACHINE, {
    ...made,
    status: {
      phase: "Available",
      inventory: {
        system: { manufacturer: "QEMU", product: "q35", serial: "s", uuid: "u" },
        firmware: "uefi",
        architecture: "x86_64",
        cpu: { model: "c", sockets: 1, cores: 2, threads: 2 },
        memoryBytes: 1536 * 2 ** 20,
        disks: [
          { path: "/dev/nvme0n1", name: "nvme0n1", serial: "d", model: "disk", sizeBytes: 8 * 2 ** 30, rotational: false, signatures: [] },
        ],
        nics: [],
        gpus: [gpu(1), gpu(2)],
      },
    },
  });
}

export async function createGpuPod(tenant: Kube, name: string, gpus: number): Promise<void> {
  await tenant.create(POD, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { app: name } },
    spec: {
      containers: [{ name: "c", image: "x", resources: { requests: { cpu: "1" }, limits: { [GPU]: String(gpus) } } }],
      tolerations: [{ key: "gpu", operator: "Exists" }],
    },
  });
}

export async function turnPhase(kube: Kube, name: string, next: NonNullable<Machine["status"]>["phase"]): Promise<void> {
  await kube.patch(MACHINE, name, undefined, { status: { phase: next } }, { subresource: "status" });
}

/** The machine's part of a release. */
export async function releaseMachine(kube: Kube, name: string): Promise<void> {
  await turnPhase(kube, name, "Releasing");
  await kube.patch(MACHINE, name, undefined, { spec: { claimRef: null } });
  await turnPhase(kube, name, "Available");
}

/** Also what waits for somebody who has stopped. */
export async function removeAll(from: Kube, kind: Kind): Promise<void> {
  for (const one of (await from.list(kind)).items) {
    const { name, namespace, finalizers = [] } = one.metadata;
    if (finalizers.length > 0) await from.patch(kind, name, namespace, { metadata: { finalizers: null } });
    await from.delete(kind, name, { ...(namespace ? { namespace } : {}), gracePeriodSeconds: 0 });
  }
}

export async function removePools(kube: Kube): Promise<void> {
  for (const kind of [NODE_POOL, NODE_CLAIM, MACHINE] as Kind[]) await removeAll(kube, kind);
}
