import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BootEvent, type BootInterface, type BootRecord, netbootingFile, type Stage } from "../../src/boot/index.ts";
import type { Peers } from "../bench/peers.ts";
import { dhcpClients } from "./boot-clients.ts";
import { type Firmware, type PowerOn, powerOn, type VirtualServer } from "./boot-firmware.ts";
import { createTestNetwork, type TestNetwork } from "./boot-network.ts";
import { artifacts, type BootProcess, startBootPlane } from "./boot-process.ts";

export const SERVER = "10.77.0.1";
/** Of the network behind the relay. */
export const ROUTER = "10.78.0.254";

/** A boot plane on a network of its own, with machines it knows and clients that are not ours. */
export interface MatrixWorld {
  readonly network: TestNetwork;
  readonly plane: BootProcess;
  /** Kills the boot plane and starts another on what it left on its disk. */
  restart(): Promise<void>;
  readonly directory: string;
  readonly clients: ReturnType<typeof dhcpClients>;
  /** Makes the boot plane know a machine that shall boot the installer, or its disk. */
  machine(name: string, change?: Partial<BootRecord>): Promise<TestMachine>;
  /** Powers a virtual server on and waits until the boot plane saw it reach the stage, or its console said it. */
  boot(machine: TestMachine, firmware: Firmware, until: Stage | RegExp, options?: Partial<PowerOn>): Promise<Booted>;
  /** Another network, reached through a router that forwards and has a relay to start on it. */
  behindRelay(command: (near: string, far: string) => readonly string[], env?: Readonly<Record<string, string>>): void;
  timeline(machine: TestMachine): Promise<readonly BootEvent[]>;
  end(): Promise<void>;
}

export interface TestMachine {
  readonly name: string;
  readonly mac: string;
  readonly nonce: string;
  /** `http://10.77.0.1:8080/boot/NONCE` */
  readonly url: string;
}

export interface Booted {
  readonly seconds: number;
  readonly stages: readonly Stage[];
  readonly console: string;
}

let machines = 0;

/** @param peers where dhclient and dhcpcd are; the others of `clients` are this machine's own */
export async function createMatrixWorld(name: string, peers?: Peers, change: Partial<BootInterface> = {}): Promise<MatrixWorld> {
  const directory = mkdtempSync(join(tmpdir(), `ironwright-matrix-${name}-`));
  const network = createTestNetwork(`mx${name}`);
  network.bridge("prov0", `${SERVER}/24`);
  const at: BootInterface = {
    name: "prov0",
    address: `${SERVER}/24`,
    pool: { from: "10.77.0.10", to: "10.77.0.99" },
    mode: "reservation",
    router: SERVER,
    routerAdvertisements: true,
    ...change,
  };
  const assets = { pxeDir: artifacts.pxe, ...artifacts.installer };
  const start = () => startBootPlane(network.namespace, { interfaces: [at], httpPort: 8080, dataDir: directory }, assets);
  let plane = await start();
  const advertise = (bridge: string) => {
    if (!at.routerAdvertisements) return;
    network.start(network.namespace, [artifacts.native, "advertise", "--interface", bridge, "--allow", netbootingFile(directory)]);
  };
  advertise("prov0");
  const servers = new Set<VirtualServer>();

  const timeline = async (machine: TestMachine) => (await plane.call("timeline", machine.name)) as readonly BootEvent[];

  return {
    network,
    get plane() {
      return plane;
    },
    async restart() {
      await plane.kill();
      plane = await start();
    },
    directory,
    clients: dhcpClients(network, peers, directory),
    timeline,
    async machine(name, change = {}) {
      machines += 1;
      const mac = `52:54:00:77:01:${machines.toString(16).padStart(2, "0")}`;
      const nonce = `nonce-of-${name}-${"0".repeat(24)}`.slice(0, 40);
      const intent = {
        boot: "installer",
        nonce,
        authorizedKey: "ssh-ed25519 AAAAC3Nz",
        kernelArguments: ["console=ttyS0", "no_timer_check"],
      } as const;
      const record: BootRecord = { machine: name, macs: [mac], hostname: name, intent, ...change };
      await plane.call("remember", record);
      return { name, mac, nonce, url: `http://${SERVER}:8080/boot/${nonce}` };
    },
    async boot(machine, firmware, until, options = {}) {
      const began = Date.now();
      const server = powerOn({ network, bridge: "prov0", firmware, mac: machine.mac, directory, server: SERVER, ...options });
      servers.add(server);
      try {
        for (;;) {
          const stages = (await timeline(machine)).map(({ stage }) => stage);
          const seconds = (Date.now() - began) / 1000;
          if (until instanceof RegExp ? until.test(server.console()) : stages.includes(until))
            return { seconds, stages: [...new Set(stages)], console: server.console() };
          if (!server.running || seconds > 90) {
            const seen = (await timeline(machine)).map(({ stage, detail }) => `${stage}: ${detail}`);
            throw new Error(`no ${until} after ${seconds} s.\nSeen: ${seen.join("; ")}\nConsole: ${server.console().slice(-2000)}`);
          }
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
      } finally {
        await server.end();
        servers.delete(server);
      }
    },
    behindRelay(command, env) {
      network.bridge("far0");
      const router = network.plug("router", [
        { name: "near", bridge: "prov0", address: "10.77.0.5/24" },
        { name: "far", bridge: "far0", address: `${ROUTER}/24` },
      ]);
      network.sync(router, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
      network.sync(network.namespace, ["ip", "route", "add", "10.78.0.0/24", "via", "10.77.0.5"]);
      network.start(router, command("near", "far"), env);
      // a site's router advertises itself; this stands for it
      advertise("far0");
    },
    async end() {
      await Promise.all([...servers].map((server) => server.end()));
      await plane.end();
      await network.remove();
      rmSync(directory, { recursive: true });
    },
  };
}
