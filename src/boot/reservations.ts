import { parseIpv4 } from "../wire/index.ts";
import type { BootReservation } from "./contract.ts";
import { type GivenOption, givenOptions } from "./dhcp-options.ts";
import type { Request } from "./facts.ts";

/** How a client was found among the reservations. */
export type FoundBy = "mac" | "clientId" | "uuid" | "relay";

/** A reservation with its texts read. */
export interface Reservation extends Pick<BootReservation, "machine" | "hostname" | "secureBoot"> {
  readonly address: number | undefined;
  readonly options: readonly GivenOption[];
}

export interface Found {
  readonly reservation: Reservation;
  readonly by: FoundBy;
}

/** The reservations of one network, found in constant time however many there are. */
export interface Reservations {
  /** @param trusted whether option 82 was written by a relay or a switch, not by the client itself */
  find(request: Request, trusted: boolean): Found | undefined;
}

/** The nearest identity first: the NIC, then what the client calls itself, then the machine, then the port it hangs on. */
export function createReservations(all: readonly BootReservation[]): Reservations {
  const byMac = new Map<string, Reservation>();
  const byClientId = new Map<string, Reservation>();
  const byUuid = new Map<string, Reservation>();
  const byRelay = new Map<string, Reservation>();
  for (const given of all) {
    const one = read(given);
    const { mac, clientId, uuid, circuitId, remoteId } = given;
    if (mac !== undefined) byMac.set(mac.toLowerCase(), one);
    if (clientId !== undefined) byClientId.set(hexOf(clientId), one);
    if (uuid !== undefined) for (const form of uuidForms(uuid)) byUuid.set(form, one);
    if (circuitId !== undefined || remoteId !== undefined) byRelay.set(relayKey(bytesOf(circuitId), bytesOf(remoteId)), one);
  }

  function atRelay({ relay }: Request): Reservation | undefined {
    if (byRelay.size === 0 || !relay) return undefined;
    const { circuitId, remoteId } = relay;
    // a circuit alone is unique only where one switch answers: both together win
    return (
      (circuitId && remoteId ? byRelay.get(relayKey(circuitId, remoteId)) : undefined) ??
      (circuitId ? byRelay.get(relayKey(circuitId, undefined)) : undefined) ??
      (remoteId ? byRelay.get(relayKey(undefined, remoteId)) : undefined)
    );
  }

  return {
    find(request, trusted) {
      if (all.length === 0) return undefined;
      return (
        found(byMac.get(request.hardware), "mac") ??
        (request.clientId === undefined ? undefined : found(byClientId.get(request.clientId), "clientId")) ??
        (request.uuid === undefined ? undefined : found(byUuid.get(request.uuid), "uuid")) ??
        (trusted ? found(atRelay(request), "relay") : undefined)
      );
    },
  };
}

function found(reservation: Reservation | undefined, by: FoundBy): Found | undefined {
  return reservation && { reservation, by };
}

function read({ machine, hostname, secureBoot, address, options }: BootReservation): Reservation {
  return { machine, hostname, secureBoot, address: address === undefined ? undefined : parseIpv4(address), options: givenOptions(options) };
}

/** SMBIOS prints a UUID's first three fields the other way round than they lie in memory; firmware sends either (RFC 4578 §2.3). */
export function uuidForms(text: string): readonly [string, string] {
  const plain = hexOf(text.replaceAll("-", ""));
  const turn = (from: number, to: number) => Buffer.from(plain.slice(from, to), "hex").reverse().toString("hex");
  return [plain, turn(0, 8) + turn(8, 12) + turn(12, 16) + plain.slice(16)];
}

function hexOf(text: string): string {
  return text.toLowerCase().replace(/^0x/, "").replaceAll(":", "");
}

/** `0x…` is bytes, everything else is text. */
function bytesOf(text: string | undefined): Uint8Array | undefined {
  if (text === undefined) return undefined;
  return /^0x([0-9a-f]{2}:?)+$/i.test(text) ? Buffer.from(hexOf(text), "hex") : Buffer.from(text);
}

function relayKey(circuitId: Uint8Array | undefined, remoteId: Uint8Array | undefined): string {
  const part = (bytes: Uint8Array | undefined) =>
    bytes === undefined ? "-" : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  return `${circuitId?.length ?? -1} ${part(circuitId)} ${part(remoteId)}`;
}
