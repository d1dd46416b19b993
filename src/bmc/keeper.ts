import { createHash } from "node:crypto";
import type { Bmc, BmcOptions } from "./bmc.ts";

/** One connection a BMC for the whole daemon: one session, one queue, and one memory of refused credentials. */
export interface BmcKeeper {
  /** The connection to that BMC with those credentials; its `close` leaves it open for the others. */
  connect(options: BmcOptions): Bmc;
  /** Ends every session. */
  close(): Promise<void>;
}

interface Kept {
  readonly fingerprint: string;
  /** Handed out; closing it does nothing. */
  readonly lent: Bmc;
  readonly own: Bmc;
}

/** @param connect makes a connection; asked again for a BMC only when its spec or its credentials changed */
export function bmcKeeper(connect: (options: BmcOptions) => Bmc): BmcKeeper {
  const kept = new Map<string, Kept>();
  return {
    connect(options) {
      const { address } = options.spec;
      const fingerprint = fingerprintOf(options);
      const before = kept.get(address);
      if (before?.fingerprint === fingerprint) return before.lent;
      const own = connect(options);
      before?.own.close().catch((error: unknown) => options.log.debug({ bmc: address, err: error }, "session not ended"));
      const lent: Bmc = { ...own, close: async () => {} };
      kept.set(address, { fingerprint, lent, own });
      return lent;
    },
    async close() {
      const all = [...kept.values()];
      kept.clear();
      await Promise.allSettled(all.map(({ own }) => own.close()));
    },
  };
}

/** A digest, so that no password is kept a second time. */
function fingerprintOf({ spec, credentials }: BmcOptions): string {
  return createHash("sha256")
    .update(JSON.stringify([spec.certificateSha256, spec.insecureSkipVerify, credentials.username, credentials.password]))
    .digest("hex");
}
