import type { Bmc, BmcOptions, Power } from "../bmc/index.ts";
import type { BootPlane, InstallerHello } from "../boot/index.ts";
import type { Clock } from "../core/clock.ts";
import { condition } from "../core/conditions.ts";
import { IronwrightError, isError } from "../core/errors.ts";
import { SYSTEM_NAMESPACE } from "../core/names.ts";
import { MACHINE, type Machine, type MachineStatus, NODE_CLAIM, type Operation, type OperationKind } from "../core/resources.ts";
import { type EventRecorder, type Kube, SECRET } from "../kube/index.ts";
import type { Logger } from "../observe/index.ts";
import type { Tenants } from "../tenant/index.ts";
import { claimState } from "./claim-state.ts";
import type { Images } from "./images.ts";
import type { Playbooks } from "./playbook.ts";
import { type Registered, runPlaybook } from "./run-playbook.ts";
import type { Facts, Fenced } from "./sagas/saga.ts";
import { connectSsh, type Ssh } from "./ssh.ts";
import { type DaemonKey, type HostKey, parseHostKey } from "./ssh-key.ts";
import { statusOf, withFact, withNews, withOperation } from "./status.ts";

/** What operations are made with. */
export interface Tools {
  readonly kube: Kube;
  readonly bootPlane: BootPlane;
  readonly tenants: Tenants;
  readonly connectBmc: (options: BmcOptions) => Bmc;
  readonly images: Images;
  readonly playbooks: Playbooks;
  readonly key: DaemonKey;
  /** Where installers and installed systems take SSH. */
  readonly sshPort: number;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
  readonly events: EventRecorder;
}

/** One operation on one machine, as its steps see it. */
export interface Work extends Fenced {
  readonly tools: Tools;
  readonly name: string;
  readonly operation: Operation;
  /** The Machine as last read or written. */
  readonly machine: Machine;
  /** Changes the status under its resourceVersion, while the fence is ours. */
  update(change: (status: MachineStatus, machine: Machine) => MachineStatus): Promise<void>;
  /** Changes the spec likewise. */
  updateSpec(change: (machine: Machine) => Machine): Promise<void>;
  /** What a step of this operation recorded. */
  fact(step: string, name: string): string | undefined;
  bmc(): Promise<Bmc>;
  /** Checks fence and claim, does it, and records the power state. */
  power(action: "On" | "ForceOff" | "ForceRestart"): Promise<void>;
  /** This attempt's installer over SSH; network boots it again when it is gone. */
  installer(): Promise<Ssh>;
  /** The same, if it answers; boots nothing. */
  installerIfThere(): Promise<Ssh | undefined>;
  /** Network boots the installer with a new nonce, and waits for it. */
  networkBoot(): Promise<void>;
  /** One try to reach the installed system. */
  connectSystem(address: string, hostKey: string): Promise<Ssh>;
  /** The installed system over SSH, by the key that its installation pinned. */
  system(): Promise<Ssh>;
  /** Runs a playbook, fence and claim checked just before. */
  play(playbook: string, vars: Readonly<Record<string, string>>, where: () => Promise<Ssh>): Promise<Registered>;
  event(type: "Normal" | "Warning", reason: string, message: string): void;
  close(): Promise<void>;
}

// Our own code alone runs in it and for minutes: mitigations buy nothing there. no_timer_check: TCG's timer is late under load.
const INSTALLER_ARGUMENTS = ["console=ttyS0", "quiet", "no_timer_check", "panic=-1", "mitigations=off"];
// large servers test their memory for minutes before they boot
const HELLO_MS = 10 * 60_000;
const INSTALLER_GONE_MS = 20_000;
const RECONNECT_MS = 500;
const CONFLICTS = 20;

