import type { Socket } from "node:dgram";
import type { Server as HttpServer } from "node:http";
import type { Server as HttpsServer } from "node:https";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import type { Logger, Metrics } from "../observe/index.ts";
import { parseIpv4, parseNetwork } from "../wire/index.ts";
import type { BootFiles } from "./boot-files.ts";
import type { Carrier } from "./carrier.ts";
import { createConflictProbe } from "./conflict-probe.ts";
import type { BootAssets, BootHttps, BootInterface, InstallerHello } from "./contract.ts";
import { type Addresses, createDhcp } from "./dhcp.ts";
import { serveDhcp } from "./dhcp-socket.ts";
import { createGrubFiles } from "./grub.ts";
import type { BodySender } from "./http-body.ts";
import { createBootHttp, createBootHttps } from "./http-server.ts";
import type { BootIdentity } from "./https.ts";
import type { Journal } from "./journal.ts";
import type { LeaseStore } from "./leases.ts";
import type { LoopGuard } from "./loop-guard.ts";
import { createDhcpMeter, createHttpMeter, meterAddresses, meterTftp, meterTransfers } from "./meters.ts";
import { mtuOf } from "./mtu.ts";
import type { Records } from "./records.ts";
import type { Refusals } from "./refusals.ts";
import type { Scripts } from "./script.ts";
import { listenHttp, type Sockets, streamSocket, udpSocket } from "./sockets.ts";
import { serveTftp, type TftpEnd } from "./tftp-server.ts";

export interface SegmentOptions {
  readonly at: BootInterface;
  readonly httpPort: number;
  readonly https?: BootHttps | undefined;
  /** What HTTPS is served with; present when `https` is. */
  readonly identity?: BootIdentity | undefined;
  readonly sockets: Sockets;
  readonly files: BootFiles;
  readonly carrier: Carrier;
  readonly bodies: BodySender;
  readonly assets: BootAssets;
  readonly programs: ReadonlyMap<string, string>;
  /** Why a shim would not run the installer's kernel. */
  readonly unsigned: string | undefined;
  readonly records: Records;
  readonly leases: LeaseStore;
  readonly guard: LoopGuard;
  /** NICs of known machines that have no address yet. */
  owed(): number;
  /** A known machine boots from here. */
  onBooting(hardware: string): void;
  readonly scripts: Scripts;
  readonly journal: Journal;
  readonly refusals: Refusals;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: Metrics | undefined;
  onHello(hello: InstallerHello, machine: string): void;
}

/** One provisioning interface with its DHCP, TFTP and HTTP servers. */
export interface Segment {
  readonly name: string;
  /** `http://10.77.0.1:8080` */
  readonly http: string;
  readonly book: Addresses;
  stop(): Promise<void>;
}

