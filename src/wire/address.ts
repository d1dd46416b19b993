/** IPv4 addresses are numbers inside and text at the rim; hardware addresses are lower-case text with colons. */

export function ipv4Text(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** The number of a dotted address, or undefined when it is none. */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

export interface Network {
  /** The host's own address on it. */
  readonly own: number;
  readonly mask: number;
}

/** `10.77.0.1/24`: an address and the network it lies on. */
export function parseNetwork(text: string): Network | undefined {
  const [address = "", prefix = "", ...rest] = text.split("/");
  const own = parseIpv4(address);
  const bits = /^\d{1,2}$/.test(prefix) ? Number(prefix) : 33;
  if (own === undefined || bits > 32 || rest.length > 0) return undefined;
  return { own, mask: bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0 };
}

export function isOn(network: Network, address: number): boolean {
  return (address & network.mask) >>> 0 === (network.own & network.mask) >>> 0;
}

/** `52:54:00:77:00:01`, for hardware addresses of any length. */
export function hardwareText(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at++) text += (at === 0 ? "" : ":") + OCTETS[bytes[at] ?? 0];
  return text;
}

const OCTETS = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, "0"));

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
