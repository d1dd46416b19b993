import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import type { TopAnswer } from "../../src/api/index.ts";
import { condition } from "../../src/core/conditions.ts";
import { type Kind, MACHINE, type Machine, NODE_CLAIM, type Resource, VIRTUAL_CLUSTER } from "../../src/core/resources.ts";
import { CONFIG_MAP, connectKube, type Kube, NODE, POD, type Pod, SECRET } from "../../src/kube/index.ts";
import { runningProcesses } from "../processes.ts";
import { untoldOf } from "./described.ts";
import { fileHolds } from "./disk.ts";
import { STAGE, type Stage } from "./stage.ts";
import { type Show, until } from "./steps.ts";

/** The steps of both roads as a person would take them with kubectl, each waiting for what it needs to see. */

const examples = fileURLToPath(new URL("../../deploy/examples/", import.meta.url));
const MACHINES = ["bios-1", "uefi-1"];
/** PCI devices of NVIDIA, and the class of what each is behind: 0x0604 is a PCI bridge. The image has no lspci. */
const NVIDIA_AND_WHAT_IS_ABOVE = `
for device in /sys/bus/pci/devices/*; do
  [ $(cat $device/vendor) = 0x10de ] || continue
  echo 10de:$(cut -c 3- $device/device) below class $(cat $(readlink -f $device)/../class)
done`;
const DEPLOYMENT: Kind<Resource & { spec: object }> = {
  group: "apps",
  version: "v1",
  kind: "Deployment",
  plural: "deployments",
  namespaced: true,
};

export async function declareMachines(stage: Stage, show: Show): Promise<void> {
  await show.step("two Machines are declared, with consent to erase", async () => {
    for (const document of documents("rack.yaml")) await applyDocument(stage.host(), withFingerprint(document, stage));
  });
}

export async function inspectMachines(stage: Stage, show: Show, signal: AbortSignal): Promise<void> {
  await show.step("both are inspected by network boot, read over SSH and powered off: Available", async (watch) => {
    await until("both machines Available", 240_000, signal, async () => {
      const machines = await Promise.all(MACHINES.map((name) => machineOf(stage, name)));
      watch(machines.map(doing).join("; "));
      return machines.every((one) => one.status?.phase === "Available" && one.status.power === "Off") ? true : undefined;
    });
  });
  for (const name of MACHINES) {
    const { status } = await machineOf(stage, name);
    const gpus = status?.inventory?.gpus ?? [];
    show.say(
      `       ${name}: ${status?.inventory?.cpu.threads} threads, ${Math.round((status?.inventory?.memoryBytes ?? 0) / 2 ** 20)} MiB, ${gpus.map((gpu) => `${gpu.model} at ${gpu.address}`).join(", ")}`,
    );
    if (gpus.length !== 2) throw new Error(`${name} shows ${gpus.length} GPUs, not 2`);
  }
}

/** The tenant's control plane; resolves to a client of it, from outside the rack, as its administrator. */
export async function createTenant(stage: Stage, show: Show, signal: AbortSignal): Promise<Kube> {
  return show.step("tenant acme gets a control plane of its own", async (watch) => {
    for (const document of documents("acme.yaml")) await applyDocument(stage.host(), document);
    await until("VirtualCluster acme Ready", 120_000, signal, async () => {
      const cluster = await stage.host().get(VIRTUAL_CLUSTER, "acme", "default");
      const ready = condition(cluster?.status?.conditions, "Ready");
      watch(ready?.message ?? "");
      return ready?.status === "True" ? true : undefined;
    });
    const secret = await stage.host().get(SECRET, "acme-kubeconfig", "default");
    const kubeconfig = Buffer.from(secret?.data?.value ?? "", "base64").toString("utf8");
    writeFileSync(STAGE.tenantKubeconfig, kubeconfig, { mode: 0o600 });
    return connectKube(kubeconfig);
  });
}

