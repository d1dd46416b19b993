import type { Socket } from "node:dgram";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import { parseIpv4 } from "../wire/index.ts";
import { createConflictProbe } from "./conflict-probe.ts";
import type { BootAssets, BootInterface, InstallerHello } from "./contract.ts";
import { type Addresses, createDhcp } from "./dhcp.ts";
import { serveDhcp } from "./dhcp-socket.ts";
import { createBootHttp } from "./http-server.ts";
import type { Journal } from "./journal.ts";
import type { LeaseStore } from "./leases.ts";
import type { LoopGuard } from "./loop-guard.ts";
import type { Records } from "./records.ts";
import type { Refusals } from "./refusals.ts";
import type { Scripts } from "./script.ts";
import { listenHttp, type Sockets, streamSocket, udpSocket } from "./sockets.ts";
import { serveTftp } from "./tftp-server.ts";
import type { TransferEnd } from "./tftp-transfer.ts";

export interface SegmentOptions {
  readonly at: BootInterface;
  readonly httpPort: number;
  readonly sockets: Sockets;
  readonly assets: BootAssets;
  readonly programs: ReadonlyMap<string, string>;
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
  const { at, sockets, records, journal, refusals, clock, log } = options;
  const address = at.address.split("/")[0] ?? "";
  const http = `http://${address}:${options.httpPort}`;
  const pair = at.conflictProbe ? streamSocket(`probe@${at.name}`, sockets.get(`probe@${at.name}`)) : undefined;
  const probe = pair && createConflictProbe(pair, clock);
  const dhcp = createDhcp({ ...options, probe, http, programs: new Set(options.programs.keys()), machines: records });
  const book = dhcp.addresses;
  const web = createBootHttp(options);

  const dhcpSocket = await udpSocket(`dhcp@${at.name}`, sockets.get(`dhcp@${at.name}`));
  const bootsSocket = dhcp.boots && (await udpSocket(`pxe@${at.name}`, sockets.get(`pxe@${at.name}`)));
  const tftpSocket = await udpSocket(`tftp@${at.name}`, sockets.get(`tftp@${at.name}`) ?? { address, port: 69 });
  await listenHttp(web, `http@${at.name}`, sockets.get(`http@${at.name}`) ?? { address, port: options.httpPort });
  // a connection that cannot be accepted, for want of descriptors say, must not end the daemon
  web.on("error", (error) => refusals.count("http: socket", { error: reasonOf(error) }));
  const { leases } = options;
  const stopDhcp = serveDhcp({ socket: dhcpSocket, server: dhcp.server, leases, refusals, name: at.name });
  const stopBoots =
    dhcp.boots && bootsSocket && serveDhcp({ socket: bootsSocket, server: dhcp.boots, leases, refusals, name: `${at.name} (4011)` });
  const tftp = serveTftp({ socket: tftpSocket, address, programs: options.programs, clock, refusals, onEnd: noteTransfer });

  function noteTransfer(transfer: { file: string; peer: string; end: TransferEnd; bytes: number; seconds: number }): void {
    const record = records.byHardware(book.macAt(parseIpv4(transfer.peer) ?? 0) ?? "");
    const how =
      transfer.end === "done"
        ? `fetched (${transfer.bytes} bytes in ${transfer.seconds.toFixed(1)} s)`
        : transfer.end === "size-probe"
          ? "asked for its size"
          : transfer.end;
    const what = transfer.end === "done" ? "fetched" : transfer.end === "size-probe" ? "sized" : "broken-off";
    if (record) journal.add(record.machine, "tftp", `${transfer.file} ${how}`, { what, file: transfer.file });
    log.debug({ interface: at.name, ...transfer }, "TFTP transfer ended");
  }

  return {
    name: at.name,
    http,
    book,
    async stop() {
      tftp.stop();
      stopDhcp();
      stopBoots?.();
      pair?.destroy();
      await Promise.all([
        closed(dhcpSocket),
        closed(tftpSocket),
        ...(bootsSocket ? [closed(bootsSocket)] : []),
        new Promise((resolve) => web.close(resolve).closeAllConnections()),
      ]);
    },
  };
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.close(resolve));
}
