import { execFileSync } from "node:child_process";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { BootRecord } from "../../src/boot/index.ts";
import { type Boot, type Fault, paperServers } from "../../src/rack/index.ts";
import { layWire, startBootProcess, type Wire, type WiredBootProcess } from "../bench/wire.ts";
import { layPaperWire, PAPER_INTERFACE, startPaperRack } from "./paper-rack.ts";

let wire: Wire;
let server: WiredBootProcess;

const at = { ...PAPER_INTERFACE, pool: { from: "10.77.16.0", to: "10.77.31.255" } };

beforeAll(() => {
  wire = layPaperWire("iw-paper", layWire);
});
afterAll(() => wire?.remove());
beforeEach(async () => {
  server = await startBootProcess(wire, { interfaces: [at], bytes: 60_000, dataDir: `${wire.directory}/${Math.random()}` });
});
afterEach(() => server?.end());

/** They are known, and their installers are to be booted. */
async function known(count: number): Promise<void> {
  for (const { name, mac } of paperServers(count)) {
    const nonce = `${name}-nonce-0123456789abcdef`.slice(0, 40);
    const intent = { boot: "installer", nonce, authorizedKey: "ssh-ed25519 AAAAC3Nz", kernelArguments: [] } as const;
    await server.call("remember", { machine: name, macs: [mac], hostname: name, intent } satisfies BootRecord);
  }
}

describe("a rack of paper servers, all switched on at once", () => {
  test("200 boot to their installers' hello over a line that loses, doubles and reorders", async () => {
    await known(200);
    const line = { loss: 0.03, duplicates: 0.05, delayMs: 20 };
    const run = await startPaperRack(wire, { count: 200, line, patienceMs: 400, seed: 7 });
    expect(run.failed).toEqual([]);
    expect(run.booted).toHaveLength(200);
    for (const boot of run.booted) {
      expect(Object.keys(boot.steps)).toEqual(["leased", "program", "script", "kernel", "initrd", "hello"]);
      expect(await server.call("addressOf", boot.server.name)).toBe(boot.address);
    }
    expect(new Set(run.booted.map(({ address }) => address)).size).toBe(200);
  });

  test("faults of some keep nobody else from booting", async () => {
    await known(40);
    const faults: Fault[] = ["takes-nothing", "declines", "resets", "no-hello"];
    const run = await startPaperRack(wire, { count: 40, patienceMs: 400, seed: 8, faults });
    expect(run.failed.map(({ server: { name }, why }) => [name, why.replace(/10\.77\.\d+\.\d+/, "…")])).toEqual([
      ["paper-0", "paper-0 was offered … and takes nothing"],
    ]);
    const steps = new Map(run.booted.map((boot) => [boot.server.name, Object.keys(boot.steps).at(-1)]));
    expect(steps.get("paper-1")).toBe("hello");
    expect(steps.get("paper-2")).toBe("hello");
    expect(steps.get("paper-3")).toBe("initrd");
    expect([...steps.values()].filter((last) => last === "hello")).toHaveLength(38);
    expect(await server.call("refused")).toMatchObject({ "dhcp: declined, the address is used by somebody else": 1 });
  });

  test("what a thousand ask while the daemon is held up waits for it in the kernel", async () => {
    process.kill(server.pid, "SIGSTOP");
    const running = startPaperRack(wire, { count: 1000, patienceMs: 60_000, tries: 1, seed: 11, leaseOnly: true });
    // more than a socket holds unless it was given more
    await until(() => Promise.resolve(bytesWaiting() > 500_000));
    process.kill(server.pid, "SIGCONT");
    const run = await running;
    expect(run.failed).toEqual([]);
    expect(run.booted).toHaveLength(1000);
  });

  test("killed in the middle, the boot plane goes on where it was: every server boots, with the address it was leased", async () => {
    await known(60);
    const before = await startPaperRack(wire, { count: 60, patienceMs: 400, seed: 9, leaseOnly: true });
    const running = startPaperRack(wire, { count: 60, patienceMs: 400, seed: 10 });
    await until(async () => ((await server.call("timeline", "paper-30")) as { stage: string }[]).some(({ stage }) => stage === "script"));
    await server.kill();
    server = await startBootProcess(wire, { interfaces: [at], bytes: 60_000, dataDir: server.dataDir });
    const run = await running;
    expect(run.failed).toEqual([]);
    expect(addressesOf(run.booted)).toEqual(addressesOf(before.booted));
    expect(run.booted.map((boot) => Object.keys(boot.steps).at(-1))).toEqual(Array(60).fill("hello"));
  });
});

/** In the receive queue of the DHCP port, as the kernel counts them. */
function bytesWaiting(): number {
  const sockets = execFileSync("ip", ["netns", "exec", wire.here, "cat", "/proc/net/udp"], { encoding: "utf8" });
  return Number.parseInt(/:0043 .{8}:0000 \S+ \S{8}:(\S{8})/.exec(sockets)?.[1] ?? "0", 16);
}

function addressesOf(boots: readonly Boot[]): Record<string, string> {
  return Object.fromEntries(boots.map((boot) => [boot.server.name, boot.address]));
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 30_000; !(await condition()); ) {
    if (Date.now() > deadline) throw new Error("it did not come to that in 30 s");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