export interface Cycle {
  readonly stage: Stage;
  readonly tenant: Kube;
  readonly show: Show;
  readonly signal: AbortSignal;
  readonly machine: string;
  /** SIGKILL the daemon at the three places that hurt most. */
  readonly kill: boolean;
  readonly giveBack: boolean;
  /** Told once the pod runs, with the time since its Deployment was made. */
  readonly onRunning: (seconds: number) => void;
}

/** A Deployment asks for a GPU, gets one on that machine, and gives it back. */
export async function cycle(at: Cycle): Promise<void> {
  const asked = performance.now();
  await ask(at);
  await follow(at);
  const seconds = (performance.now() - asked) / 1000;
  at.onRunning(seconds);
  at.show.say(`       from the Deployment to its pod Running: ${seconds.toFixed(0)} s`);
  await use(at);
  if (at.giveBack) await giveBack(at);
}

async function ask({ tenant, show, signal, machine }: Cycle): Promise<void> {
  await show.step(`a Deployment in acme asks for nvidia.com/gpu: 1; its pod is Pending, for want of a node`, async () => {
    await tenant.apply(DEPLOYMENT, deployment(machine, 1));
    await until("pod Unschedulable", 60_000, signal, async () => {
      const pod = await podOf(tenant, machine);
      return pod?.status?.conditions?.some((one) => one.type === "PodScheduled" && one.reason === "Unschedulable") ? true : undefined;
    });
  });
}

async function follow({ stage, tenant, show, signal, machine, kill }: Cycle): Promise<void> {
  await show.step(`the autoscaler makes a NodeClaim that names ${machine}`, (watch) =>
    until("NodeClaim", 60_000, signal, async () => {
      const { items } = await stage.host().list(NODE_CLAIM);
      watch(items.map((one) => one.metadata.name).join(", "));
      return items.find((one) => one.metadata.annotations?.["ironwright.dev/machine"] === machine);
    }),
  );
  if (kill) await killAt({ stage, tenant, show, signal, machine }, "write-image", "mid-image-write");
  await phase({ stage, show, signal, machine }, `${machine} is installed over SSH and boots its own disk`, ["Joining", "InUse"], 300_000);
  if (kill) await killAt({ stage, tenant, show, signal, machine }, "start", "after the join credential was sent");
  await phase({ stage, show, signal, machine }, `${machine} joins acme: GPUs proven, certificate approved, Node Ready`, ["InUse"], 240_000);
  await show.step(`the pod runs on ${machine}`, (watch) =>
    until("pod Running", 120_000, signal, async () => {
      const pod = await podOf(tenant, machine);
      watch(podText(pod));
      return pod?.status?.phase === "Running" && pod.status.containerStatuses?.every((one) => one.ready) ? pod : undefined;
    }),
  );
}

async function use({ stage, tenant, show, machine }: Cycle): Promise<void> {
  await show.step("kubectl logs and kubectl exec work against acme's own API; the pod leaves a marker on the disk", async () => {
    const pod = await podOf(tenant, machine);
    const name = pod?.metadata.name ?? "";
    const logs = kubectl(stage, STAGE.tenantKubeconfig, ["logs", name]);
    if (!logs.includes("NVIDIA_VISIBLE_DEVICES=")) throw new Error(`kubectl logs shows no GPU: ${logs}`);
    const marker = markerOf(machine);
    const write = ["sh", "-c", `echo ${marker} > /data/marker && sync && cat /data/marker`];
    const told = kubectl(stage, STAGE.tenantKubeconfig, ["exec", name, "--", ...write]);
    if (!told.includes(marker)) throw new Error(`kubectl exec answered ${told}`);
    const gpus = kubectl(stage, STAGE.tenantKubeconfig, ["exec", name, "--", "sh", "-c", NVIDIA_AND_WHAT_IS_ABOVE]);
    if (gpus !== "10de:2330 below class 0x060400\n".repeat(2)) throw new Error(`the machine shows no two H100s behind bridges: ${gpus}`);
  });
  await show.step("acme's API server reaches the pod, through SSH to its node by a key that can only forward", async () => {
    const pod = await podOf(tenant, machine);
    const path = `/api/v1/namespaces/default/pods/http:${pod?.metadata.name}:8080/proxy/served-by`;
    const told = kubectl(stage, STAGE.tenantKubeconfig, ["get", "--raw", path]);
    if (told.trim() !== pod?.metadata.name) throw new Error(`the pod answered ${told}`);
  });
  await show.step("the marker is on the server's disk, read from outside", async () => {
    if (!(await fileHolds(diskOf(stage, machine), markerOf(machine))))
      throw new Error("the marker never reached the disk: the proof of the wipe would prove nothing");
  });
}

