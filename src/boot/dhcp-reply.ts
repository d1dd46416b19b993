import { classlessRoutes, encodeFrame, MESSAGE, OPTION, type OptionValue, type Route, writeOption } from "../wire/index.ts";
import type { BootAnswer } from "./answer.ts";
import type { Request } from "./facts.ts";

export interface ReplyFacts {
  readonly type: number;
  /** The server's identifier: its own address, or what the relay wants it to be called (RFC 5107). */
  readonly server: number;
  /** Where boot programs are fetched from: the daemon's own address. */
  readonly next: number;
  readonly answer?: BootAnswer;
  /** What the network is like. Absent in a NAK, and from a ProxyDHCP server, which gives no addresses. */
  readonly network?: { readonly mask: number; readonly router: number | undefined; readonly routes: readonly Route[] };
  /** Absent in a NAK and in the answer to an INFORM (RFC 2131 §4.3.5). */
  readonly lease?: { readonly address: number; readonly seconds: number } | undefined;
  readonly hostname?: string | undefined;
  /** Options of the configuration; what the answer itself needs wins. */
  readonly given?: ReadonlyMap<number, Uint8Array>;
  /** Why not, in a NAK. */
  readonly message?: string;
  /** From a ProxyDHCP server: it says by option 60 that it is one. */
  readonly isProxy?: boolean;
}

/** What of a reply's `file` field a boot ROM reads, less its zero. */
const LONGEST_FILE = 127;

/** iPXE's option 176 inside 175: do not wait for a ProxyDHCP server. */
const IPXE_NO_PROXY = Uint8Array.of(176, 1, 1);

const PXE = { discoveryControl: 6, bootMenu: 9, menuPrompt: 10, bootItem: 71, end: 255 } as const;
/** Bit 3: the boot file is in this very message; neither menu nor prompt nor discovery. */
const BOOT_FROM_HERE = Uint8Array.of(PXE.discoveryControl, 1, 0b1000, PXE.end);
/**
 * PXE 2.1 §2.2: a menu of one item, chosen at once, of type 0: "local boot". Firmware ends its network boot after the lease and goes
 * on to its next boot device; without this EDK2 asks four times for a boot file, which takes it a minute.
 */
const TEXT = Buffer.from("Local disk");
const LOCAL_BOOT = Uint8Array.of(
  ...[PXE.discoveryControl, 1, 0b0011],
  ...[PXE.bootMenu, 3 + TEXT.length, 0, 0, TEXT.length, ...TEXT],
  ...[PXE.menuPrompt, 1 + TEXT.length, 0, ...TEXT],
  PXE.end,
);

/** The bytes of an OFFER, ACK or NAK: fields and options by RFC 2131 table 3. */
export function reply(request: Request, facts: ReplyFacts): Uint8Array {
  const { frame } = request;
  const isNak = facts.type === MESSAGE.nak;
  const boot = isNak ? undefined : bootFile(request, facts.answer);
  const inField = boot !== undefined && boot.length <= LONGEST_FILE;
  return encodeFrame(
    {
      op: 2,
      hardwareType: frame.hardwareType,
      hardwareAddress: frame.hardwareAddress,
      hops: 0,
      transactionId: frame.transactionId,
      seconds: 0,
      // a relay must broadcast a NAK: RFC 2131 §4.3.2
      flags: isNak && frame.relayAddress !== 0 ? frame.flags | 0x8000 : frame.flags,
      clientAddress: facts.type === MESSAGE.ack ? frame.clientAddress : 0,
      yourAddress: facts.lease?.address ?? 0,
      serverAddress: isNak ? 0 : facts.next,
      relayAddress: frame.relayAddress,
      serverName: NOTHING,
      file: inField ? Buffer.from(boot, "latin1") : NOTHING,
      options: optionsOf(request, facts, boot, inField),
    },
    request.longest,
  ).bytes;
}

const NOTHING = new Uint8Array();

