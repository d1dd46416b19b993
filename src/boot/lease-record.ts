import { crc32 } from "node:zlib";
import type { Lease } from "./leases.ts";

/** The state of one address after a change: its lease, or none. */
export type Change = readonly [address: number, lease: Lease | undefined];

/**
 * A group of changes as it lies in a file: `IWL1`, the payload's length, the group's number, a checksum over number and payload,
 * the payload. Numbers are big-endian. A group counts whole or not at all.
 */
const MAGIC = 0x49574c31;
const HEADER = 20;
/** A lease; one whose client is `mac:` and its own hardware address; none. */
const KIND = { lease: 1, leaseOfMac: 2, none: 3 } as const;
/** UTF-8 needs three bytes at most for each of a string's units. */
const MOST_BYTES = 3;

/** Bytes to write for a group. @param into reused from group to group where it is long enough */
export function encodeGroup(number: number, changes: Iterable<Change>, into: Buffer): Buffer {
  let bytes = into.length < 1024 ? Buffer.allocUnsafe(1 << 16) : into;
  let at = HEADER;
  for (const [address, lease] of changes) {
    const room = 16 + (lease ? (lease.client.length + lease.mac.length) * MOST_BYTES : 0);
    if (at + room > bytes.length) {
      const longer = Buffer.allocUnsafe(Math.max(bytes.length * 2, at + room));
      bytes.copy(longer, 0, 0, at);
      bytes = longer;
    }
    at = encodeChange(bytes, at, address, lease);
  }
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(at - HEADER, 4);
  bytes.writeDoubleBE(number, 8);
  bytes.writeUInt32BE(checksum(bytes, at), 16);
  return bytes.subarray(0, at);
}

function encodeChange(bytes: Buffer, start: number, address: number, lease: Lease | undefined): number {
  let at = start + 5;
  bytes.writeUInt32BE(address, start + 1);
  if (!lease) {
    bytes[start] = KIND.none;
    return at;
  }
  at = bytes.writeDoubleBE(lease.expires, at);
  const mac = bytes.write(lease.mac, at + 1);
  bytes[at] = mac;
  at += 1 + mac;
  const isOfMac = lease.client.length === lease.mac.length + 4 && lease.client.startsWith("mac:") && lease.client.endsWith(lease.mac);
  bytes[start] = isOfMac ? KIND.leaseOfMac : KIND.lease;
  if (isOfMac) return at;
  const client = bytes.write(lease.client, at + 2);
  bytes.writeUInt16BE(client, at);
  return at + 2 + client;
}

export interface Group {
  readonly number: number;
  readonly changes: readonly Change[];
  /** Where the next group begins. */
  readonly end: number;
}

/** The group at a place, or undefined where there is none that is whole. */
export function decodeGroup(bytes: Buffer, start: number): Group | undefined {
  if (start + HEADER > bytes.length || bytes.readUInt32BE(start) !== MAGIC) return undefined;
  const end = start + HEADER + bytes.readUInt32BE(start + 4);
  if (end > bytes.length) return undefined;
  const group = bytes.subarray(start, end);
  if (group.readUInt32BE(16) !== checksum(group, group.length)) return undefined;
  const changes: Change[] = [];
  for (let at = HEADER; at < group.length; ) {
    const address = group.readUInt32BE(at + 1);
    if (group[at] === KIND.none) {
      changes.push([address, undefined]);
      at += 5;
      continue;
    }
    const expires = group.readDoubleBE(at + 5);
    const macEnd = at + 14 + (group[at + 13] ?? 0);
    const mac = group.toString("utf8", at + 14, macEnd);
    const isOfMac = group[at] === KIND.leaseOfMac;
    const clientEnd = isOfMac ? macEnd : macEnd + 2 + group.readUInt16BE(macEnd);
    const client = isOfMac ? `mac:${mac}` : group.toString("utf8", macEnd + 2, clientEnd);
    changes.push([address, { address, client, mac, expires }]);
    at = clientEnd;
  }
  return { number: group.readDoubleBE(8), changes, end };
}

/** Over the group's number and its payload. */
function checksum(bytes: Buffer, end: number): number {
  return crc32(bytes.subarray(HEADER, end), crc32(bytes.subarray(8, 16)));
}
