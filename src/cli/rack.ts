import { Command, InvalidArgumentError } from "commander";
import { readArtifacts } from "../config/artifacts.ts";
import { loadConfig } from "../config/index.ts";
import { bootPaperRack, type PaperRun, rackDown, rackPower, rackStatus, rackUp, readRack } from "../rack/index.ts";
import type { GlobalOptions } from "./options.ts";
import { table } from "./print.ts";

/** A rack without hardware: QEMU servers with firmware, disks, BMCs and simulated PCI GPUs on a network of their own. */
export function rackCommand(global: () => GlobalOptions): Command {
  const rack = new Command("rack").description("a virtual rack: QEMU servers with BMCs and simulated GPUs, on a private network");
  const withFile = (name: string, description: string) =>
    rack
      .command(name)
      .description(description)
      .option("-f, --file <file>", "the rack's description (YAML); default: one BIOS and one UEFI server");

  withFile("up", "make the network and the BMCs; the servers stay powered off").action(async (options) => {
    const artifacts = readArtifacts(loadConfig({ ...global(), env: process.env }).artifacts);
    const status = await rackUp(readRack(options.file), { ovmf: artifacts.ovmf, onStep: (line) => console.log(line) });
    console.log(statusTable(status));
  });
  withFile("down", "end its servers and remove all it made").action(async (options) => {
    await rackDown(readRack(options.file), { onStep: (line) => console.log(line) });
  });
  withFile("status", "its servers, their power and their BMCs")
    .option("-o, --output <form>", "json")
    .action(async (options) => {
      const status = await rackStatus(readRack(options.file));
      console.log(options.output === "json" ? JSON.stringify(status, null, 2) : statusTable(status));
    });
  withFile("power", "press a server's power button")
    .argument("<server>")
    .argument("<action>", "on, off, reset")
    .action(async (server: string, action: string, options) => {
      await rackPower(readRack(options.file), server, action);
    });
  rack
    .command("paper")
    .description("switch on SIMULATED servers in one process: they boot by DHCP, TFTP and HTTP to their installers' hello")
    .requiredOption("--server <address>", "the boot plane's address")
    .requiredOption("--relay <address>", "an address of this host on the servers' network; they ask through it, as through a switch")
    .option("--servers <count>", "how many", whole, 100)
    .option("--at-once <count>", "how many at the same time; all of them when absent", whole)
    .option("--lease-only", "only fetch a lease")
    .option("--loss <part>", "datagrams lost in each direction, 0 to 1", part, 0)
    .option("--duplicates <part>", "datagrams that come twice, 0 to 1", part, 0)
    .option("--delay <ms>", "milliseconds a datagram takes at most", whole, 0)
    .option("-o, --output <form>", "json")
    .addHelpText(
      "after",
      "\nThis host must take leased addresses for its own: ip route add local POOL dev lo, in a network namespace of its own.",
    )
    .action(async (options) => {
      const { relay, server, servers: count, atOnce, leaseOnly, loss, duplicates, delay: delayMs } = options;
      const run = await bootPaperRack({ relay, server, count, atOnce, leaseOnly, line: { loss, duplicates, delayMs } });
      console.log(options.output === "json" ? JSON.stringify(run, null, 2) : paperTable(run));
      if (run.failed.length > 0) process.exitCode = 1;
    });
  return rack;
}

function whole(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError("a whole number is wanted");
  return Number(text);
}

function part(text: string): number {
  const value = Number(text);
  if (text === "" || !(value >= 0 && value < 1)) throw new InvalidArgumentError("a number from 0 to below 1 is wanted");
  return value;
}

/** How many came how far, and when; then what the others show on their screens. */
function paperTable({ booted, failed, seconds }: PaperRun): string {
  const steps = [...new Set(booted.flatMap((boot) => Object.keys(boot.steps)))];
  const rows = steps.map((step) => {
    const times = booted.flatMap((boot) => boot.steps[step] ?? []).sort((a, b) => a - b);
    const at = (share: number) => `${((times[Math.floor((times.length - 1) * share)] ?? 0) / 1000).toFixed(2)} s`;
    return [step, String(times.length), at(0.5), at(0.99), at(1)];
  });
  const summary = `${booted.length} of ${booted.length + failed.length} simulated servers came to their end in ${seconds.toFixed(1)} s`;
  return [table(["STEP", "SERVERS", "HALF", "99 %", "ALL"], rows), summary, ...failed.slice(0, 20).map(({ why }) => `  ${why}`)].join("\n");
}

function statusTable(status: Awaited<ReturnType<typeof rackStatus>>): string {
  return table(
    ["SERVER", "POWER", "FIRMWARE", "BMC", "BOOT MAC", "CONSOLE"],
    status.servers.map((one) => [one.name, one.power, one.firmware, one.bmc, one.bootMAC, one.console]),
  );
}
