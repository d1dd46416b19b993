import { type Frame, hardwareText, hex, MESSAGE, OPTION, readOption } from "../wire/index.ts";

/** What a boot request is, computed once. Every decision reads this and nothing else. */
export interface BootFacts {
  readonly kind: "ipxe" | "pxe" | "http" | "plain";
  readonly arch: Arch;
}

export type Arch = "bios" | "x64-uefi" | "arm64-uefi" | "unknown";

/** A DHCP request with its meaning: RFC 2131, RFC 3004 (77), RFC 4578 (93, 97), RFC 4390 (InfiniBand). */
export interface Request extends BootFacts {
  readonly frame: Frame;
  readonly type: number;
  /** The NIC, as text: a MAC, or for InfiniBand the port's GUID. */
  readonly hardware: string;
  /** Option 61 in hex. */
  readonly clientId: string | undefined;
  readonly requestedAddress: number | undefined;
  /** Option 54: the server the client chose. */
  readonly server: number | undefined;
  readonly asked: ReadonlySet<number>;
  /** Bytes of UDP payload the client takes. */
  readonly longest: number | undefined;
}

const IP_AND_UDP_HEADERS = 28;
const SHORTEST_MAXIMUM = 576;

/** Second step: meaning. A request of the server's port, or the reason why it is none. */
export function readRequest(frame: Frame): Request | "not-a-request" | "bootp" | "no-identity" | "message-type" {
  if (frame.op !== 1) return "not-a-request";
  const type = frame.options.get(OPTION.messageType);
  if (!type) return "bootp";
  if (type.length !== 1 || type[0] === undefined || type[0] < MESSAGE.discover || type[0] > MESSAGE.inform) return "message-type";
  const hardware = hardwareOf(frame);
  if (hardware === undefined) return "no-identity";
  const clientId = frame.options.get(OPTION.clientIdentifier);
  const longest = numberOf(frame, OPTION.maximumSize);
  return {
    ...bootFacts(frame),
    frame,
    type: type[0],
    hardware,
    clientId: clientId && clientId.length >= 2 ? hex(clientId) : undefined,
    requestedAddress: addressIn(frame, OPTION.requestedAddress),
    server: addressIn(frame, OPTION.serverIdentifier),
    asked: new Set(frame.options.get(OPTION.parameterList)),
    longest: longest !== undefined && longest >= SHORTEST_MAXIMUM ? longest - IP_AND_UDP_HEADERS : undefined,
  };
}

/** Which kind of client asks for what kind of machine. */
export function bootFacts(frame: Frame): BootFacts {
  const vendorClass = textOf(frame, OPTION.vendorClass);
  const arch = archOf(frame);
  if (textOf(frame, OPTION.userClass).startsWith("iPXE") || frame.options.has(OPTION.ipxe)) return { kind: "ipxe", arch };
  if (vendorClass.startsWith("HTTPClient")) return { kind: "http", arch };
  if (vendorClass.startsWith("PXEClient")) return { kind: "pxe", arch };
  return { kind: "plain", arch };
}

/** What people call such a client. */
export function clientName({ kind, arch }: BootFacts): string {
  const firmware = { bios: "BIOS", "x64-uefi": "UEFI", "arm64-uefi": "arm64 UEFI", unknown: "unknown" }[arch];
  return { ipxe: `iPXE (${firmware})`, pxe: `${firmware} PXE`, http: `${firmware} HTTP Boot`, plain: "a DHCP client" }[kind];
}

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
  const list = optionValue(frame, OPTION.architecture);
  if (!Array.isArray(list)) return "unknown";
  return list.map((code) => arches[Number(code)]).find((arch) => arch !== undefined) ?? "unknown";
}

/** InfiniBand has no room for its address in chaddr (RFC 4390 §2.1): the client identifier ends in the port's GUID. */
function hardwareOf(frame: Frame): string | undefined {
  if (frame.hardwareAddress.length > 0) return hardwareText(frame.hardwareAddress);
  const clientId = frame.options.get(OPTION.clientIdentifier);
  return clientId && clientId.length >= 8 ? hardwareText(clientId.subarray(-8)) : undefined;
}

function optionValue(frame: Frame, code: number) {
  const bytes = frame.options.get(code);
  return bytes && readOption(code, bytes);
}

function numberOf(frame: Frame, code: number): number | undefined {
  const value = optionValue(frame, code);
  return typeof value === "number" ? value : undefined;
}

function textOf(frame: Frame, code: number): string {
  const value = optionValue(frame, code);
  return typeof value === "string" ? value : "";
}

function addressIn(frame: Frame, code: number): number | undefined {
  const bytes = frame.options.get(code);
  return bytes?.length === 4 ? Buffer.from(bytes).readUInt32BE(0) : undefined;
}
