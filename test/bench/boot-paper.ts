import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { BootRecord } from "../../src/boot/index.ts";
import { paperServers } from "../../src/rack/index.ts";
import { LEASED, layPaperWire, PAPER_INTERFACE, RELAY, startPaperRack } from "../flow/paper-rack.ts";
import { type BootPart, type BootPartOptions, percentile } from "./boot-part.ts";
import { cpuSecondsOfAll, layWire, residentBytes, startBootProcess, type Wire, type WiredBootProcess } from "./wire.ts";

const SERVERS = 1000;
/** As many as one daemon shall look after. */
const MANY = 5000;
const KILLS = 10;
const patienceMs = 1000;

/** Many SIMULATED servers at once, and a boot plane that is killed: how long they wait. */
export async function benchPaper({ quick, say }: BootPartOptions): Promise<BootPart> {
  const wire = layPaperWire("iw-bench-paper", layWire);
  const count = quick ? 200 : SERVERS;
  const figures: Record<string, number> = {};
  try {
    let server = await begin(wire, count);
    const leases = await startPaperRack(wire, { count, patienceMs, seed: 1, leaseOnly: true });
    figures["paper servers"] = count;
    figures["all leased s"] = round(leases.seconds);
    figures["not leased"] = leases.failed.length;
    say(`${count} paper servers leased in ${leases.seconds.toFixed(2)} s, ${leases.failed.length} failed`);

    const boots = await startPaperRack(wire, { count, patienceMs, seed: 2 });
    const answers = boots.booted.flatMap((boot) => boot.answerMs);
    figures["all booted s"] = round(boots.seconds);
    figures["not booted"] = boots.failed.length;
    figures["DHCP answer p50 ms while all boot"] = round(percentile(answers, 0.5));
    figures["DHCP answer p99 ms while all boot"] = round(percentile(answers, 0.99));
    say(`${count} booted at once in ${boots.seconds.toFixed(1)} s, ${boots.failed.length} failed`);

    const silences: number[] = [];
    for (let kill = 0; kill < (quick ? 2 : KILLS); kill++) {
      await server.kill();
      const killed = performance.now();
      // one client that asks without a pause: its first answer ends the silence
      const asking = startPaperRack(wire, { count: 1, patienceMs: 20, seed: 3 + kill, leaseOnly: true, tries: 200 });
      server = await startBootProcess(wire, { interfaces: [PAPER_INTERFACE] });
      await asking;
      silences.push((performance.now() - killed) / 1000);
    }
    await server.end();
    figures["answering again after SIGKILL p99 s"] = round(percentile(silences, 0.99));
    say(`answering again after SIGKILL: ${silences.map((one) => one.toFixed(2)).join(", ")} s`);

    const many = quick ? 500 : MANY;
    // behind a router, as so many are: on one cable the kernel knows 1,024 neighbours unless told otherwise
    for (const addresses of LEASED) execFileSync("ip", ["-n", wire.here, "route", "add", addresses, "via", RELAY]);
    server = await begin(wire, many, join(wire.directory, "many"));
    const used = cpuSecondsOfAll(server.pid);
    const rack = await startPaperRack(wire, { count: many, patienceMs, seed: 99 });
    figures[`${many} paper servers booted s`] = round(rack.seconds);
    figures[`${many} paper servers not booted`] = rack.failed.length;
    figures[`${many} paper servers, the boot plane's CPU s`] = round(cpuSecondsOfAll(server.pid) - used);
    figures[`${many} paper servers, the boot plane's MB`] = Math.round(residentBytes(server.pid) / 1e6);
    await server.end();
    say(`${many} booted at once in ${rack.seconds.toFixed(1)} s, ${rack.failed.length} failed: ${rack.failed[0]?.why ?? "none"}`);
  } finally {
    wire.remove();
  }
  return {
    ratios: {},
    figures,
    table: [["paper servers (simulated)", "figure"], ...Object.entries(figures).map(([name, value]) => [name, String(value)])],
  };
}

async function begin(wire: Wire, count: number, dataDir = wire.directory): Promise<WiredBootProcess> {
  const server = await startBootProcess(wire, { interfaces: [PAPER_INTERFACE], dataDir });
  for (const { name, mac } of paperServers(count)) {
    const nonce = `${name}-nonce-0123456789abcdef`.slice(0, 40);
    const intent = { boot: "installer", nonce, authorizedKey: "ssh-ed25519 AAAAC3Nz", kernelArguments: [] } as const;
    await server.call("remember", { machine: name, macs: [mac], hostname: name, intent } satisfies BootRecord);
  }
  return server;
}

function round(value: number): number {
  return Number(value.toFixed(3));
}
