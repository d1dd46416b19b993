import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { certificatesIn, type HostCertificate } from "./host-pki.ts";

export interface HostCertificatesOptions {
  /** Those there are now, by the name they are shown under. */
  directories(): Readonly<Record<string, string>>;
  /** Renews what is due; nothing to do where the control plane is not ours. */
  renew(now: Date): Promise<unknown>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Keeps the host's own certificates renewed while the daemon runs, and warns long before one ends. */
export interface HostCertificates {
  /** All there are now: `host/apiserver`. */
  list(): readonly HostCertificate[];
  stop(): Promise<void>;
}

const EVERY_MS = 12 * 3_600_000;

export function watchHostCertificates({ directories, renew, clock, log }: HostCertificatesOptions): HostCertificates {
  const ending = new AbortController();

  function list(): readonly HostCertificate[] {
    return Object.entries(directories()).flatMap(([part, dir]) =>
      certificatesIn(dir, clock.now()).map((one) => ({ ...one, name: `${part}/${one.name}` })),
    );
  }

  async function look(): Promise<void> {
    const before = new Map(list().map((one) => [one.name, one.ends.getTime()]));
    await renew(clock.now());
    const renewed = list().filter((one) => before.has(one.name) && before.get(one.name) !== one.ends.getTime());
    if (renewed.length > 0) log.info({ certificates: renewed.map((one) => one.name) }, "host certificates renewed");
    if (renewed.some((one) => one.name.endsWith("/admin")))
      log.warn({}, "the daemon goes on with the certificate it started with: restart it before that one ends");
    for (const { name, ends, issuer } of list().filter((one) => one.late))
      log.warn(
        { certificate: name, ends: ends.toISOString() },
        issuer ? "an authority of the host ends" : "a certificate of the host ends",
      );
  }

  async function everyNowAndThen(): Promise<void> {
    while (!ending.signal.aborted) {
      await look().catch((error: unknown) => log.warn({ err: error }, "host certificates could not be renewed; tried again later"));
      await clock.sleep(EVERY_MS, ending.signal).catch(() => {});
    }
  }

  const running = everyNowAndThen();
  return {
    list,
    async stop() {
      ending.abort(new Error("the daemon is stopping"));
      await running;
    },
  };
}
