import { z } from "zod";
import { IronwrightError, isError } from "../../core/errors.ts";
import { parseTenant, providerId, type TenantRef } from "../../core/names.ts";
import { NODE } from "../../kube/index.ts";
import type { JoinCredential, NodeWay } from "../../tenant/index.ts";
import { withFact, withNews } from "../status.ts";
import { generation, type Work } from "../work.ts";
import { classOf } from "./references.ts";
import type { Facts, Step } from "./saga.ts";
import { whenTenantReady } from "./tenant-ready.ts";

/** From a machine that runs its own disk to a Ready node; the last part of the installation. */
export const join: readonly Step<Work>[] = [
  { name: "gpu-gate", do: gpuGate, undo: "nothing to undo" },
  { name: "credential", do: sendCredential, undo: revoke },
  { name: "start", do: start, undo: "the release" },
  { name: "node-ready", do: nodeReady, undo: "the release" },
  { name: "remove-key", do: removeKey, undo: "the release" },
];

const found = z.array(z.object({ address: z.string(), id: z.string() }));

/** No pod meets a GPU that is not there. */
async function gpuGate(on: Work): Promise<Facts | undefined> {
  const { gpus: want } = (await classOf(on)).spec;
  if (!want) return undefined;
  const { gpus } = await on.play("join/gpu", {}, on.system);
  const have = found.parse(gpus);
  const fitting = want.id ? have.filter((gpu) => gpu.id === want.id) : have;
  if (fitting.length < want.count)
    throw new IronwrightError("IRW_GPU_GATE", {
      machine: on.name,
      want: `${want.count} GPUs${want.id ? ` ${want.id}` : ""}`,
      have: have.length === 0 ? "none" : have.map((gpu) => `${gpu.id} at ${gpu.address}`).join(", "),
    });
  return { gpus: String(fitting.length) };
}

/** Minted last, for this claim alone; a second run mints another and ends the first. */
async function sendCredential(on: Work): Promise<Facts | undefined> {
  const credential = await admitted(on);
  const road = await openRoad(on, credential.forwardingKey);
  const vars = {
    server: credential.server,
    ca: credential.ca,
    token: credential.token,
    node_name: credential.nodeName,
    provider_id: providerId(on.name),
    cluster_domain: credential.clusterDomain,
    pod_cidr: credential.podCIDR,
    service_cidr: credential.serviceCIDR,
  };
  await on.play("join/credential", vars, on.system);
  return { expires: credential.expires, road: road ? "yes" : "no" };
}

/** Whether this machine gives its tenant's apiserver a way to pods; without one it joins all the same. */
async function openRoad(on: Work, forwardingKey: string | undefined): Promise<boolean> {
  if (forwardingKey === undefined) return false;
  const { road } = await on.play("join/forwarding", { public_key: forwardingKey }, on.system);
  if (road === true) return true;
  on.tools.log.warn({ reason: road }, "its tenant's apiserver gets no way to this machine's pods");
  return false;
}

/** An installed machine waits for its tenant rather than be installed again. */
async function admitted(on: Work): Promise<JoinCredential> {
  const { ref, node } = identity(on);
  const { address } = on.machine.status ?? {};
  return whenTenantReady(on, () => on.tools.tenants.admit(ref, { ...node, addresses: address ? [address] : [] }));
}

async function revoke(on: Work): Promise<void> {
  const { ref, node } = identity(on);
  await on.tools.tenants.revoke(ref, node);
}

async function start(on: Work): Promise<Facts | undefined> {
  await on.play("join/start", {}, on.system);
  return undefined;
}

const NODE_MS = 10 * 60_000;
const NODE_TRY_MS = 500;

async function nodeReady(on: Work): Promise<Facts | undefined> {
  const { ref, node: own } = identity(on);
  const deadline = on.clock.now().getTime() + NODE_MS;
  let seen = "no Node";
  for (;;) {
    try {
      const node = await on.tools.tenants.kube(ref).get(NODE, on.name);
      const ready = node?.status?.conditions?.find((one) => one.type === "Ready");
      if (ready?.status === "True") {
        await on.tools.tenants.noteWay(ref, own, { podCIDR: node?.spec?.podCIDR, ssh: roadOf(on) });
        return undefined;
      }
      seen = textOf(ready?.message) ?? (node ? "a Node without conditions" : "no Node");
    } catch (error) {
      if (!isError(error, "IRW_TENANT_NOT_READY") && !isError(error, "IRW_KUBE_UNREACHABLE")) throw error;
      seen = error.message;
    }
    if (on.clock.now().getTime() > deadline)
      throw new IronwrightError("IRW_NODE_NOT_READY", {
        machine: on.name,
        tenant: `${ref.namespace}.${ref.name}`,
        after: `${NODE_MS / 60_000} min`,
        seen,
      });
    await on.clock.sleep(NODE_TRY_MS, on.signal);
  }
}

function roadOf(on: Work): NodeWay["ssh"] {
  const { hostKey } = on.machine.status ?? {};
  return hostKey !== undefined && on.fact("credential", "road") === "yes" ? { port: on.tools.sshPort, hostKey } : undefined;
}

const SHOWN = 300;

/** What a tenant wrote goes into conditions, events and logs: no more than a line's worth, and printable. */
export function textOf(message: string | undefined): string | undefined {
  return message?.slice(0, SHOWN).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, " ");
}

/** The daemon's way in ends where the tenant's node begins, unless the class keeps it. */
async function removeKey(on: Work): Promise<Facts | undefined> {
  const machineClass = await classOf(on);
  if (!machineClass.spec.keepSSHKey) await takeKey(on);
  await on.update((status, machine) => {
    const message = `Ready node of ${machine.spec.claimRef?.tenant ?? ""}`;
    const installed = withFact(
      status,
      { type: "Installed", status: "True", reason: "Joined", message, ...generation(machine) },
      on.clock.now(),
    );
    return withNews({ ...installed, phase: "InUse" }, "InUse", message, on.clock.now());
  });
  on.event("Normal", "Joined", `Ready node of ${on.machine.spec.claimRef?.tenant ?? ""}`);
  return undefined;
}

async function takeKey(on: Work): Promise<void> {
  try {
    await on.play("install/remove-key", {}, on.system);
  } catch (error) {
    // the daemon was killed after the key went and before that was recorded
    if (!isError(error, "IRW_SSH_REFUSED")) throw error;
  }
}

function identity(on: Work): { ref: TenantRef; node: { claim: string; claimUid: string; nodeName: string } } {
  const { claimRef } = on.machine.spec;
  const ref = parseTenant(claimRef?.tenant ?? "");
  if (!claimRef || !ref) throw new IronwrightError("IRW_CLAIM_LOST", { machine: on.name, why: "it names no claim" });
  return { ref, node: { claim: claimRef.name, claimUid: claimRef.uid, nodeName: on.name } };
}
