import { discoverFrom, machine, OWN, read, segment, selecting, text, type } from "../../src/boot/dhcp.fixture.ts";
import type { Outgoing, Peer } from "../../src/boot/dhcp-server.ts";
import { edk2Discover } from "../../src/wire/golden.fixture.ts";
import { encodeFrame, encodeTftp, type Frame, ipv4Text, MESSAGE, OPTION, parseFrame, parseTftp } from "../../src/wire/index.ts";
import { createBender } from "./boot-input.ts";
import { seeded } from "./random.ts";

export interface FuzzOptions {
  readonly seed: number;
  readonly inputs: number;
  /** Told now and then how many inputs are done; true ends it. */
  onProgress?(done: number): boolean;
}

export interface FuzzResult {
  readonly inputs: number;
  /** Datagrams that were read as frames or packets. */
  readonly understood: number;
  readonly answered: number;
  readonly refused: Readonly<Record<string, number>>;
}

/** An input that broke a rule: its bytes, so that it can become a test. */
export class Broken extends Error {
  constructor(rule: string, input: Uint8Array, cause?: unknown) {
    super(`${rule}: ${Buffer.from(input).toString("hex")}`, { cause });
  }
}

/** A good client's turn comes this often, and the servers are new ones. */
const GOOD_EVERY = 1024;
const FRESH_EVERY = 65_536;

/**
 * Bent datagrams through both codecs and through the answers of a DHCP server, a ProxyDHCP server and its port 4011. Throws
 * {@link Broken} at the first that throws, is read beyond its end, does not survive encoding, or gets an answer that no RFC allows.
 */
export function fuzzBoot({ seed, inputs, onProgress }: FuzzOptions): FuzzResult {
  const random = seeded(seed);
  const bender = createBender();
  const refused = new Map<string, number>();
  let servers = createServers();
  let understood = 0;
  let answered = 0;
  let done = 0;
  const retire = () => {
    for (const [reason, times] of servers.refused()) refused.set(reason, (refused.get(reason) ?? 0) + times);
  };

  for (; done < inputs; done++) {
    if (done % GOOD_EVERY === GOOD_EVERY - 1) {
      servers.serveGoodClient();
      if (onProgress?.(done)) break;
    }
    if (done % FRESH_EVERY === FRESH_EVERY - 1) {
      retire();
      servers = createServers();
    }
    if (random.below(4) === 0) {
      const input = bender.tftp(random);
      if (checkTftp(input, done % 8 === 0)) understood += 1;
      continue;
    }
    const input = bender.dhcp(random);
    const frame = checkDhcp(input, done % 8 === 0);
    if (typeof frame === "string") continue;
    understood += 1;
    if (servers.answer(input, frame, random.below(16))) answered += 1;
  }
  servers.serveGoodClient();
  retire();
  return { inputs: done, understood, answered, refused: Object.fromEntries([...refused].sort(([, a], [, b]) => b - a)) };
}

function checkTftp(input: Uint8Array, isOverreadTested: boolean): boolean {
  const packet = attempt("parseTftp throws", input, () => parseTftp(input));
  if (isOverreadTested) {
    const alone = attempt("parseTftp throws", input, () => parseTftp(Uint8Array.from(input)));
    if (shown(alone) !== shown(packet)) throw new Broken("TFTP read beyond the end", input);
  }
  if (typeof packet === "string") return false;
  // nobody sends one that grants nothing
  if (packet.kind === "optionAck" && packet.options.size === 0) return true;
  const again = attempt("encodeTftp throws", input, () => parseTftp(encodeTftp(packet)));
  // strings are netascii, which has seven bits: what else stands in them is read, and not written again
  const isText = packet.kind === "data" || packet.kind === "ack" || input.every((byte) => byte < 128);
  if (isText && shown(again) !== shown(packet)) throw new Broken("TFTP packet changed by encoding", input);
  return true;
}

function checkDhcp(input: Uint8Array, isOverreadTested: boolean): Frame | string {
  const frame = attempt("parseFrame throws", input, () => parseFrame(input));
  if (isOverreadTested) {
    // the buffer goes on behind the datagram: a copy that does not must read the same
    const alone = attempt("parseFrame throws", input, () => parseFrame(Uint8Array.from(input)));
    if (shown(alone) !== shown(frame)) throw new Broken("read beyond the end", input);
  }
  if (typeof frame === "string") return frame;
  const { bytes, dropped } = attempt("encodeFrame throws", input, () => encodeFrame(frame, 1472));
  const again = parseFrame(bytes);
  if (isOverreadTested && dropped.length === 0 && shown(again) !== shown(frame)) throw new Broken("frame changed by encoding", input);
  return frame;
}

