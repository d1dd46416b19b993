import { writeSync } from "node:fs";
import { openLeaseLog } from "./lease-log.ts";

/**
 * `node lease-log.fixture.ts DIRECTORY COMPACT_AFTER`: promises addresses as fast as it can, and says `address serial` on standard output once
 * the promise is on disk. Serials go up, also over restarts. Other addresses, from 1000 on, come and go.
 */
const store = openLeaseLog({ directory: process.argv[2] ?? "", compactAfter: Number(process.argv[3]) });
let serial = Math.max(0, ...[...store.leases.values()].map((lease) => Number(lease.client)));
let waiting: { readonly address: number; readonly serial: number; readonly change: number }[] = [];

store.onSync((error) => {
  if (error) writeSync(1, `error ${(error as NodeJS.ErrnoException).code}\n`);
  const ready = waiting.filter((one) => one.change <= store.synced);
  waiting = error ? [] : waiting.filter((one) => one.change > store.synced);
  if (ready.length > 0) writeSync(1, ready.map((one) => `${one.address} ${one.serial}\n`).join(""));
});

function promise(): void {
  for (let one = 0; one < 5; one++) {
    serial += 1;
    const address = (serial * 31) % 97;
    store.put({ address: 1000 + (serial % 50), client: String(serial), mac: "02:00:00:00:00:02", expires: 1e12 });
    if (serial % 11 === 0) store.drop(1000 + ((serial * 7) % 50));
    const change = store.put({ address, client: String(serial), mac: "02:00:00:00:00:01", expires: 1e12 });
    waiting.push({ address, serial, change });
  }
  setTimeout(promise, serial % 3);
}
promise();