function optionsOf(request: Request, facts: ReplyFacts, boot: string | undefined, inField: boolean): Map<number, Uint8Array> {
  const { frame, asked } = request;
  const { lease, network, answer } = facts;
  const options = new Map<number, Uint8Array>();
  const write = (code: number, value: OptionValue | undefined) => {
    const bytes = value === undefined ? undefined : writeOption(code, value);
    if (bytes) options.set(code, bytes);
  };
  const echo = (code: number) => {
    const bytes = frame.options.get(code);
    if (bytes) options.set(code, bytes);
  };

  options.set(OPTION.messageType, messageType(facts.type));
  options.set(OPTION.serverIdentifier, number(facts.server));
  if (facts.type === MESSAGE.nak) {
    write(OPTION.message, facts.message);
  } else {
    if (lease) {
      options.set(OPTION.leaseSeconds, number(lease.seconds));
      options.set(OPTION.renewalSeconds, number(Math.floor(lease.seconds / 2)));
      options.set(OPTION.rebindingSeconds, number(Math.floor((lease.seconds * 7) / 8)));
    }
    if (network) {
      options.set(OPTION.subnetMask, number(network.mask));
      if (network.router !== undefined) options.set(OPTION.router, number(network.router));
      // RFC 3442: who takes this option disregards the one before, so the default route is in it as well
      if (network.routes.length > 0 && asked.includes(OPTION.classlessRoutes))
        options.set(OPTION.classlessRoutes, classlessRoutes(network.routes));
    }
    write(OPTION.hostname, facts.hostname);
    for (const [code, bytes] of facts.given ?? []) if (code !== OPTION.hostname || !facts.hostname) options.set(code, bytes);
    if (boot !== undefined && (!inField || asked.includes(OPTION.bootFile))) write(OPTION.bootFile, boot);
    if (answer?.boot === "tftp" && asked.includes(OPTION.tftpServer)) write(OPTION.tftpServer, dotted(facts.next));
    if (request.kind === "ipxe") options.set(OPTION.ipxe, IPXE_NO_PROXY);
    // UEFI HTTP Boot takes an offer for its own only when it says so
    if (request.kind === "http" && boot !== undefined) write(OPTION.vendorClass, "HTTPClient");
    if (request.kind === "pxe" || (facts.isProxy && request.kind === "ipxe")) pxe(request, facts, boot, options);
    if (request.kind === "pxe") echo(OPTION.machineIdentifier);
  }
  // RFC 6842; RFC 3046 §2.2
  echo(OPTION.clientIdentifier);
  echo(OPTION.relayAgent);
  return options;
}

/**
 * Options 60 and 43, which a PXE client takes as "this server boots you". A full server leaves them out when it has a boot file: some
 * firmware would then go on to port 4011 for what it has been told already.
 */
function pxe(request: Request, facts: ReplyFacts, boot: string | undefined, options: Map<number, Uint8Array>): void {
  const isLocal = facts.answer?.boot === "local";
  if (!isLocal && !facts.isProxy) return;
  options.set(OPTION.vendorClass, PXE_CLIENT);
  if (isLocal) options.set(OPTION.vendorSpecific, LOCAL_BOOT);
  else if (boot !== undefined) options.set(OPTION.vendorSpecific, withBootItem(request));
}

const PXE_CLIENT = Buffer.from("PXEClient");

/** A client that chose from a menu names its choice (tag 71) and wants it back: PXE 2.1 §2.4.5. */
function withBootItem(request: Request): Uint8Array {
  const sent = request.frame.options.get(OPTION.vendorSpecific) ?? NOTHING;
  for (let at = 0; at + 1 < sent.length && sent[at] !== PXE.end; at += sent[at] === 0 ? 1 : 2 + (sent[at + 1] ?? 0)) {
    if (sent[at] === PXE.bootItem && sent[at + 1] === 4 && at + 6 <= sent.length) {
      return Uint8Array.of(...BOOT_FROM_HERE.subarray(0, -1), ...sent.subarray(at, at + 6), PXE.end);
    }
  }
  return BOOT_FROM_HERE;
}

function bootFile(request: Request, answer: BootAnswer | undefined): string | undefined {
  switch (answer?.boot) {
    case "tftp":
      return answer.file;
    case "http":
    case "script":
      return answer.url;
    case "local":
      return request.kind === "http" ? answer.url : undefined;
    default:
      return undefined;
  }
}

/** Masks, routers and times are few; what is read off here is never written to. */
const numbers = new Map<number, Uint8Array>();
const MOST_NUMBERS = 256;

function number(value: number): Uint8Array {
  const known = numbers.get(value);
  if (known) return known;
  const bytes = Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
  if (numbers.size < MOST_NUMBERS) numbers.set(value, bytes);
  return bytes;
}

const types = Object.values(MESSAGE).map((type) => Uint8Array.of(type));

function messageType(type: number): Uint8Array {
  return types[type - 1] ?? Uint8Array.of(type);
}

function dotted(address: number): string {
  return number(address).join(".");
}
