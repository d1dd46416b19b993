/** Which NIC was seen with which address, where another DHCP server gives them. Bounded; the oldest is forgotten. */
export interface Sightings {
  saw(hardware: string, address: number): void;
  macAt(address: number): string | undefined;
  addressOf(hardware: string): number | undefined;
}

const REMEMBERED = 20_000;

export function createSightings(): Sightings {
  const byHardware = new Map<string, number>();
  const byAddress = new Map<number, string>();

  function forget(hardware: string): void {
    const address = byHardware.get(hardware);
    byHardware.delete(hardware);
    if (address !== undefined && byAddress.get(address) === hardware) byAddress.delete(address);
  }

  return {
    saw(hardware, address) {
      forget(hardware);
      byHardware.set(hardware, address);
      byAddress.set(address, hardware);
      for (const oldest of byHardware.size > REMEMBERED ? byHardware.keys() : []) {
        forget(oldest);
        break;
      }
    },
    macAt: (address) => byAddress.get(address),
    addressOf: (hardware) => byHardware.get(hardware),
  };
}