export function openWork(tools: Tools, first: Machine, operation: Operation, signal: AbortSignal): Work {
  const { kube, clock } = tools;
  const name = first.metadata.name;
  const log = tools.log.child({ machine: name, operation: operation.kind, fence: operation.fence });
  let machine = first;
  let bmc: Bmc | undefined;
  const sessions = new Map<string, Ssh>();
  const done = new Set(operation.done.map((record) => record.step));

  async function fresh(): Promise<Machine> {
    const now = await kube.get(MACHINE, name);
    const held = now?.status?.operation;
    if (!now || held?.fence !== operation.fence || held.state !== "Running")
      throw new IronwrightError("IRW_FENCE_LOST", { machine: name, held: operation.fence, now: held?.fence ?? 0 });
    machine = now;
    return now;
  }

  async function hold(): Promise<void> {
    await holdClaim(kube, await fresh(), operation.kind);
  }

  async function write(change: (machine: Machine) => Promise<Machine>): Promise<void> {
    for (let left = CONFLICTS; ; left -= 1) {
      try {
        machine = await change(await fresh());
        return;
      } catch (error) {
        if (!isError(error, "IRW_KUBE_CONFLICT") || left <= 0) throw error;
      }
    }
  }

  async function connected(id: string, connect: () => Promise<Ssh>): Promise<Ssh> {
    const known = sessions.get(id);
    if (known?.alive) return known;
    const ssh = await connect();
    sessions.set(id, ssh);
    return ssh;
  }

  const reach = (address: string) => ({ address, port: tools.sshPort, key: tools.key, signal });

  function pinned(text: string): HostKey {
    const key = parseHostKey(text);
    if (!key) throw new IronwrightError("IRW_SSH", { address: name, reason: `the pinned host key is none: ${text}` });
    return key;
  }

  /** @param since when the machine was switched on for it */
  async function hello(deadlineMs: number, since?: Date): Promise<InstallerHello> {
    const nonce = statusOf(machine).operation?.nonce ?? "";
    const timeout = AbortSignal.timeout(deadlineMs);
    try {
      return await tools.bootPlane.hello(nonce, AbortSignal.any([signal, timeout]));
    } catch (error) {
      if (!timeout.aborted || signal.aborted) throw error;
      const seen = tools.bootPlane.lastSeen(name, since);
      throw new IronwrightError("IRW_BOOT_NO_HELLO", { machine: name, after: `${deadlineMs / 1_000} s`, seen }, error);
    }
  }

  /** The installer of this nonce, if it is still there. */
  async function reachInstaller(): Promise<Ssh | undefined> {
    if (!statusOf(machine).operation?.nonce) return undefined;
    const deadline = clock.now().getTime() + INSTALLER_GONE_MS;
    try {
      const from = await hello(INSTALLER_GONE_MS);
      for (;;) {
        try {
          return await connectSsh({ ...reach(from.address), hostKey: pinned(from.hostKey) });
        } catch (error) {
          signal.throwIfAborted();
          if (!isError(error, "IRW_SSH") || clock.now().getTime() > deadline) throw error;
          await clock.sleep(RECONNECT_MS, signal);
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      log.info({ reason: error instanceof Error ? error.message : String(error) }, "this attempt's installer is gone");
      return undefined;
    }
  }

  const work: Work = {
    tools: { ...tools, log },
    name,
    operation,
    done,
    clock,
    signal,
    get machine() {
      return machine;
    },
    hold,
    update: (change) => write((now) => kube.replaceStatus(MACHINE, { ...now, status: change(statusOf(now), now) })),
    updateSpec: (change) => write((now) => kube.replace(MACHINE, change(now))),
    fact: (step, key) => statusOf(machine).operation?.done.find((record) => record.step === step)?.facts?.[key],
    async begin(step) {
      if (statusOf(machine).operation?.step === step) return;
      await work.update((status) => withOperation(status, { step }));
    },
    async checkpoint(step, seconds, facts) {
      const rounded = Math.round(seconds * 10) / 10;
      const record = { step, at: clock.now().toISOString(), seconds: rounded, ...(Object.keys(facts).length > 0 ? { facts } : {}) };
      await work.update((status) => {
        const before = (status.operation?.done ?? []).filter((one) => one.step !== step);
        return withNews(withOperation(status, { done: [...before, record] }), step, `${operation.kind}: done`, clock.now(), seconds);
      });
      done.add(step);
      log.info({ step, seconds: rounded }, "step done");
    },
    notTakenBack(error) {
      log.warn({ err: error }, "a failed operation's step was not taken back");
    },
    async forget(step) {
      await work.update((status) => withOperation(status, { done: (status.operation?.done ?? []).filter((one) => one.step !== step) }));
      done.delete(step);
    },
    async bmc() {
      bmc ??= tools.connectBmc({ spec: machine.spec.bmc, credentials: await credentialsOf(kube, machine), clock, log });
      return bmc;
    },
    async power(action) {
      const target = await work.bmc();
      // others may call the same BMC first: fence and claim are checked when it is this call's turn
      await target.setPower(action, signal, hold);
      const power: Power = action === "ForceOff" ? "Off" : "On";
      await work.update((status) => ({ ...status, power }));
    },
    async installerIfThere() {
      const known = sessions.get("installer");
      if (known?.alive) return known;
      const found = await reachInstaller();
      if (found) sessions.set("installer", found);
      return found;
    },
    async networkBoot() {
      await hold();
      for (const ssh of sessions.values()) ssh.close();
      sessions.clear();
      const nonce = tools.random(24).toString("base64url");
      await work.update((status) => withOperation(status, { nonce }));
      const { spec } = machine;
      tools.bootPlane.remember({
        machine: name,
        macs: [spec.bootMAC],
        hostname: name,
        intent: { boot: "installer", nonce, authorizedKey: tools.key.publicKey, kernelArguments: INSTALLER_ARGUMENTS },
      });
      const target = await work.bmc();
      const firmware = machine.status?.inventory?.firmware;
      await target.bootNext("Pxe", firmware ? { firmware } : {}, hold);
      const since = clock.now();
      await work.power((await target.power()) === "Off" ? "On" : "ForceRestart");
      const from = await hello(HELLO_MS, since);
      await work.update((status) => ({ ...status, address: from.address }));
    },
    installer: () =>
      connected("installer", async () => {
        const known = await reachInstaller();
        if (known) return known;
        await work.networkBoot();
        const booted = await reachInstaller();
        if (booted) return booted;
        throw new IronwrightError("IRW_SSH", {
          address: statusOf(machine).address ?? name,
          reason: "the installer said hello and then did not answer",
        });
      }),
    connectSystem: (address, hostKey) => connected("system", () => connectSsh({ ...reach(address), hostKey: pinned(hostKey) })),
    system: () => work.connectSystem(machine.status?.address ?? "", machine.status?.hostKey ?? ""),
    async play(playbook, vars, where) {
      const run = async () => {
        const ssh = await where();
        await hold();
        const { keeper } = tools.playbooks;
        return runPlaybook(tools.playbooks.get(playbook), { ssh, machine: name, fence: operation.fence, keeper, vars, clock, log, signal });
      };
      try {
        return await run();
      } catch (error) {
        // a lost connection says nothing of the machine: steps are idempotent, and the machine itself ends a step left running
        if (!isError(error, "IRW_SSH")) throw error;
        log.warn({ playbook, reason: error.message }, "the connection was lost; the step is run again");
        return run();
      }
    },
    event: (type, reason, message) => tools.events.record(machine, type, reason, message),
    async close() {
      for (const ssh of sessions.values()) ssh.close();
      await bmc?.close().catch((error: unknown) => log.debug({ err: error }, "the BMC's session did not end"));
    },
  };
  return work;
}

/** An installation needs its claim alive, a release needs it over; an inspection must not meet one. */
async function holdClaim(kube: Kube, machine: Machine, kind: OperationKind): Promise<void> {
  const { claimRef } = machine.spec;
  const lost = (why: string) => new IronwrightError("IRW_CLAIM_LOST", { machine: machine.metadata.name, why });
  const claim = claimRef ? await kube.get(NODE_CLAIM, claimRef.name) : undefined;
  const state = claimState(claimRef, claim);
  if (kind === "install" && state !== "live") throw lost(`its claim ${claimRef?.name ?? ""} ended`);
  if (kind === "release" && (state === "live" || state === "ending")) throw lost(`claim ${claimRef?.name ?? ""} has it`);
  if (kind === "inspect" && state !== "none") throw lost(`claim ${claimRef?.name ?? ""} has it`);
}

/** Read when a BMC is to be called, and not kept. */
async function credentialsOf(kube: Kube, machine: Machine): Promise<{ username: string; password: string }> {
  const name = machine.spec.bmc.credentialsSecret;
  const secret = await kube.get(SECRET, name, SYSTEM_NAMESPACE);
  const read = (key: string) => {
    const value = secret?.data?.[key];
    if (value === undefined)
      throw new IronwrightError("IRW_REFERENCE", {
        what: `key ${key} of Secret ${name}`,
        wanted: `spec.bmc.credentialsSecret of ${machine.metadata.name}`,
      });
    return Buffer.from(value, "base64").toString("utf8");
  };
  return { username: read("username"), password: read("password") };
}

/** Notes that the BMC answers and takes the credentials; writes only what is news. */
export async function noteBmc(work: Work): Promise<void> {
  const { status } = work.machine;
  const known = ["BMCReachable", "CredentialsValid"].every((type) => condition(status?.conditions, type)?.status === "True");
  if (known) return;
  const now = work.clock.now();
  const say = (status: MachineStatus, type: string, message: string) =>
    withFact(status, { type, status: "True", reason: "Answered", message, ...generation(work.machine) }, now);
  await work.update((before) => say(say(before, "BMCReachable", "the BMC answers"), "CredentialsValid", "the BMC takes the credentials"));
}

/** Of the Events that tell how an operation goes. */
export function eventReason(kind: OperationKind, what: "Begins" | "Failed"): string {
  return `${kind[0]?.toUpperCase()}${kind.slice(1)}${what}`;
}

/** A condition's observedGeneration, where the object has one. */
export function generation(machine: Machine): { observedGeneration?: number } {
  const { generation: observedGeneration } = machine.metadata;
  return observedGeneration === undefined ? {} : { observedGeneration };
}

export type { Facts };
