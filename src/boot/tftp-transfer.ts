import { encodeTftp, type TftpPacket } from "../wire/index.ts";

/** What one transfer was asked to be: RFC 2348 (blksize), 2349 (timeout, tsize), 7440 (windowsize). */
export interface TransferOptions {
  readonly blockSize: number;
  readonly windowSize: number;
  readonly timeoutMs: number;
  /** The client asked for just this time-out (RFC 2349); else it follows the round trip. */
  readonly fixedTimeout: boolean;
  readonly askedSize: boolean;
  /** What was asked and is granted; empty when no option was. */
  readonly granted: ReadonlyMap<string, string>;
}

const IP_UDP_AND_TFTP_HEADERS = 32;
const LONGEST_WINDOW = 64;
const DEFAULT_TIMEOUT_S = 1;

/**
 * Grants what is asked as far as it is sound; an option with an odd value is left out, which refuses it (RFC 2347).
 * @param mtu of the way to the client: fragments are what boot firmware is worst at
 */
export function negotiate(asked: ReadonlyMap<string, string>, size: number, mtu = 1500): TransferOptions {
  const number = (name: string, least: number, most: number) => {
    const value = asked.get(name);
    return value !== undefined && /^\d{1,10}$/.test(value) && Number(value) >= least && Number(value) <= most ? Number(value) : undefined;
  };
  const blockSize = number("blksize", 8, 65_464);
  const windowSize = number("windowsize", 1, 65_535);
  const timeout = number("timeout", 1, 255);
  const askedSize = asked.has("tsize");
  const options = {
    blockSize: Math.min(blockSize ?? 512, mtu - IP_UDP_AND_TFTP_HEADERS),
    windowSize: Math.min(windowSize ?? 1, LONGEST_WINDOW),
    timeoutMs: (timeout ?? DEFAULT_TIMEOUT_S) * 1000,
    fixedTimeout: timeout !== undefined,
    askedSize,
  };
  const granted = new Map<string, string>();
  if (blockSize !== undefined) granted.set("blksize", String(options.blockSize));
  if (timeout !== undefined) granted.set("timeout", String(timeout));
  if (askedSize) granted.set("tsize", String(size));
  if (windowSize !== undefined) granted.set("windowsize", String(options.windowSize));
  return { ...options, granted };
}

/** `unanswered`: not even the first packet was acknowledged; `failed`: the file could not be read, or the helper ended. */
export type TransferEnd = "done" | "size-probe" | "timed-out" | "unanswered" | "aborted" | "cancelled" | "failed";

/** One file on its way, without socket or clock: what to send is a function of what came. */
export interface Transfer {
  begin(): readonly Uint8Array[];
  /** What to send now; `end` when it is over. */
  receive(packet: TftpPacket): { readonly send: readonly Uint8Array[]; readonly end?: TransferEnd };
  /** Bytes the client has acknowledged. */
  acknowledged(): number;
  /** How long the next answer is waited for, in milliseconds: as asked, or by the round trip, doubled at each try. */
  waitMs(): number;
  /** Nothing came for so long. */
  expire(): { readonly send: readonly Uint8Array[]; readonly end?: TransferEnd };
}

const TRIES = 6;
/** Once the round trip is known. Firmware that writes what it got is slower than the wire. */
const SHORTEST_WAIT_MS = 250;
const QUIET = { send: [] };

/** @param now milliseconds, for the round trip */
export function createTransfer(file: Uint8Array, options: TransferOptions, now: () => number): Transfer {
  const { blockSize, windowSize } = options;
  // a file that fills its last block ends with an empty one (RFC 1350 §6)
  const last = Math.floor(file.length / blockSize) + 1;
  let acknowledged = options.granted.size > 0 ? -1 : 0;
  let sent = acknowledged;
  let tries = 0;
  let resentFor = -1;
  let sentAt = 0;
  let roundTrip = 0;

  /** Everything from behind the last acknowledged block to the window's end. */
  function window(): Uint8Array[] {
    sentAt = now();
    if (acknowledged < 0) {
      sent = 0;
      return [encodeTftp({ kind: "optionAck", options: options.granted })];
    }
    sent = Math.min(acknowledged + windowSize, last);
    const packets: Uint8Array[] = [];
    for (let block = acknowledged + 1; block <= sent; block++) {
      // block numbers roll over to 0
      packets.push(encodeTftp({ kind: "data", block: block & 0xffff, data: file.subarray((block - 1) * blockSize, block * blockSize) }));
    }
    return packets;
  }

  function acknowledge(block: number) {
    const base = Math.max(acknowledged, 0);
    const ahead = (block - (base & 0xffff)) & 0xffff;
    if (acknowledged < 0 && block === 0) {
      acknowledged = 0;
    } else if (ahead === 0) {
      // a duplicate: answering it would double every packet to the end (RFC 1123 §4.2.3.1). With a window it can also mean that
      // the window's first block was lost (RFC 7440 §4): once is answered
      if (windowSize === 1 || acknowledged < 0 || resentFor === acknowledged) return QUIET;
      resentFor = acknowledged;
      return { send: window() };
    } else if (acknowledged < 0 || ahead > sent - base) {
      return QUIET;
    } else {
      acknowledged = base + ahead;
    }
    // Karn's rule: what was sent twice says nothing about the round trip
    if (tries === 0) roundTrip += (now() - sentAt - roundTrip) / 8;
    tries = 0;
    return acknowledged >= last ? { send: [], end: "done" as const } : { send: window() };
  }

  return {
    begin: window,
    receive(packet) {
      if (packet.kind === "ack") return acknowledge(packet.block);
      if (packet.kind === "error") {
        // EDK2 and BIOS ROMs ask for the size first and then end the transfer: no failure
        return { send: [], end: options.askedSize && acknowledged <= 0 ? ("size-probe" as const) : ("aborted" as const) };
      }
      return QUIET;
    },
    acknowledged: () => Math.min(Math.max(acknowledged, 0) * blockSize, file.length),
    waitMs() {
      if (options.fixedTimeout) return options.timeoutMs;
      if (roundTrip === 0) return options.timeoutMs * 2 ** Math.min(tries, 2);
      return Math.min(Math.max(8 * roundTrip, SHORTEST_WAIT_MS) * 2 ** tries, 4 * options.timeoutMs);
    },
    expire() {
      tries += 1;
      if (tries < TRIES) return { send: window() };
      return { send: [], end: acknowledged <= 0 ? ("unanswered" as const) : ("timed-out" as const) };
    },
  };
}