async function giveBack({ stage, tenant, show, signal, machine, kill }: Cycle): Promise<void> {
  await show.step("the Deployment goes to 0; the empty node is drained and deleted, its rights are gone", async (watch) => {
    await tenant.apply(DEPLOYMENT, deployment(machine, 0));
    await until("Node gone", 120_000, signal, async () => {
      const node = await tenant.get(NODE, machine);
      watch(node ? "the Node is still there" : "");
      return node ? undefined : true;
    });
    const { items } = await tenant.list(SECRET, { namespace: "kube-system", fieldSelector: "type=bootstrap.kubernetes.io/token" });
    if (items.length > 0) throw new Error(`bootstrap tokens are left: ${items.map((one) => one.metadata.name).join(", ")}`);
    const admitted = await tenant.get(SECRET, "ironwright-admitted-nodes", "kube-system");
    if (!admitted || machine in (admitted.data ?? {})) throw new Error(`${machine} is still admitted`);
  });
  if (kill) await killAt({ stage, tenant, show, signal, machine }, "wipe", "mid-release");
  await phase(
    { stage, show, signal, machine },
    `${machine} boots the installer, its disk is wiped and read back, it is off: Available`,
    ["Available"],
    240_000,
  );
  await show.step("its claim is gone, and the marker is not on the disk any more", async () => {
    await until("NodeClaim gone", 60_000, signal, async () =>
      (await stage.host().list(NODE_CLAIM)).items.length === 0 ? true : undefined,
    );
    const { status } = await machineOf(stage, machine);
    if (status?.power !== "Off" || status.lastTenant)
      throw new Error(`${machine}: power ${status?.power}, last tenant ${status?.lastTenant}`);
    if (!status.lastWipe?.disks.every((disk) => disk.verified)) throw new Error("the wipe is not recorded as read back");
    if (await fileHolds(diskOf(stage, machine), markerOf(machine))) throw new Error("the marker is still on the disk");
    const untold = untoldOf(kubectl(stage, STAGE.kubeconfig, ["describe", "machine", machine]));
    if (untold.length > 0) throw new Error(`kubectl describe machine ${machine} tells nothing of ${untold.join(", ")}`);
  });
}

/** By numbers and as people see it: its machines are given back, their hours stay, and its control plane was measured. */
export async function showCost(stage: Stage, show: Show): Promise<void> {
  await show.step("what acme cost: hours of nodes and GPUs it had, CPU and memory of its control plane", async () => {
    const { items } = JSON.parse(stage.ironwright(["top", "vc", "-o", "json"])) as TopAnswer;
    const [acme] = items;
    const { nodes, gpus, nodeHours = 0, gpuHours, awakeHours = 0, cpuSeconds = 0, memoryBytes = 0 } = acme ?? {};
    const hadTwoGpus = nodes === 0 && gpus === 0 && nodeHours > 0 && nodeHours < 2 * awakeHours && gpuHours === 2 * nodeHours;
    if (!hadTwoGpus || cpuSeconds < 1 || memoryBytes < 50 * 2 ** 20) throw new Error(`ironwright top vc says ${JSON.stringify(items)}`);
  });
  const text = stage.ironwright(["top", "vc"]);
  if (!COST_OF_ACME.test(text)) throw new Error(`ironwright top vc shows\n${text}`);
  show.say(text.trimEnd().replace(/^/gm, "       "));
}

