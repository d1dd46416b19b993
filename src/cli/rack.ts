import { Command } from "commander";
import { readArtifacts } from "../config/artifacts.ts";
import { loadConfig } from "../config/index.ts";
import { rackDown, rackPower, rackStatus, rackUp, readRack } from "../rack/index.ts";
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
  return rack;
}

function statusTable(status: Awaited<ReturnType<typeof rackStatus>>): string {
  return table(
    ["SERVER", "POWER", "FIRMWARE", "BMC", "BOOT MAC", "CONSOLE"],
    status.servers.map((one) => [one.name, one.power, one.firmware, one.bmc, one.bootMAC, one.console]),
  );
}
