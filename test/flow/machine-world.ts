import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Before, Bmc, BootTarget, PowerAction } from "../../src/bmc/index.ts";
import type { BootPlane, BootRecord, InstallerHello } from "../../src/boot/index.ts";
import { systemClock } from "../../src/core/clock.ts";
import { IronwrightError } from "../../src/core/errors.ts";
import type { JoinCredential, NodeWay, Tenants } from "../../src/tenant/index.ts";

/**
 * A server as its BMC and its network show it: SSH is real, power and boot are told. Its installer is whatever answers at
 * the port; it is "up" when it was powered on to network boot.
 */
export class Server {
  on = false;
  next: BootTarget = "Hdd";
  /** What refuses: a BMC that is gone, or a password that changed. */
  trouble: "none" | "unreachable" | "credentials" = "none";
  password = "right";
  boots: string[] = [];
  record: BootRecord | undefined;
  private waiting: (() => void)[] = [];
  private readonly hostKey: string;

  constructor(hostKey: string) {
    this.hostKey = hostKey;
  }

  private boot(): void {
    this.on = true;
    const intent = this.next === "Pxe" ? this.record?.intent.boot : "disk";
    this.next = "Hdd";
    this.boots.push(intent ?? "nothing");
    for (const wake of this.waiting.splice(0)) wake();
  }

  private said(nonce: string): InstallerHello | undefined {
    const { record } = this;
    if (!this.on || this.boots.at(-1) !== "installer" || record?.intent.boot !== "installer" || record.intent.nonce !== nonce)
      return undefined;
    const mac = record.macs[0] ?? "";
    return { nonce, hostKey: this.hostKey, address: "127.0.0.1", mac, uuid: "u", serial: "s", firmware: "bios" };
  }

  bootPlane(): BootPlane {
    return {
      start: async () => {},
      stop: async () => {},
      remember: (record) => {
        this.record = record;
      },
      forget: () => {
        this.record = undefined;
      },
      records: () => (this.record ? [this.record] : []),
      hello: async (nonce, signal) => {
        for (;;) {
          signal.throwIfAborted();
          const hello = this.said(nonce);
          if (hello) return hello;
          await new Promise<void>((resolve) => {
            this.waiting.push(resolve);
            signal.addEventListener("abort", () => resolve(), { once: true });
          });
        }
      },
      serveFile: (_nonce, name, path) => `http://test/${name}?${path}`,
      addressOf: () => "127.0.0.1",
      lastSeen: () => "never",
      note: () => {},
      attempts: () => [],
      history: () => [],
      leases: () => [],
      timeline: () => [],
      refused: () => ({}),
      refusals: () => [],
    };
  }

  connectBmc = ({ spec, credentials }: { spec: { address: string }; credentials: { username: string; password: string } }): Bmc => {
    const answer = async <T>(value: T): Promise<T> => {
      if (this.trouble === "unreachable") throw new IronwrightError("IRW_BMC_UNREACHABLE", { address: spec.address, reason: "timed out" });
      if (credentials.password !== this.password)
        throw new IronwrightError("IRW_BMC_CREDENTIALS", { address: spec.address, user: credentials.username });
      return value;
    };
    return {
      address: spec.address,
      identity: () => answer({ manufacturer: "Ironlab", model: "GB2", serial: "SN1", uuid: "u" }),
      power: () => answer(this.on ? ("On" as const) : ("Off" as const)),
      setPower: async (action: PowerAction, _signal: AbortSignal, before?: Before) => {
        await answer(undefined);
        await before?.();
        if (action === "ForceOff" || action === "GracefulShutdown") this.on = false;
        else if (action === "ForceRestart" || !this.on) this.boot();
      },
      bootNext: async (target: BootTarget, _options: object, before?: Before) => {
        await answer(undefined);
        await before?.();
        this.next = target;
      },
      close: async () => {},
    };
  };
}

export const FORWARDING_KEY = "ssh-ed25519 AAAA ironwright-gateway";