const COST_OF_ACME =
  /^PROJECT +NAME +PHASE +SLEEP +NODES +GPUS +NODE-HOURS +GPU-HOURS +AWAKE-HOURS +CPU +MEMORY\ndefault +acme +Ready +awake +0 +0 +\d+\.\d +\d+\.\d +\d+\.\d +\d+s +\d+ MiB\n$/;

export async function deleteTenant(stage: Stage, show: Show, signal: AbortSignal): Promise<void> {
  await show.step("tenant acme is deleted; nothing of it is left", async (watch) => {
    const cluster = await stage.host().get(VIRTUAL_CLUSTER, "acme", "default");
    await stage.host().delete(VIRTUAL_CLUSTER, "acme", { namespace: "default" });
    await until("VirtualCluster acme gone", 120_000, signal, async () => {
      const left = await stage.host().get(VIRTUAL_CLUSTER, "acme", "default");
      watch(condition(left?.status?.conditions, "Ready")?.message ?? "");
      return left ? undefined : true;
    });
    const uid = cluster?.metadata.uid;
    if (!uid) throw new Error("there was no VirtualCluster acme to delete");
    const files = join(STAGE.data, "tenants", uid);
    if (existsSync(files)) throw new Error(`${files} is still there`);
    const secrets = (await stage.host().list(SECRET, { namespace: "default" })).items.filter((one) => one.metadata.name.startsWith("acme"));
    if (secrets.length > 0) throw new Error(`Secrets left: ${secrets.map((one) => one.metadata.name).join(", ")}`);
    const processes = runningProcesses().filter(({ command }) => command.includes(uid));
    if (processes.length > 0) throw new Error(`processes of acme are still there: ${processes.map(({ command }) => command).join("\n")}`);
  });
}

interface Following {
  readonly stage: Stage;
  readonly show: Show;
  readonly signal: AbortSignal;
  readonly machine: string;
}

async function phase(
  { stage, show, signal, machine }: Following,
  title: string,
  phases: readonly string[],
  timeoutMs: number,
): Promise<void> {
  await show.step(title, async (watch) => {
    let seen = "";
    await until(
      `${machine} ${phases.join(" or ")}`,
      timeoutMs,
      signal,
      async () => {
        const found = await machineOf(stage, machine);
        seen = doing(found);
        watch(seen);
        return phases.includes(found.status?.phase ?? "") ? true : undefined;
      },
      () => seen,
    );
  });
}

