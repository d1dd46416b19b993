import type { AddressBook, Client } from "./addresses.ts";
import type { BootRecord, SecureBoot } from "./contract.ts";
import type { Request } from "./facts.ts";
import type { Found, Reservation, Reservations } from "./reservations.ts";
import { BMC_POOL, type Subnet } from "./subnets.ts";

/** A network with the addresses given on it. */
export interface ServedSubnet extends Subnet {
  readonly book: AddressBook;
}

/** The known machines, by what a request tells of them. */
export interface Machines {
  byHardware(hardware: string): BootRecord | undefined;
  byMachine(machine: string): BootRecord | undefined;
  /** A reservation said that the NIC is this machine's. */
  recognise(hardware: string, machine: string): void;
}

/** Who asks, computed once for a request. */
export interface Who {
  readonly client: Client;
  readonly record: BootRecord | undefined;
  readonly reservation: Reservation | undefined;
  /** Has something of its own here: a Machine or a reservation. */
  readonly isKnown: boolean;
  readonly isBmc: boolean;
  readonly hostname: string | undefined;
  /** Of this machine; the interface's policy when absent. */
  readonly secureBoot: SecureBoot | undefined;
}

export interface IdentifyOptions {
  readonly machines: Machines;
  /** Switches write option 82 without being relays, and drop what clients wrote. */
  readonly snooping: boolean;
  /** Reservations of the interface, which hold wherever they name no address. */
  readonly everywhere: Reservations;
}

export function identify(request: Request, subnet: Subnet, { machines, snooping, everywhere }: IdentifyOptions): Who {
  // what a client says itself of the port it hangs on proves nothing
  const trusted = request.frame.relayAddress !== 0 || snooping;
  const found = subnet.reservations.find(request, trusted) ?? withoutAddress(everywhere.find(request, trusted));
  const reservation = found?.reservation;
  const record =
    machines.byHardware(request.hardware) ?? (reservation?.machine === undefined ? undefined : machines.byMachine(reservation.machine));
  if (record && !record.macs.includes(request.hardware)) machines.recognise(request.hardware, record.machine);
  const isKnown = record !== undefined || reservation !== undefined;
  const isBmc = !isKnown && subnet.isBmc(request);
  const fixed = reservation?.address;
  return {
    client: {
      key: keyOf(request, found, isKnown),
      mac: request.hardware,
      ...(fixed === undefined ? {} : { fixed }),
      ...(isBmc ? { pool: BMC_POOL } : {}),
    },
    record,
    reservation,
    isKnown,
    isBmc,
    hostname: reservation?.hostname ?? record?.hostname,
    secureBoot: reservation?.secureBoot ?? record?.secureBoot,
  };
}

function withoutAddress(found: Found | undefined): Found | undefined {
  return found?.reservation.address === undefined ? found : undefined;
}

/**
 * Whose lease it is. Firmware, iPXE and installer of one NIC have a client identifier each, and a known machine shall have one
 * address; but what hangs on a port with an address of its own is that port's client, also after its NIC was replaced.
 */
function keyOf(request: Request, found: Found | undefined, isKnown: boolean): string {
  const fixed = found?.reservation.address;
  if (fixed !== undefined && found?.by === "relay") return `port:${fixed}`;
  return !isKnown && request.clientId !== undefined ? `id:${request.clientId}` : `mac:${request.hardware}`;
}
