import { join } from "node:path";
import type { Bmc, BmcOptions } from "../bmc/index.ts";
import type { BootPlane } from "../boot/index.ts";
import type { Clock } from "../core/clock.ts";
import { condition, isTrue } from "../core/conditions.ts";
import { isError } from "../core/errors.ts";
import { ANNOTATION_MACHINE, FINALIZER_MACHINE, parseTenant, SYSTEM_NAMESPACE } from "../core/names.ts";
import { MACHINE, type Machine, NODE_CLAIM, type NodeClaim, type Operation } from "../core/resources.ts";
import { type EventRecorder, type Kube, NODE, reflector, SECRET } from "../kube/index.ts";
import type { Logger } from "../observe/index.ts";
import type { Tenants } from "../tenant/index.ts";
import { type OperationJob, type OperationQueue, type Reconciler, reconciler } from "../work/index.ts";
import { claimState } from "./claim-state.ts";
import { recordFailure } from "./failure.ts";
import { type Images, imageStore } from "./images.ts";
import { type ClaimState, DEADLINE_MS, type Decision, next } from "./life.ts";
import { loadPlaybooks } from "./playbook.ts";
import { afterLook, hasReported, whoAnswers, whyUnproven } from "./restored.ts";
import { inspect } from "./sagas/inspect.ts";
import { install } from "./sagas/install.ts";
import { release } from "./sagas/release.ts";
import { runSaga } from "./sagas/saga.ts";
import { daemonKey } from "./ssh-key.ts";
import { phaseOf, statusOf, withFact, withNews, without } from "./status.ts";
import { eventReason, generation, openWork, type Tools } from "./work.ts";

export interface MachineOptions {
  readonly kube: Kube;
  readonly bootPlane: BootPlane;
  readonly tenants: Tenants;
  readonly connectBmc: (options: BmcOptions) => Bmc;
  readonly queue: Pick<OperationQueue, "enqueue">;
  /** Default: fetched into the data directory. */
  readonly images?: Images;
  readonly playbooksDir: string;
  /** Where machines take SSH; 22 by default. */
  readonly sshPort?: number;
  readonly dataDir: string;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
  readonly events: EventRecorder;
}

export interface MachineController {
  /** Checks every playbook before anything else. @throws IRW_PLAYBOOK_INVALID */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Runs an operation to its end, for the queue's worker. */
  run(job: OperationJob, signal: AbortSignal): Promise<void>;
}

const SAGAS = { inspect, install, release } as const;
const CREDENTIALS_MS = 5_000;
/** How long a machine may take to show its host key. */
const ANSWER_MS = 5_000;

