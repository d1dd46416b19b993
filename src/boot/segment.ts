import type { Socket } from "node:dgram";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import { ipv4Text, parseIpv4, parseNetwork } from "../wire/index.ts";
import { type AddressBook, createAddressBook } from "./addresses.ts";
import type { BootAssets, BootInterface, InstallerHello } from "./contract.ts";
import { createDhcpServer } from "./dhcp-server.ts";
import { serveDhcp } from "./dhcp-socket.ts";
import { createBootHttp } from "./http-server.ts";
import type { Journal } from "./journal.ts";
import type { LeaseStore } from "./leases.ts";
import type { Records } from "./records.ts";
import type { Refusals } from "./refusals.ts";
import type { Scripts } from "./script.ts";
import { listenHttp, type Sockets, udpSocket } from "./sockets.ts";
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
  readonly book: AddressBook;
  stop(): Promise<void>;
}

export async function createSegment(options: SegmentOptions): Promise<Segment> {
  const { at, sockets, records, journal, refusals, clock, log } = options;
  const network = parseNetwork(at.address);
  const pools = [at.pool ?? []].flat().map(({ from, to }) => ({ from: parseIpv4(from) ?? -1, to: parseIpv4(to) ?? -1 }));
  if (!network || pools.some(({ from, to }) => from < 0 || to < 0)) {
    throw new IronwrightError("IRW_CONFIG_INVALID", {
      source: `boot.interfaces (${at.name})`,
      problems: "address or pool is not an IPv4 address",
    });
  }
  const address = ipv4Text(network.own);
  const http = `http://${address}:${options.httpPort}`;
  const isReserved = (mac: string) => records.byHardware(mac) !== undefined;
  const book = createAddressBook({ network, pools, store: options.leases, clock, isReserved });
  const dhcp = createDhcpServer({
    network,
    router: at.router === undefined ? undefined : parseIpv4(at.router),
    book,
    http,
    programs: new Set(options.programs.keys()),
    machineOf: (hardware) => records.byHardware(hardware),
    journal,
    refusals,
  });
  const web = createBootHttp(options);

  const dhcpSocket = await udpSocket(`dhcp@${at.name}`, sockets.get(`dhcp@${at.name}`));
  const tftpSocket = await udpSocket(`tftp@${at.name}`, sockets.get(`tftp@${at.name}`) ?? { address, port: 69 });
  await listenHttp(web, `http@${at.name}`, sockets.get(`http@${at.name}`) ?? { address, port: options.httpPort });
  // a connection that cannot be accepted, for want of descriptors say, must not end the daemon
  web.on("error", (error) => refusals.count("http: socket", { error: reasonOf(error) }));
  const stopDhcp = serveDhcp({ socket: dhcpSocket, server: dhcp, leases: options.leases, refusals, name: at.name });
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
      await Promise.all([closed(dhcpSocket), closed(tftpSocket), new Promise((resolve) => web.close(resolve).closeAllConnections())]);
    },
  };
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.close(resolve));
}
