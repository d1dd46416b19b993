import { encodeTftp, type TftpPacket } from "../wire/index.ts";

/** What one transfer was asked to be: RFC 2348 (blksize), 2349 (timeout, tsize), 7440 (windowsize). */
export interface TransferOptions {
  readonly blockSize: number;
  readonly windowSize: number;
  readonly timeoutMs: number;
  readonly askedSize: boolean;
  /** What was asked and is granted; empty when no option was. */
  readonly granted: ReadonlyMap<string, string>;
}

/** What fits one Ethernet frame with IP, UDP and TFTP headers: fragments are what boot firmware is worst at. */
const LONGEST_BLOCK = 1468;
const LONGEST_WINDOW = 32;
const DEFAULT_TIMEOUT_S = 1;

/** Grants what is asked as far as it is sound; an option with an odd value is left out, which refuses it (RFC 2347). */
export function negotiate(asked: ReadonlyMap<string, string>, size: number): TransferOptions {
  const number = (name: string, least: number, most: number) => {
    const value = asked.get(name);
    return value !== undefined && /^\d{1,10}$/.test(value) && Number(value) >= least && Number(value) <= most ? Number(value) : undefined;
  };
  const blockSize = number("blksize", 8, 65_464);
  const windowSize = number("windowsize", 1, 65_535);
  const timeout = number("timeout", 1, 255);
  const askedSize = asked.has("tsize");
  const options = {
    blockSize: Math.min(blockSize ?? 512, LONGEST_BLOCK),
    windowSize: Math.min(windowSize ?? 1, LONGEST_WINDOW),
    timeoutMs: (timeout ?? DEFAULT_TIMEOUT_S) * 1000,
    askedSize,
  };
  const granted = new Map<string, string>();
  if (blockSize !== undefined) granted.set("blksize", String(options.blockSize));
  if (timeout !== undefined) granted.set("timeout", String(timeout));
  if (askedSize) granted.set("tsize", String(size));
  if (windowSize !== undefined) granted.set("windowsize", String(options.windowSize));
  return { ...options, granted };
}

export type TransferEnd = "done" | "size-probe" | "timed-out" | "aborted";

/** One file on its way, without socket or clock: what to send is a function of what came. */
export interface Transfer {
  begin(): readonly Uint8Array[];
  /** What to send now; `end` when it is over. */
  receive(packet: TftpPacket): { readonly send: readonly Uint8Array[]; readonly end?: TransferEnd };
  /** Nothing came for the time-out. */
  expire(): { readonly send: readonly Uint8Array[]; readonly end?: TransferEnd };
}

const TRIES = 6;
const QUIET = { send: [] };

export function createTransfer(file: Uint8Array, options: TransferOptions): Transfer {
  const { blockSize, windowSize } = options;
  // a file that fills its last block ends with an empty one (RFC 1350 §6)
  const last = Math.floor(file.length / blockSize) + 1;
  let acknowledged = options.granted.size > 0 ? -1 : 0;
  let sent = acknowledged;
  let tries = 0;
  let resentFor = -1;

  /** Everything from behind the last acknowledged block to the window's end. */
  function window(): Uint8Array[] {
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
    expire() {
      tries += 1;
      return tries >= TRIES ? { send: [], end: "timed-out" as const } : { send: window() };
    },
  };
}
