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
  return digits(bytes, COLON);
}

export function hex(bytes: Uint8Array): string {
  return digits(bytes, undefined);
}

const COLON = 58;
const DIGITS = Buffer.from("0123456789abcdef");
const LONGEST_QUICK = 64;
const scratch = Buffer.alloc(LONGEST_QUICK * 3);

/** By way of bytes: a string put together from pieces is put together again wherever it is looked up. */
function digits(bytes: Uint8Array, between: number | undefined): string {
  const into = bytes.length <= LONGEST_QUICK ? scratch : Buffer.alloc(bytes.length * 3);
  let end = 0;
  for (let at = 0; at < bytes.length; at++) {
    const octet = bytes[at] ?? 0;
    if (between !== undefined && at > 0) into[end++] = between;
    into[end++] = DIGITS[octet >>> 4] ?? 0;
    into[end++] = DIGITS[octet & 15] ?? 0;
  }
  return into.toString("latin1", 0, end);
}
