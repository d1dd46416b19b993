/** Bech32 as age uses it for keys (BIP 173, without its limit of 90 letters). */
const ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const CHECKSUM = 6;

export function encodeBech32(prefix: string, bytes: Uint8Array): string {
  const values = regroup(bytes, 8, 5, true) ?? [];
  const sum = polymod([...expand(prefix), ...values, ...Array<number>(CHECKSUM).fill(0)]) ^ 1;
  const check = Array.from({ length: CHECKSUM }, (_, at) => (sum >>> (5 * (CHECKSUM - 1 - at))) & 31);
  return `${prefix}1${[...values, ...check].map((value) => ALPHABET[value]).join("")}`;
}

/** Undefined where the text is none, or mistyped. */
export function decodeBech32(text: string): { readonly prefix: string; readonly bytes: Uint8Array } | undefined {
  const lower = text.toLowerCase();
  if (text !== lower && text !== text.toUpperCase()) return undefined;
  const at = lower.lastIndexOf("1");
  if (at < 1 || lower.length - at - 1 < CHECKSUM) return undefined;
  const prefix = lower.slice(0, at);
  const values = [...lower.slice(at + 1)].map((letter) => ALPHABET.indexOf(letter));
  if (values.includes(-1) || polymod([...expand(prefix), ...values]) !== 1) return undefined;
  const bytes = regroup(values.slice(0, -CHECKSUM), 5, 8, false);
  return bytes && { prefix, bytes: Uint8Array.from(bytes) };
}

function expand(prefix: string): number[] {
  const codes = [...prefix].map((letter) => letter.charCodeAt(0));
  return [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)];
}

function polymod(values: readonly number[]): number {
  let sum = 1;
  for (const value of values) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ffffff) << 5) ^ value;
    for (const [bit, generator] of GENERATOR.entries()) if ((top >>> bit) & 1) sum ^= generator;
  }
  return sum >>> 0;
}

function regroup(values: Iterable<number>, from: number, to: number, pads: boolean): number[] | undefined {
  const out: number[] = [];
  let [held, bits] = [0, 0];
  for (const value of values) {
    held = ((held << from) | value) & 0xfff;
    bits += from;
    while (bits >= to) {
      bits -= to;
      out.push((held >>> bits) & ((1 << to) - 1));
    }
  }
  const rest = held & ((1 << bits) - 1);
  if (pads) return bits > 0 ? [...out, (rest << (to - bits)) & ((1 << to) - 1)] : out;
  return bits < from && rest === 0 ? out : undefined;
}
