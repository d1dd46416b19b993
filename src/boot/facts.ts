import { type Frame, hardwareText, hex, MESSAGE, OPTION, parseRelayInformation, type RelayInformation, readOption } from "../wire/index.ts";

/** What a boot request is, computed once. Every decision reads this and nothing else. */
export interface BootFacts {
  readonly kind: "ipxe" | "pxe" | "http" | "plain";
  readonly arch: Arch;
}

export type Arch = "bios" | "x64-uefi" | "arm64-uefi" | "unknown";

/** A DHCP request with its meaning: RFC 2131, RFC 3004 (77), RFC 4578 (93, 97), RFC 4390 (InfiniBand), RFC 3046 (82). */
export interface Request extends BootFacts {
  readonly frame: Frame;
  readonly type: number;
  /** The NIC, as text: a MAC, or for InfiniBand the port's GUID. */
  readonly hardware: string;
  /** Option 61 in hex: opaque, an RFC 4361 one as well. */
  readonly clientId: string | undefined;
  /** Option 60. */
  readonly vendorClass: string;
  /** The 16 bytes of option 97 in hex; not of a machine that has none. */
  readonly uuid: string | undefined;
  /** What option 82 says; undefined without one. */
  readonly relay: RelayInformation | undefined;
  readonly requestedAddress: number | undefined;
  /** Option 51: what the client would like. */
  readonly leaseSeconds: number | undefined;
  /** Option 54: the server the client chose. */
  readonly server: number | undefined;
  /** Option 55: the codes of the options it wants; empty where it does not say. */
  readonly asked: Uint8Array;
  /** Bytes of UDP payload the client takes. */
  readonly longest: number | undefined;
}

const IP_AND_UDP_HEADERS = 28;
const SHORTEST_MAXIMUM = 576;
const NOTHING = new Uint8Array();
/** RFC 4390. */
const INFINIBAND = 32;
const GUID_BYTES = 8;
/** All zeros or all ones is what a machine without a UUID sends. */
const NO_UUID = /^(0+|f+)$/;

export type NoRequest = "not-a-request" | "bootp" | "no-identity" | "message-type" | "relay-information";

/** Second step: meaning. A request of the server's port, or the reason why it is none. */
export function readRequest(frame: Frame): Request | NoRequest {
  if (frame.op !== 1) return "not-a-request";
  const type = frame.options.get(OPTION.messageType);
  if (!type) return "bootp";
  if (type.length !== 1 || type[0] === undefined || type[0] < MESSAGE.discover || type[0] > MESSAGE.inform) return "message-type";
  const hardware = hardwareOf(frame);
  if (hardware === undefined) return "no-identity";
  const agent = frame.options.get(OPTION.relayAgent);
  const relay = agent && parseRelayInformation(agent);
  if (agent && !relay) return "relay-information";
  const clientId = frame.options.get(OPTION.clientIdentifier);
  const longest = numberIn(frame, OPTION.maximumSize, 2);
  const vendorClass = textOf(frame, OPTION.vendorClass);
  return {
    kind: kindOf(frame, vendorClass),
    arch: archOf(frame),
    frame,
    type: type[0],
    hardware,
    clientId: clientId && clientId.length >= 2 ? hex(clientId) : undefined,
    vendorClass,
    uuid: uuidOf(frame),
    relay,
    requestedAddress: numberIn(frame, OPTION.requestedAddress, 4),
    leaseSeconds: numberIn(frame, OPTION.leaseSeconds, 4),
    server: numberIn(frame, OPTION.serverIdentifier, 4),
    asked: frame.options.get(OPTION.parameterList) ?? NOTHING,
    longest: longest !== undefined && longest >= SHORTEST_MAXIMUM ? longest - IP_AND_UDP_HEADERS : undefined,
  };
}

/** Which kind of client asks for what kind of machine. */
export function bootFacts(frame: Frame): BootFacts {
  return { kind: kindOf(frame, textOf(frame, OPTION.vendorClass)), arch: archOf(frame) };
}

function kindOf(frame: Frame, vendorClass: string): BootFacts["kind"] {
  if (frame.options.has(OPTION.ipxe) || isIpxe(textOf(frame, OPTION.userClass))) return "ipxe";
  if (vendorClass.startsWith("HTTPClient")) return "http";
  if (vendorClass.startsWith("PXEClient")) return "pxe";
  return "plain";
}

/** Plain, as iPXE sends it, or with its length in front, as RFC 3004 §4 wants it; gPXE is iPXE's elder. */
function isIpxe(userClass: string): boolean {
  const at = (userClass.charCodeAt(0) || 32) < 32 ? 1 : 0;
  return userClass.startsWith("iPXE", at) || userClass.startsWith("gPXE", at);
}

/** What people call such a client. */
export function clientName({ kind, arch }: BootFacts): string {
  const firmware = firmwares[arch];
  switch (kind) {
    case "ipxe":
      return `iPXE (${firmware})`;
    case "pxe":
      return `${firmware} PXE`;
    case "http":
      return `${firmware} HTTP Boot`;
    case "plain":
      return "a DHCP client";
  }
}

const firmwares = { bios: "BIOS", "x64-uefi": "UEFI", "arm64-uefi": "arm64 UEFI", unknown: "unknown" } as const;

// EDK2 sends 16 for x64 HTTP boot and 19 for arm64; 7 and 9 both mean x64 in the field (RFC 4578 and its errata)
const arches: Readonly<Record<number, Arch>> = {
  0: "bios",
  7: "x64-uefi",
  9: "x64-uefi",
  16: "x64-uefi",
  11: "arm64-uefi",
  19: "arm64-uefi",
};

/** Option 93 is a list (RFC 4578 §2.1): the first architecture that is known counts. */
function archOf(frame: Frame): Arch {
  const list = frame.options.get(OPTION.architecture);
  if (!list || list.length % 2 !== 0) return "unknown";
  for (let at = 0; at < list.length; at += 2) {
    const arch = arches[(list[at] ?? 0) * 256 + (list[at + 1] ?? 0)];
    if (arch) return arch;
  }
  return "unknown";
}

/** InfiniBand has no room for its address in chaddr (RFC 4390 §2.1): the client identifier ends in the port's GUID. */
function hardwareOf(frame: Frame): string | undefined {
  if (frame.hardwareType !== INFINIBAND && frame.hardwareAddress.length > 0) return hardwareText(frame.hardwareAddress);
  const clientId = frame.options.get(OPTION.clientIdentifier);
  return clientId && clientId.length >= GUID_BYTES ? hardwareText(clientId.subarray(-GUID_BYTES)) : undefined;
}

/** RFC 4578 §2.3: type 0 and a UUID. */
function uuidOf(frame: Frame): string | undefined {
  const bytes = frame.options.get(OPTION.machineIdentifier);
  if (bytes?.length !== 17 || bytes[0] !== 0) return undefined;
  const text = hex(bytes.subarray(1));
  return NO_UUID.test(text) ? undefined : text;
}

function textOf(frame: Frame, code: number): string {
  const bytes = frame.options.get(code);
  const value = bytes && readOption(code, bytes);
  return typeof value === "string" ? value : "";
}

function numberIn(frame: Frame, code: number, length: 2 | 4): number | undefined {
  const bytes = frame.options.get(code);
  if (bytes?.length !== length) return undefined;
  let number = 0;
  for (let at = 0; at < length; at++) number = number * 256 + (bytes[at] ?? 0);
  return number;
}