/** Leads every Machine through its life. */
export function machineController(options: MachineOptions): MachineController {
  const { kube, clock, log, queue } = options;
  let tools: Promise<Tools> | undefined;
  let loop: Reconciler | undefined;
  /** By machine, the version of the Secret that its BMC refused. Lost with the process: then it is tried once more. */
  const refused = new Map<string, string>();

  const machines = reflector({ kube, kind: MACHINE, log, clock, onChange: (name) => loop?.nudge(name) });
  const claims = reflector({ kube, kind: NODE_CLAIM, log, clock, onChange: nudgeMachineOf });

  function nudgeMachineOf(claim: string): void {
    const named = claims.get(claim)?.metadata.annotations?.[ANNOTATION_MACHINE];
    if (named) loop?.nudge(named);
    for (const machine of machines.list()) if (machine.spec.claimRef?.name === claim) loop?.nudge(machine.metadata.name);
  }

  async function reconcile(name: string): Promise<{ afterMs?: number } | undefined> {
    const machine = await kube.get(MACHINE, name);
    if (!machine) {
      options.bootPlane.forget(name);
      refused.delete(name);
      return undefined;
    }
    const known = await withBasics(machine);
    if (known !== machine) return { afterMs: 0 };
    const claim = await claimOf(machine);
    const decision = next(machine, {
      claim,
      now: clock.now(),
      credentialsChanged: await credentialsChanged(machine),
      nodeAnswered: await nodeAnswered(machine),
    });
    return carryOut(machine, decision);
  }

  /** A Machine seen for the first time gets its finalizer and its phase; one in maintenance loses its quarantine. */
  async function withBasics(machine: Machine): Promise<Machine> {
    const { metadata, status, spec } = machine;
    if (!metadata.deletionTimestamp && !metadata.finalizers?.includes(FINALIZER_MACHINE)) {
      const finalizers = [...(metadata.finalizers ?? []), FINALIZER_MACHINE];
      return kube.replace(MACHINE, { ...machine, metadata: { ...metadata, finalizers } });
    }
    if (status?.phase === undefined) {
      const first = withNews({ ...statusOf(machine), phase: "Discovered" }, "Discovered", "declared", clock.now());
      return kube.replaceStatus(MACHINE, { ...machine, status: first });
    }
    if (whyUnproven(machine)) {
      // a change of the spec since: maintenance that the backup brought along says nothing
      const looked =
        spec.maintenance && (metadata.generation ?? 0) > (condition(status.conditions, "Quarantined")?.observedGeneration ?? 0);
      if (looked) return afterMaintenance(machine);
    } else if (spec.maintenance && isTrue(status.conditions, "Quarantined")) {
      const mended = withNews(without(status, "Quarantined"), "QuarantineLifted", "somebody looks after it: maintenance", clock.now());
      return kube.replaceStatus(MACHINE, { ...machine, status: mended });
    }
    const ready = readiness(machine);
    const judged = withFact(status, { ...ready, type: "Ready", ...generation(machine) }, clock.now());
    if (judged.conditions !== status.conditions) return kube.replaceStatus(MACHINE, { ...machine, status: judged });
    return machine;
  }

  /** What was being made of it for a claim is given up: the claim gets another machine. */
  async function afterMaintenance(machine: Machine): Promise<Machine> {
    const status = afterLook(machine, clock.now());
    const { claimRef, ...spec } = machine.spec;
    const released = claimRef && status.phase === "Releasing" ? await kube.replace(MACHINE, { ...machine, spec }) : machine;
    return kube.replaceStatus(MACHINE, { ...released, status });
  }

  /** It runs as it was installed, and its node has reported to its tenant since the restore. */
  async function nodeAnswered(machine: Machine): Promise<boolean> {
    const tenant = parseTenant(machine.spec.claimRef?.tenant ?? "");
    if (!tenant || whyUnproven(machine) === undefined || phaseOf(machine) !== "InUse") return false;
    const { name } = machine.metadata;
    try {
      if (!hasReported(machine, await options.tenants.kube(tenant).get(NODE, name), clock.now())) return false;
    } catch (error) {
      if (isError(error, "IRW_TENANT_NOT_READY") || isError(error, "IRW_KUBE_UNREACHABLE")) return false;
      throw error;
    }
    const { key, sshPort: port } = await toolsOf();
    const who = await whoAnswers(machine, { key, port, signal: AbortSignal.timeout(ANSWER_MS) });
    if (who === "another") {
      const told = `${machine.status?.address ?? ""} shows another SSH host key than the machine was installed with: it stays quarantined`;
      log.warn({ machine: name }, told);
      options.events.record(machine, "Warning", "AnotherHostKey", told);
    }
    return who === "itself";
  }

  async function claimOf(machine: Machine): Promise<ClaimState> {
    const { claimRef } = machine.spec;
    const claim: NodeClaim | undefined = claimRef ? await kube.get(NODE_CLAIM, claimRef.name) : undefined;
    return claimState(claimRef, claim);
  }

  async function credentialsChanged(machine: Machine): Promise<boolean> {
    const valid = machine.status?.conditions?.find((one) => one.type === "CredentialsValid");
    if (valid?.status !== "False") return false;
    return (await secretVersion(machine)) !== refused.get(machine.metadata.name);
  }

  async function secretVersion(machine: Machine): Promise<string> {
    const secret = await kube.get(SECRET, machine.spec.bmc.credentialsSecret, SYSTEM_NAMESPACE);
    return secret?.metadata.resourceVersion ?? "";
  }

  async function carryOut(machine: Machine, decision: Decision): Promise<{ afterMs?: number } | undefined> {
    const name = machine.metadata.name;
    switch (decision.do) {
      case "continue": {
        const { operation } = statusOf(machine);
        if (operation) await queue.enqueue({ machine: name, fence: operation.fence, kind: operation.kind });
        return undefined;
      }
      case "start": {
        const operation = operationOf(machine, decision);
        log.info({ machine: name, operation: decision.kind, fence: operation.fence, why: decision.why }, "operation begins");
        const phased = { ...statusOf(machine), phase: decision.phase, operation };
        const status = withNews(phased, `${decision.kind} begins`, decision.why, clock.now());
        // under the resourceVersion of the very Machine that was decided on: two daemons cannot both take a fence
        const begun = await kube.replaceStatus(MACHINE, { ...machine, status });
        options.events.record(begun, "Normal", eventReason(decision.kind, "Begins"), decision.why);
        await queue.enqueue({ machine: name, fence: operation.fence, kind: operation.kind });
        return undefined;
      }
      case "believe": {
        const status = withNews(without(statusOf(machine), "Quarantined"), "Believed", decision.why, clock.now());
        await kube.replaceStatus(MACHINE, { ...machine, status });
        return { afterMs: 0 };
      }
      case "let go": {
        const { claimRef: _ended, ...spec } = machine.spec;
        await kube.replace(MACHINE, { ...machine, spec });
        return undefined;
      }
      case "forget": {
        options.bootPlane.forget(name);
        const finalizers = (machine.metadata.finalizers ?? []).filter((one) => one !== FINALIZER_MACHINE);
        await kube.replace(MACHINE, { ...machine, metadata: { ...machine.metadata, finalizers } });
        return undefined;
      }
      case "wait":
        return { afterMs: Math.max(0, Date.parse(decision.until) - clock.now().getTime()) };
      case "rest":
        return refused.has(name) ? { afterMs: CREDENTIALS_MS } : undefined;
    }
  }

  function operationOf(machine: Machine, decision: Extract<Decision, { do: "start" }>): Operation {
    const now = clock.now();
    return {
      kind: decision.kind,
      fence: (machine.status?.operation?.fence ?? 0) + 1,
      state: "Running",
      done: [],
      startedAt: now.toISOString(),
      deadline: new Date(now.getTime() + DEADLINE_MS[decision.kind]).toISOString(),
      attempt: decision.attempt,
    };
  }

  async function run(job: OperationJob, signal: AbortSignal): Promise<void> {
    const machine = await kube.get(MACHINE, job.machine);
    const operation = machine?.status?.operation;
    if (!machine || !operation || operation.fence !== job.fence || operation.state !== "Running") return;
    const left = Math.max(0, Date.parse(operation.deadline) - clock.now().getTime());
    const deadline = AbortSignal.timeout(Math.min(left, 2 ** 31 - 1));
    const work = openWork(await toolsOf(), machine, operation, AbortSignal.any([signal, deadline]));
    try {
      await runSaga(SAGAS[operation.kind], work);
      await work.update((status) => {
        const { nonce: _, nextTryAt: __, step: ___, ...rest } = status.operation ?? operation;
        const well = operation.kind === "inspect" ? without(status, "Quarantined") : status;
        return { ...well, operation: { ...rest, state: "Succeeded" } };
      });
      log.info({ machine: job.machine, operation: job.kind, fence: job.fence }, "operation succeeded");
    } catch (error) {
      if (signal.aborted || isError(error, "IRW_FENCE_LOST") || isError(error, "IRW_KUBE_UNREACHABLE")) throw error;
      if (isError(error, "IRW_BMC_CREDENTIALS")) refused.set(job.machine, await secretVersion(machine));
      await recordFailure(work, error, deadline.aborted);
    } finally {
      await work.close();
      loop?.nudge(job.machine);
    }
  }

  function toolsOf(): Promise<Tools> {
    tools ??= (async () => ({
      ...options,
      images: options.images ?? imageStore({ dir: join(options.dataDir, "images"), clock, random: options.random, log }),
      playbooks: loadPlaybooks(options.playbooksDir),
      key: await daemonKey(join(options.dataDir, "ssh")),
      sshPort: options.sshPort ?? 22,
    }))();
    return tools;
  }

  return {
    async start() {
      await toolsOf();
      loop = reconciler({ name: "machine", log, clock, keys: () => machines.keys(), reconcile });
      await Promise.all([machines.start(), claims.start()]);
      loop.start();
    },
    async stop() {
      await Promise.all([loop?.stop(), machines.stop(), claims.stop()]);
    },
    run,
  };
}

/** In a word: can it be had, or is it had? */
function readiness(machine: Machine): { status: "True" | "False"; reason: string; message: string } {
  const phase = phaseOf(machine);
  const conditions = machine.status?.conditions;
  const quarantine = conditions?.find((one) => one.type === "Quarantined" && one.status === "True");
  if (quarantine) return { status: "False", reason: "Quarantined", message: quarantine.message };
  if (machine.spec.maintenance) return { status: "False", reason: "Maintenance", message: "in maintenance" };
  if (phase === "InUse") return { status: "True", reason: "InUse", message: `node of ${machine.spec.claimRef?.tenant ?? "a tenant"}` };
  if (phase === "Available") return { status: "True", reason: "Available", message: "waits for a claim" };
  return { status: "False", reason: phase, message: `it is ${phase}` };
}