/** SIGKILLs the daemon while `step` runs, sees that the tenant's API takes writes without it, and starts it again: the operation goes on. */
async function killAt({ stage, tenant, show, signal, machine }: Following & { tenant: Kube }, step: string, when: string): Promise<void> {
  await show.step(`SIGKILL of the daemon ${when}; the tenant's API answers meanwhile; the daemon goes on where it was`, async (watch) => {
    const before = await until(`${machine} at ${step}`, 240_000, signal, async () => {
      const found = await machineOf(stage, machine);
      watch(doing(found));
      return found.status?.operation?.step === step && found.status.operation.state === "Running" ? found : undefined;
    });
    await stage.killDaemon();
    const name = `written-${machine}-${step}`;
    await tenant.create(CONFIG_MAP, { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" } });
    if (!(await tenant.get(CONFIG_MAP, name, "default"))) throw new Error("what the tenant wrote while the daemon was dead is not there");
    await stage.startDaemon();
    const after = await until(`${machine} past ${step}`, 240_000, signal, async () => {
      const found = await machineOf(stage, machine);
      watch(doing(found));
      return found.status?.operation?.step !== step || found.status.operation.state !== "Running" ? found : undefined;
    });
    const [was, is] = [before.status?.operation, after.status?.operation];
    if (was?.fence !== is?.fence || is?.attempt !== was?.attempt || is?.state === "Failed")
      throw new Error(
        `the operation began anew: fence ${was?.fence} attempt ${was?.attempt}, then fence ${is?.fence} attempt ${is?.attempt} (${is?.state})`,
      );
  });
}

/** What a machine is at, in a few words; `Ready` only repeats the phase, what is wrong stands beside it. */
function doing(machine: Machine): string {
  const { status } = machine;
  const trouble = status?.conditions?.find((one) => one.status === "False" && one.type !== "Ready");
  const step = status?.operation?.state === "Running" && status.operation.step ? ` (${status.operation.step})` : "";
  return `${machine.metadata.name} ${status?.phase ?? "new"}${step}${trouble ? `, ${trouble.type}: ${trouble.message}` : ""}`;
}

function podText(pod: Pod | undefined): string {
  const waiting = pod?.status?.containerStatuses?.map((one) => one.state?.waiting?.reason).find((one) => one);
  return `${pod?.status?.phase ?? "no pod"}${waiting ? `, ${waiting}` : ""}`;
}

async function machineOf(stage: Stage, name: string): Promise<Machine> {
  const found = await stage.host().get(MACHINE, name);
  if (!found) throw new Error(`Machine ${name} is not there`);
  return found;
}

async function podOf(tenant: Kube, machine: string): Promise<Pod | undefined> {
  const { items } = await tenant.list(POD, { namespace: "default", labelSelector: `app=train-${machine}` });
  return items.find((one) => !one.metadata.deletionTimestamp);
}

function kubectl(stage: Stage, kubeconfig: string, args: readonly string[]): string {
  const options = ["--kubeconfig", kubeconfig, "--cache-dir", join(STAGE.dir, "kubectl"), "--request-timeout=30s"];
  const { status, stdout, stderr } = spawnSync(join(stage.artifacts.kube.bin, "kubectl"), [...options, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`kubectl ${args.join(" ")} failed: ${stderr}`);
  return stdout;
}

function deployment(machine: string, replicas: number) {
  const labels = { app: `train-${machine}` };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: `train-${machine}`, namespace: "default" },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          nodeSelector: { "ironwright.dev/machine": machine },
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              name: "train",
              image: "ironwright.dev/busybox:1",
              imagePullPolicy: "Never",
              command: [
                "sh",
                "-c",
                "env | grep NVIDIA; hostname > /data/served-by; httpd -p 8080 -h /data; trap exit TERM; while :; do sleep 1; done",
              ],
              resources: { limits: { "nvidia.com/gpu": "1" }, requests: { cpu: "100m", memory: "32Mi" } },
              volumeMounts: [{ name: "data", mountPath: "/data" }],
            },
          ],
          volumes: [{ name: "data", emptyDir: {} }],
        },
      },
    },
  };
}

/** A text that is nowhere on a disk by chance. */
function markerOf(machine: string): string {
  return `ironwright-marker-${machine}-7f3a9c51e0d84b26`;
}

function diskOf(stage: Stage, machine: string): string {
  const server = stage.rack.servers.find((one) => one.name === machine);
  const disk = server?.disks[0];
  if (!disk) throw new Error(`the rack has no disk of ${machine}`);
  return disk;
}

function documents(file: string): Resource[] {
  return parseAllDocuments(readFileSync(join(examples, file), "utf8")).map((one) => one.toJS() as Resource);
}

/** The rack's BMCs sign their own certificates: the Machine pins the fingerprint that the rack shows. */
function withFingerprint(document: Resource, stage: Stage): Resource {
  if (document.kind !== "Machine") return document;
  const server = stage.rack.servers.find((one) => one.name === document.metadata.name);
  const machine = document as Machine;
  return {
    ...machine,
    spec: { ...machine.spec, bmc: { ...machine.spec.bmc, certificateSha256: server?.certificateSha256 ?? "" } },
  } as Machine;
}

async function applyDocument(kube: Kube, document: Resource): Promise<void> {
  const [group, version] = document.apiVersion.includes("/") ? document.apiVersion.split("/") : ["", document.apiVersion];
  const plural = document.kind.endsWith("s") ? `${document.kind.toLowerCase()}es` : `${document.kind.toLowerCase()}s`;
  const kind: Kind = {
    group: group ?? "",
    version: version ?? "",
    kind: document.kind,
    plural,
    namespaced: document.metadata.namespace !== undefined,
  };
  await kube.apply(kind, document);
}
