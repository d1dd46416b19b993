import { pino } from "pino";
import type { Clock } from "../core/clock.ts";
import { encodeFrame, type Frame, ipv4Text, MESSAGE, OPTION, parseFrame, parseIpv4, writeOption } from "../wire/index.ts";
import type { ConflictProbe } from "./conflict-probe.ts";
import type { BootInterface, BootRecord } from "./contract.ts";
import { createDhcp } from "./dhcp.ts";
import type { DhcpServer, Outgoing, Peer } from "./dhcp-server.ts";
import { createJournal } from "./journal.ts";
import { createMemoryLeases, type LeaseStore } from "./leases.ts";
import { createLoopGuard } from "./loop-guard.ts";
import { createOwed } from "./owed.ts";
import { createRefusals } from "./refusals.ts";

export const OWN = address("10.77.0.1");
export const peer: Peer = { address: "0.0.0.0", port: 68 };
export const machine: BootRecord = {
  machine: "uefi-1",
  macs: ["52:54:00:77:00:02"],
  hostname: "uefi-1",
  intent: { boot: "installer", nonce: "0123456789abcdefghijkl", authorizedKey: "ssh-ed25519 AAAA", kernelArguments: [] },
};

export interface SegmentFixture {
  readonly known?: readonly BootRecord[];
  readonly pool?: [string, string];
  readonly at?: Partial<BootInterface>;
  readonly store?: LeaseStore;
  readonly probe?: ConflictProbe;
  readonly programs?: readonly string[];
}

/** One interface's DHCP server on a clock that the test moves. */
export function segment(options: SegmentFixture) {
  const known = options.known ?? [];
  const [from, to] = options.pool ?? ["10.77.0.10", "10.77.0.200"];
  const byHardware = new Map(known.flatMap((record) => record.macs.map((mac) => [mac, record])));
  const byMachine = new Map(known.map((record) => [record.machine, record]));
  let now = Date.parse("2026-01-01T00:00:00Z");
  const clock: Clock = { now: () => new Date(now), sleep: () => Promise.resolve() };
  const store = options.store ?? createMemoryLeases();
  const refusals = createRefusals(pino({ level: "silent" }), clock);
  const journal = createJournal(clock);
  const booting: string[] = [];
  const recognised: [hardware: string, machine: string][] = [];
  const owed = createOwed({ clock, machines: () => known, addressOf: (mac) => dhcp.addresses.addressOf(mac) });
  const isProxy = options.at?.mode === "proxy" || options.at?.mode === "auto-proxy";
  const dhcp = createDhcp({
    at: {
      name: "prov0",
      address: "10.77.0.1/24",
      mode: "reservation",
      routerAdvertisements: false,
      ...(isProxy ? {} : { pool: { from, to } }),
      ...options.at,
    },
    http: "http://10.77.0.1:8080",
    httpBoot: "http://10.77.0.1:8080",
    programs: new Set(options.programs ?? ["undionly.kpxe", "snponly.efi"]),
    machines: {
      byHardware: (hardware) => byHardware.get(hardware),
      byMachine: (name) => byMachine.get(name),
      recognise: (hardware, name) => void recognised.push([hardware, name]),
    },
    owed,
    onBooting: (hardware) => void booting.push(hardware),
    guard: createLoopGuard(clock),
    probe: options.probe,
    leases: store,
    journal,
    refusals,
    clock,
  });
  const ask = (datagram: Uint8Array, from: Peer = peer) => read(atOnce(dhcp.server.answer(datagram, from)));
  const advance = (seconds: number) => {
    now += seconds * 1000;
  };
  return { dhcp, server: dhcp.server, ask, store, owed, journal, advance, booting, recognised, refused: () => refusals.all() };
}

/** An answer that needed no waiting. */
export function atOnce(answer: ReturnType<DhcpServer["answer"]>): Outgoing | undefined {
  if (answer instanceof Promise) throw new Error("the answer is to be waited for");
  return answer;
}

export function read(outgoing: Outgoing | undefined): { frame: Frame; to: Peer } {
  const frame = outgoing && parseFrame(outgoing.datagram);
  if (!outgoing || !frame || typeof frame === "string") throw new Error("no answer");
  return { frame, to: outgoing.to };
}

export function type({ frame }: { frame: Frame }): number | undefined {
  return frame.options.get(OPTION.messageType)?.[0];
}

/** A REQUEST that takes this server's offer. */
export function selecting(discover: Uint8Array, offered: number, fields: Partial<Frame> = {}): Uint8Array {
  return edit(
    discover,
    {
      [OPTION.messageType]: Uint8Array.of(MESSAGE.request),
      [OPTION.requestedAddress]: bytes(offered),
      [OPTION.serverIdentifier]: bytes(OWN),
    },
    fields,
  );
}

export function edit(datagram: Uint8Array, options: Record<number, Uint8Array>, fields: Partial<Frame> = {}): Uint8Array {
  const frame = parseFrame(datagram);
  if (typeof frame === "string") throw new Error(frame);
  const edited = Object.entries(options).map(([code, value]) => [Number(code), value] as const);
  return encodeFrame({ ...frame, ...fields, options: new Map([...frame.options, ...edited]) }, 1472).bytes;
}

/** A plain client's, without an option but its type. */
export function discoverFrom(mac: string, options: Record<number, Uint8Array> = {}, fields: Partial<Frame> = {}): Uint8Array {
  const given = Object.entries(options).map(([code, value]): [number, Uint8Array] => [Number(code), value]);
  const type: [number, Uint8Array] = [OPTION.messageType, Uint8Array.of(MESSAGE.discover)];
  return encodeFrame({
    op: 1,
    hardwareType: 1,
    hardwareAddress: Buffer.from(mac.replaceAll(":", ""), "hex"),
    hops: 0,
    transactionId: 0xff7ab416,
    seconds: 0,
    flags: 0x8000,
    clientAddress: 0,
    yourAddress: 0,
    serverAddress: 0,
    relayAddress: 0,
    serverName: new Uint8Array(),
    file: new Uint8Array(),
    ...fields,
    options: new Map([type, ...given]),
  }).bytes;
}

export function bytes(at: number): Uint8Array {
  return writeOption(OPTION.requestedAddress, ipv4Text(at)) ?? new Uint8Array();
}

export function address(text: string): number {
  return parseIpv4(text) ?? 0;
}

export function text(value: Uint8Array | undefined): string {
  return Buffer.from(value ?? []).toString("latin1");
}
