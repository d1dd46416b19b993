import optionTable from "dhcp/lib/options.js";
import SeqBuffer from "dhcp/lib/seqbuffer.js";

/**
 * The `dhcp` package's option table and value readers, one option at a time. Its packet parser is not used: it skips a byte
 * after each pad option, refuses hardware other than Ethernet and lets an unknown option in a parameter list end the process.
 */

export type OptionValue = string | number | boolean | readonly string[] | readonly number[];

/** Options the package's table lacks, in its own vocabulary of types. */
const lacking: Readonly<Record<number, { name: string; type: string }>> = {
  43: { name: "Vendor Specific Information", type: "Hex" },
  61: { name: "Client-Identifier", type: "Hex" },
  77: { name: "User Class", type: "ASCII" },
  82: { name: "Relay Agent Information", type: "Hex" },
  93: { name: "Client System Architecture", type: "UInt16s" },
  94: { name: "Client Network Interface", type: "UInt8s" },
  97: { name: "Client Machine Identifier", type: "Hex" },
  150: { name: "TFTP Server Address", type: "IPs" },
  175: { name: "iPXE Encapsulated Options", type: "Hex" },
};

/** Bytes of one value, and whether several may follow each other. */
const widths: Readonly<Record<string, { readonly bytes: number; readonly many: boolean }>> = {
  UInt8: { bytes: 1, many: false },
  Int8: { bytes: 1, many: false },
  UInt16: { bytes: 2, many: false },
  Int16: { bytes: 2, many: false },
  UInt32: { bytes: 4, many: false },
  Int32: { bytes: 4, many: false },
  IP: { bytes: 4, many: false },
  UInt8s: { bytes: 1, many: true },
  UInt16s: { bytes: 2, many: true },
  IPs: { bytes: 4, many: true },
};

function entry(code: number): { readonly name: string; readonly type?: string } | undefined {
  return lacking[code] ?? (code > 0 && code < 255 ? optionTable.opts[String(code)] : undefined);
}

/** What people call an option; `option 199` when nobody named it. */
export function optionName(code: number): string {
  return entry(code)?.name ?? `option ${code}`;
}

/** An option's value, or undefined when its bytes do not have the shape of its type, or nobody knows the type. */
export function readOption(code: number, bytes: Uint8Array): OptionValue | undefined {
  const type = entry(code)?.type;
  if (type === undefined || !fits(type, bytes.length)) return undefined;
  return call(bytes, `get${type}`, bytes.length) as OptionValue | undefined;
}

/** The bytes of a value; undefined when it cannot be written as this option's type. */
export function writeOption(code: number, value: OptionValue): Uint8Array | undefined {
  const type = entry(code)?.type;
  const bytes = type === undefined ? undefined : lengthOf(type, value);
  if (bytes === undefined || bytes > 255) return undefined;
  const buffer = Buffer.alloc(bytes);
  try {
    call(buffer, `add${type}`, value);
  } catch {
    return undefined;
  }
  return buffer;
}

function fits(type: string, length: number): boolean {
  const width = widths[type];
  if (!width) return true;
  return width.many ? length > 0 && length % width.bytes === 0 : length === width.bytes;
}

function lengthOf(type: string, value: OptionValue): number | undefined {
  const width = widths[type];
  if (width) return width.bytes * (Array.isArray(value) ? value.length : 1);
  if (type === "ASCII" && typeof value === "string") return value.length;
  if (type === "UTF8" && typeof value === "string") return Buffer.byteLength(value);
  return undefined;
}

function call(bytes: Uint8Array, method: string, argument: OptionValue): unknown {
  const cursor = new SeqBuffer(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)) as Record<
    string,
    ((argument: OptionValue) => unknown) | undefined
  >;
  return cursor[method]?.(argument);
}