/** A tenant that lets nodes in and remembers whom. */
export class Tenant {
  /** How what is behind the node that was admitted last is reached. */
  road: NodeWay = {};
  admitted: string[] = [];
  revoked: string[] = [];
  ready = false;
  /** When its nodes reported last, as it says. */
  heartbeat: string | undefined;
  /** How often it does not answer a revocation yet, as right after a daemon's start. */
  absent = 0;

  tenants(): Tenants {
    const node = (name: string) => {
      const ready = { type: "Ready", status: this.ready ? "True" : "False", message: "starting", lastHeartbeatTime: this.heartbeat };
      return { spec: { providerID: `ironwright://${name}`, podCIDR: "10.1.3.0/24" }, status: { conditions: [ready] } };
    };
    return {
      list: () => [],
      onChange: () => () => {},
      kube: () => ({ get: async (_kind: unknown, name: string) => node(name) }) as unknown as ReturnType<Tenants["kube"]>,
      admit: async (_ref, { claim, nodeName }): Promise<JoinCredential> => {
        this.admitted.push(claim);
        this.road = {};
        const expires = new Date(systemClock.now().getTime() + 600_000).toISOString();
        return {
          server: "https://t",
          ca: "CA\nPEM",
          token: "a.b",
          expires,
          nodeName,
          clusterDomain: "cluster.local",
          podCIDR: "10.1.0.0/16",
          serviceCIDR: "10.2.0.0/16",
          forwardingKey: FORWARDING_KEY,
        };
      },
      noteWay: async (_ref, _node, way) => {
        this.road = way;
      },
      revoke: async (_ref, { claim }) => {
        if (this.absent > 0) {
          this.absent -= 1;
          throw new IronwrightError("IRW_TENANT_NOT_READY", { tenant: "default.acme", reason: "it has not answered yet" });
        }
        this.revoked.push(claim);
      },
    } as Tenants;
  }
}

/** Playbooks of the shipped names and variables whose scripts touch nothing: this host is no machine to install. */
export function harmlessPlaybooks(dir: string, shipped: string, scripts: Readonly<Record<string, string>>): string {
  for (const [name, script] of Object.entries(scripts)) {
    const [folder = "", file = ""] = name.split("/");
    const real = readFileSync(join(shipped, folder, `${file}.yaml`), "utf8");
    const vars = /^vars: .*$/m.exec(real)?.[0] ?? "";
    const register = /register: \S+/.exec(real)?.[0];
    mkdirSync(join(dir, folder), { recursive: true });
    writeFileSync(join(dir, folder, `${file}.sh`), `${script}\n`);
    writeFileSync(
      join(dir, folder, `${file}.yaml`),
      `description: of a test\n${vars}\nsteps:\n  - name: ${file}\n    script: ${file}.sh\n${register ? `    ${register}\n` : ""}`,
    );
  }
  writeFileSync(join(dir, "step.sh"), readFileSync(join(shipped, "step.sh")));
  return dir;
}

/** The output of the shipped inspection, with one blank disk of this test's choosing. */
export function factsScript(signatures = ""): string {
  const encode = (text: string) => Buffer.from(text).toString("base64");
  const line = (kind: string, ...values: string[]) => [kind, ...values.map(encode)].join("\t");
  const lines = [
    line("system", "Ironlab", "GB2", "SN1", "u"),
    line("firmware", "bios"),
    line("architecture", "x86_64"),
    line("cpu", "CPU", "1", "2", "2"),
    line("memory", "2000000", "2 GB"),
    line("disk", "nvme0n1", "S1", "", "Model", String(8 * 2 ** 30), "0", "0", signatures),
    line("nic", "eth0", "52:54:00:77:00:01", "virtio", "1"),
    line("gpu", "0000:43:00.0", "0x10de", "0x2330", "0", ""),
  ];
  return `echo '{"facts":"${encode(`${lines.join("\n")}\n`)}"}'`;
}
