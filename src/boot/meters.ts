import type { IncomingMessage, ServerResponse } from "node:http";
import type { Metrics } from "../observe/index.ts";
import { MESSAGE, OPTION, parseIpv4 } from "../wire/index.ts";
import type { AddressBook } from "./addresses.ts";
import type { BootInterface } from "./contract.ts";
import type { LeaseStore } from "./leases.ts";
import type { TftpEnd } from "./tftp-server.ts";

/** Counts what passes one interface's DHCP socket; on the way of every packet, so the counting is one addition until it is read off. */
export interface DhcpMeter {
  /** @returns when, for {@link sent} */
  received(datagram: Uint8Array): number;
  sent(datagram: Uint8Array, receivedAt: number): void;
  stop(): void;
}

const OPTIONS_AT = 240;
const typeNames = Object.entries(MESSAGE);

export function createDhcpMeter(metrics: Metrics, name: string, now: () => number = () => performance.now()): DhcpMeter {
  /** By message type, since the last scrape. */
  const received = new Float64Array(256);
  const sent = new Float64Array(256);
  const took = metrics.dhcpAnswerSeconds.labels({ interface: name });
  const stop = metrics.onScrape(() => {
    for (const [type, code] of typeNames) {
      metrics.dhcpReceived.inc({ interface: name, type }, received[code]);
      metrics.dhcpSent.inc({ interface: name, type }, sent[code]);
    }
    received.fill(0);
    sent.fill(0);
  });
  return {
    received(datagram) {
      const type = messageType(datagram);
      received[type] = (received[type] ?? 0) + 1;
      return now();
    },
    sent(datagram, receivedAt) {
      const type = messageType(datagram);
      sent[type] = (sent[type] ?? 0) + 1;
      took.observe((now() - receivedAt) / 1000);
    },
    stop,
  };
}

/** Option 53, or 0 where there is none before the end: RFC 2132 §9.6. Nearly everybody puts it first. */
export function messageType(datagram: Uint8Array): number {
  for (let at = OPTIONS_AT; at + 2 < datagram.length; ) {
    const code = datagram[at];
    if (code === OPTION.messageType) return datagram[at + 2] ?? 0;
    if (code === 255) return 0;
    at += code === 0 ? 1 : 2 + (datagram[at + 1] ?? 0);
  }
  return 0;
}

type Size = AddressBook["size"];

/** How full the addresses of an interface are, read off at each scrape. Returns how to end that. */
export function meterAddresses(metrics: Metrics, at: BootInterface, sizes: () => readonly Size[]): () => void {
  const name = at.name;
  const ranges = [at, ...(at.subnets ?? [])].flatMap(({ pool, bmc }) => [pool ?? [], bmc?.pool ?? []].flat());
  const addresses = ranges.reduce((sum, { from, to }) => sum + (parseIpv4(to) ?? 0) - (parseIpv4(from) ?? 0) + 1, 0);
  const total = (what: keyof Size) => sizes().reduce((sum, size) => sum + size[what], 0);
  return metrics.onScrape(() => {
    metrics.leases.set({ interface: name, state: "leased" }, total("leases"));
    metrics.leases.set({ interface: name, state: "offered" }, total("offers"));
    metrics.poolFree.set({ interface: name }, total("free"));
    metrics.poolAddresses.set({ interface: name }, addresses);
  });
}

/** How many changes of leases went to disk with one sync. */
export function meterCommits(metrics: Metrics, leases: LeaseStore): void {
  let before = leases.synced;
  leases.onSync((error) => {
    if (error || leases.synced === before) return;
    metrics.leaseCommitSize.observe(leases.synced - before);
    before = leases.synced;
  });
}

/** Returns how to end the reading off. */
export function meterTransfers(metrics: Metrics, name: string, active: () => number): () => void {
  return metrics.onScrape(() => metrics.tftpActive.set({ interface: name }, active()));
}

export function meterTftp(metrics: Metrics, name: string, { end, bytes }: TftpEnd): void {
  metrics.tftpTransfers.inc({ interface: name, end });
  metrics.tftpBytes.inc({ interface: name }, bytes);
}

/** Counts the answers of one interface's HTTP server. */
export interface HttpMeter {
  began(request: IncomingMessage, response: ServerResponse): void;
  sent(bytes: number): void;
}

/** By what was asked for, never by its nonce or name: the URL is the client's to choose. */
export function createHttpMeter(metrics: Metrics, name: string): HttpMeter {
  const active = metrics.httpActive.labels({ interface: name });
  return {
    began(request, response) {
      active.inc();
      response.once("close", () => {
        active.dec();
        metrics.httpResponses.inc({ interface: name, asset: assetOf(request.url ?? ""), code: String(response.statusCode) });
      });
    },
    sent: (bytes) => metrics.httpBytes.inc({ interface: name }, bytes),
  };
}

const assets = new Map([
  ["script.ipxe", "script"],
  ["kernel", "kernel"],
  ["initrd", "initrd"],
  ["authorized_keys", "key"],
  ["hello", "hello"],
]);

export function assetOf(url: string): string {
  const [, kind, , ...rest] = (url.split("?")[0] ?? "").split("/");
  if (kind === "exit") return "exit";
  if (kind !== "boot") return "none";
  if (rest[0] === "files") return "file";
  return assets.get(rest.join("/")) ?? (/\.(efi|kpxe|pxe)$/.test(rest.at(-1) ?? "") ? "program" : "none");
}