function createServers() {
  const known = [
    machine,
    { ...machine, machine: "disk-1", macs: ["52:54:00:77:00:03"], hostname: "disk-1", intent: { boot: "disk" as const } },
  ];
  const subnets = [{ network: "10.78.0.0/24", pool: { from: "10.78.0.10", to: "10.78.0.200" }, relays: ["10.77.1.7"] }];
  const dhcp = segment({ known, at: { subnets } });
  const proxy = segment({ known, at: { mode: "auto-proxy" } });
  const from: readonly Peer[] = [
    { address: "0.0.0.0", port: 68 },
    { address: "10.77.0.20", port: 68 },
    { address: "10.77.0.5", port: 67 },
    { address: "192.0.2.1", port: 1024 },
  ];
  const servers = [
    { ...dhcp, answer: dhcp.dhcp.server.answer, gives: true },
    { ...proxy, answer: proxy.dhcp.server.answer, gives: false },
    { ...proxy, answer: proxy.dhcp.boots?.answer, gives: false },
  ];

  return {
    /** Whether anybody answered. */
    answer(input: Uint8Array, frame: Frame, choice: number): boolean {
      const server = servers[choice < 8 ? 0 : choice < 12 ? 1 : 2];
      const peer = from[choice % from.length];
      if (!server?.answer || !peer) throw new Error("no such server");
      const ask = server.answer;
      const outgoing = attempt("the answer throws", input, () => ask(input, peer));
      if (outgoing instanceof Promise) throw new Broken("an answer that waits, where nobody is asked", input);
      if (!outgoing) return false;
      const wrong = judge(outgoing, frame, peer, server.gives);
      if (wrong !== undefined) throw new Broken(wrong, input);
      return true;
    },
    /** Whatever came before, the next good client gets what it should. */
    serveGoodClient(): void {
      const offer = dhcp.ask(edk2Discover);
      const ack = dhcp.ask(selecting(edk2Discover, offer.frame.yourAddress));
      if (type(ack) !== MESSAGE.ack || text(ack.frame.file) !== "snponly.efi") throw new Error("a known machine is served wrongly");
      if (text(proxy.ask(edk2Discover).frame.file) !== "snponly.efi")
        throw new Error("a known machine is served wrongly beside a DHCP server");
      // strangers: the pool may be used up by then, and an answer be none
      dhcp.server.answer(discoverFrom("02:00:00:00:00:01"), { address: "0.0.0.0", port: 68 });
      dhcp.advance(600);
      proxy.advance(600);
    },
    refused: () => [...Object.entries(dhcp.refused()), ...Object.entries(proxy.refused())],
  };
}

/** What is wrong with an answer by the RFCs, if anything. */
function judge(outgoing: Outgoing, asked: Frame, peer: Peer, gives: boolean): string | undefined {
  const { frame, to } = read(outgoing);
  const { length } = outgoing.datagram;
  if (asked.op !== 1) return "a reply to a reply";
  if (frame.op !== 2) return "an answer that is no reply";
  if (length < 300 || length > 1472) return `an answer of ${length} bytes`;
  if (frame.transactionId !== asked.transactionId) return "another transaction";
  if (Buffer.compare(frame.hardwareAddress, asked.hardwareAddress) !== 0) return "another client's hardware address";
  if (frame.relayAddress !== asked.relayAddress) return "another relay";
  const kind = frame.options.get(OPTION.messageType)?.[0];
  if (kind !== MESSAGE.offer && kind !== MESSAGE.ack && kind !== MESSAGE.nak) return `an answer of type ${kind}`;
  if (!frame.options.has(OPTION.serverIdentifier)) return "an answer without its server (RFC 2131 table 3)";
  if ((kind === MESSAGE.nak || !gives) && frame.yourAddress !== 0) return "an address where none is given";
  if (gives && kind !== MESSAGE.nak && frame.yourAddress !== 0 && !isOurs(frame.yourAddress))
    return `somebody else's address ${ipv4Text(frame.yourAddress)}`;
  const allowed = ["255.255.255.255", peer.address, ipv4Text(asked.relayAddress), ipv4Text(asked.clientAddress)];
  if (!allowed.includes(to.address) || to.address === "0.0.0.0") return `sent to a stranger, ${to.address}`;
  return undefined;
}

const NETWORK = (OWN & 0xffffff00) >>> 0;
const BEHIND_RELAY = NETWORK + 0x10000;

function isOurs(address: number): boolean {
  const network = (address & 0xffffff00) >>> 0;
  const host = address & 255;
  return (network === NETWORK || network === BEHIND_RELAY) && host >= 10 && host <= 200;
}

function attempt<T>(rule: string, input: Uint8Array, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new Broken(rule, input, error);
  }
}

/** Frames and packets by value; the order of options is not part of their meaning. */
function shown(value: object | string): string {
  if (typeof value === "string") return value;
  return JSON.stringify(
    Object.entries(value).map(([key, inside]) => [
      key,
      inside instanceof Map ? [...inside].map(([name, one]) => [name, plain(one)]).sort(byKey) : plain(inside),
    ]),
  );
}

/** A Buffer and an array of the same bytes are the same. */
function plain(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
}

function byKey([a]: readonly unknown[], [b]: readonly unknown[]): number {
  return String(a) < String(b) ? -1 : 1;
}