export async function createSegment(options: SegmentOptions): Promise<Segment> {
  const { at, sockets, records, journal, refusals, clock, log, metrics } = options;
  const address = at.address.split("/")[0] ?? "";
  const http = `http://${address}:${options.httpPort}`;
  const pair = at.conflictProbe ? streamSocket(`probe@${at.name}`, sockets.get(`probe@${at.name}`)) : undefined;
  const unprobed = () => refusals.count("dhcp: addresses are given without a conflict probe: its helper ended", { interface: at.name });
  const probe = pair && createConflictProbe(pair, clock, unprobed);
  const httpBoot = options.https?.httpBoot ? `https://${address}:${options.https.port}` : http;
  const dhcp = createDhcp({ ...options, probe, http, httpBoot, programs: new Set(options.programs.keys()), machines: records });
  const book = dhcp.addresses;
  const machineAt = (client: string) => records.ownerOf(book.macAt(parseIpv4(client) ?? 0) ?? "");
  const served = { ...options, machineAt, meter: metrics && createHttpMeter(metrics, at.name) };
  const web = createBootHttp(served);
  const secure = options.identity && createBootHttps(served, options.identity.current());

  const { dhcpSocket, bootsSocket, tftpSocket } = await openSockets(options, web, secure, dhcp.boots !== undefined).catch((error) => {
    probe?.stop();
    throw error;
  });
  if (secure) {
    options.identity?.follow(secure);
    secure.on("error", (error) => refusals.count("http: socket", { error: reasonOf(error) }));
  }
  // a connection that cannot be accepted, for want of descriptors say, must not end the daemon
  web.on("error", (error) => refusals.count("http: socket", { error: reasonOf(error) }));
  const { leases } = options;
  const meter = metrics && createDhcpMeter(metrics, at.name);
  const stopMeter = metrics && meterAddresses(metrics, at, () => dhcp.books.map(({ size }) => size));
  const stopDhcp = serveDhcp({ socket: dhcpSocket, server: dhcp.server, leases, refusals, name: at.name, meter });
  const stopBoots =
    dhcp.boots && bootsSocket && serveDhcp({ socket: bootsSocket, server: dhcp.boots, leases, refusals, name: `${at.name} (4011)`, meter });
  const network = parseNetwork(at.address);
  const tftp = serveTftp({
    ...options,
    socket: tftpSocket,
    address,
    grub: createGrubFiles({ ...options, address, http, machineAt }),
    mtu: (client) => mtuOf(at.name, network, parseIpv4(client)),
    onEnd: noteTransfer,
  });

  const stopTransfers = metrics && meterTransfers(metrics, at.name, () => tftp.active);

  function noteTransfer(transfer: TftpEnd): void {
    const machine = machineAt(transfer.peer)?.machine;
    const { what, how } = toldOf(transfer);
    const stage = transfer.file === "kernel" || transfer.file === "initrd" ? transfer.file : "tftp";
    if (machine) journal.add(machine, stage, `${transfer.file} ${how}`, { what, file: transfer.file });
    if (metrics) meterTftp(metrics, at.name, transfer);
    log.debug({ interface: at.name, ...transfer }, "TFTP transfer ended");
  }

  return {
    name: at.name,
    http,
    book,
    async stop() {
      meter?.stop();
      stopMeter?.();
      stopTransfers?.();
      tftp.stop();
      stopDhcp();
      stopBoots?.();
      probe?.stop();
      await Promise.all([
        closed(dhcpSocket),
        closed(tftpSocket),
        ...(bootsSocket ? [closed(bootsSocket)] : []),
        ...[web, secure].map((one) => one && new Promise((resolve) => one.close(resolve).closeAllConnections())),
      ]);
    },
  };
}

/** The sockets of one interface, all or none: one that stayed open would keep a daemon that cannot start. */
async function openSockets(
  { at, sockets }: Pick<SegmentOptions, "at" | "sockets">,
  web: HttpServer,
  secure: HttpsServer | undefined,
  boots: boolean,
) {
  const open: { close(): unknown }[] = [];
  const udp = async (service: string) => {
    const name = `${service}@${at.name}`;
    const socket = await udpSocket(name, sockets.get(name));
    open.push(socket);
    return socket;
  };
  const listen = async (server: HttpServer | HttpsServer, scheme: string) => {
    const name = `${scheme}@${at.name}`;
    await listenHttp(server, name, sockets.get(name));
    open.push(server);
  };
  try {
    const dhcpSocket = await udp("dhcp");
    const bootsSocket = boots ? await udp("pxe") : undefined;
    const tftpSocket = await udp("tftp");
    await listen(web, "http");
    if (secure) await listen(secure, "https");
    return { dhcpSocket, bootsSocket, tftpSocket };
  } catch (error) {
    for (const one of open) one.close();
    throw error;
  }
}

/** A transfer as people tell it. */
function toldOf({ end, why, bytes, seconds }: TftpEnd): { what: "fetched" | "sized" | "broken-off"; how: string } {
  switch (end) {
    case "done":
      return { what: "fetched", how: `fetched (${bytes} bytes in ${seconds.toFixed(1)} s)` };
    case "size-probe":
      return { what: "sized", how: "asked for its size" };
    case "unanswered":
      return {
        what: "broken-off",
        how: "not answered: UDP from other ports than 69 may be filtered on the way, or the server was switched off",
      };
    case "timed-out":
      return { what: "broken-off", how: `timed out after ${bytes} bytes` };
    default:
      return { what: "broken-off", how: `${end} after ${bytes} bytes${why ? `: ${why}` : ""}` };
  }
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.close(resolve));
}
