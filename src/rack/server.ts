import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { Duplex } from "node:stream";
import { z } from "zod";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { turns } from "../core/turns.ts";
import type { Logger } from "../observe/index.ts";
import { FIRST_GPU_FD, gpuIdentity, qemuArguments } from "./argv.ts";
import { type Rack, type Server, serialOf, uuidOf } from "./config.ts";
import { servePci } from "./gpu.ts";
import type { ServerPaths } from "./paths.ts";
import { bootOf, NO_OVERRIDE, type PowerUnit, type Reset } from "./power.ts";
import { identify } from "./process.ts";
import { connectQmp, type Qmp, type QmpEvent } from "./qmp.ts";

const stateSchema = z.object({
  power: z.enum(["On", "Off"]),
  override: z.object({
    target: z.enum(["None", "Pxe", "Hdd", "UefiHttp"]),
    enabled: z.enum(["Disabled", "Once", "Continuous"]),
  }),
});

/** A server whose mainboard is a QEMU process: there while it is on. */
export interface QemuServer extends PowerUnit {
  readonly server: Server;
  /** Why it went off by itself, if that was a failure. */
  failure(): string | undefined;
  /** Switches on what was on before the chassis ended. */
  restore(): Promise<void>;
  /** Ends QEMU without changing what is wanted. */
  end(): Promise<void>;
}

interface Running {
  readonly child: ChildProcess;
  readonly qmp: Qmp;
  readonly exited: Promise<void>;
  /** Of QEMU's SHUTDOWN event; `guest-reset` is a reboot from inside. */
  reason: string | undefined;
  /** We ended it: its exit is no news. */
  ending: boolean;
}

export interface QemuServerSetting {
  readonly rack: Rack;
  readonly server: Server;
  readonly paths: ServerPaths;
  readonly tap: string;
  readonly ovmf: { readonly code: string };
  readonly log: Logger;
}

export function qemuServer({ rack, server, paths, tap, ovmf, log }: QemuServerSetting): QemuServer {
  let state = readState(paths.state);
  let running: Running | undefined;
  let failure: string | undefined;
  /** One power action at a time, as on a real BMC. */
  const inTurn = turns();

  const save = (next: z.output<typeof stateSchema>) => {
    state = next;
    writeFileSync(`${paths.state}.new`, JSON.stringify(state));
    renameSync(`${paths.state}.new`, paths.state);
  };

  async function start(): Promise<void> {
    const { boot, next } = bootOf(state.override);
    for (const socket of [paths.console, paths.qmp]) rmSync(socket, { force: true });
    const args = qemuArguments({ server, uuid: uuidOf(rack, server), serial: serialOf(rack, server), paths, boot, tap, ovmf });
    const output = openSync(paths.qemuLog, "a");
    // QEMU must not outlive its chassis: nobody would answer for its PCI devices
    const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", "qemu-system-x86_64", ...args], {
      stdio: ["ignore", output, output, ...server.gpus.map(() => "pipe" as const)],
    });
    closeSync(output);
    const exited = new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
    });
    let gone = false;
    void exited.then(() => {
      gone = true;
    });
    for (const [index, gpu] of server.gpus.entries()) {
      const socket = child.stdio[FIRST_GPU_FD + index];
      if (socket instanceof Duplex) servePci(socket, gpuIdentity(gpu.id));
    }
    const process = child.pid === undefined ? undefined : identify(child.pid);
    if (process) writeFileSync(paths.process, JSON.stringify(process));
    let current: Running | undefined;
    const onEvent = (event: QmpEvent) => {
      log.debug({ server: server.name, event: event.name, data: event.data }, "qemu");
      if (event.name === "SHUTDOWN" && current) current.reason = String(event.data.reason);
    };
    try {
      const qmp = await connectQmp(paths.qmp, onEvent, () => gone);
      current = { child, qmp, exited, reason: undefined, ending: false };
    } catch (error) {
      child.kill("SIGKILL");
      rmSync(paths.process, { force: true });
      failure = lastLine(paths.qemuLog) || reasonOf(error);
      save({ ...state, power: "Off" });
      throw new IronwrightError("IRW_RACK_QEMU", { server: server.name, reason: failure }, error);
    }
    const started = current;
    running = started;
    failure = undefined;
    save({ power: "On", override: next });
    log.info({ server: server.name, boot }, "on");
    void exited.then(() => inTurn(() => afterExit(started)));
  }

  async function afterExit(ended: Running): Promise<void> {
    ended.qmp.close();
    if (running !== ended) return;
    running = undefined;
    rmSync(paths.process, { force: true });
    if (ended.ending) return;
    if (ended.reason === "guest-reset") {
      log.info({ server: server.name }, "reboots");
      return start().catch((error: unknown) => log.error({ server: server.name, err: error }, "did not come up again"));
    }
    // no SHUTDOWN event: QEMU did not end its guest, it crashed
    if (ended.reason === undefined) failure = lastLine(paths.qemuLog) || "QEMU ended without a word";
    save({ ...state, power: "Off" });
    log.info({ server: server.name, reason: ended.reason ?? failure }, "off");
  }

  async function stop(): Promise<void> {
    const now = running;
    if (!now) return;
    now.ending = true;
    now.qmp.execute("quit").catch(() => now.child.kill("SIGKILL"));
    const timer = setTimeout(() => now.child.kill("SIGKILL"), 5_000);
    await now.exited;
    clearTimeout(timer);
    now.qmp.close();
    running = undefined;
    rmSync(paths.process, { force: true });
  }

  const resets: Readonly<Record<Reset, () => Promise<void>>> = {
    async On() {
      if (!running) await start();
    },
    async ForceOff() {
      await stop();
      save({ ...state, power: "Off" });
      log.info({ server: server.name, reason: "forced" }, "off");
    },
    /** The power button: the guest's system decides, and may not listen. */
    async GracefulShutdown() {
      await running?.qmp.execute("system_powerdown");
    },
    async ForceRestart() {
      await stop();
      await start();
    },
    async PowerCycle() {
      await stop();
      await start();
    },
  };

  return {
    server,
    power: () => (running ? "On" : "Off"),
    failure: () => failure,
    override: () => state.override,
    reset: (kind) => inTurn(resets[kind]),
    setOverride: (override) => inTurn(async () => save({ ...state, override })),
    restore: () => inTurn(async () => (state.power === "On" && !running ? start() : undefined)),
    end: () => inTurn(stop),
  };
}

function readState(file: string): z.output<typeof stateSchema> {
  if (!existsSync(file)) return { power: "Off", override: NO_OVERRIDE };
  const parsed = stateSchema.safeParse(JSON.parse(readFileSync(file, "utf8")));
  return parsed.success ? parsed.data : { power: "Off", override: NO_OVERRIDE };
}

function lastLine(file: string): string {
  return existsSync(file) ? (readFileSync(file, "utf8").trim().split("\n").at(-1) ?? "") : "";
}
