import { createPrivateKey, X509Certificate } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Server } from "node:https";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import { createCa, issue, type KeyedCertificate, needsRenewal } from "../supervise/index.ts";
import type { BootHttps } from "./contract.ts";

/** The certificate HTTPS is served with, kept fresh while the boot plane runs. */
export interface BootIdentity {
  current(): KeyedCertificate;
  /** A server takes each new certificate over without losing a connection. */
  follow(server: Server): void;
  stop(): Promise<void>;
}

export interface BootIdentityOptions {
  readonly https: BootHttps;
  /** Where our own authority and certificate are kept: `boot-ca.crt` is what firmware is given to trust. */
  readonly directory: string;
  /** Addresses it is served at. */
  readonly addresses: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
}

const LEAF_DAYS = 90;
const LOOK_EVERY_MS = 3_600_000;

/**
 * A certificate that was handed in, read again when its files change; else one of our own authority, renewed when less than a third
 * of its life is left. RSA: iPXE before 2.0 and much firmware know nothing else.
 * @throws IRW_CONFIG_INVALID when the certificate that was handed in cannot be used
 */
export async function openBootIdentity(options: BootIdentityOptions): Promise<BootIdentity> {
  const { https, clock, log } = options;
  const servers: Server[] = [];
  const stopping = new AbortController();
  const look = () => (https.certificate && https.key ? Promise.resolve(handedIn(https.certificate, https.key)) : ownLeaf(options));
  let identity = await look();

  async function keepFresh(): Promise<void> {
    while (!stopping.signal.aborted) {
      await clock.sleep(LOOK_EVERY_MS, stopping.signal).catch(() => {});
      if (stopping.signal.aborted) return;
      try {
        const next = await look();
        if (next.certificate === identity.certificate) continue;
        identity = next;
        for (const server of servers) server.setSecureContext({ cert: next.certificate, key: next.key });
        log.info({ until: new X509Certificate(next.certificate).validTo }, "HTTPS has a new certificate");
      } catch (error) {
        log.error({ err: error }, "the certificate of HTTPS cannot be renewed; the one before is kept");
      }
    }
  }

  const kept = keepFresh();
  return {
    current: () => identity,
    follow: (server) => void servers.push(server),
    async stop() {
      stopping.abort();
      await kept;
    },
  };
}

function handedIn(certificateFile: string, keyFile: string): KeyedCertificate {
  try {
    const certificate = readFileSync(certificateFile, "utf8");
    const key = readFileSync(keyFile, "utf8");
    // both throw when it is no PEM
    if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) throw new Error("the key is not the certificate's");
    return { certificate, key };
  } catch (error) {
    const problems = `${certificateFile} or ${keyFile}: ${reasonOf(error)}`;
    throw new IronwrightError("IRW_CONFIG_INVALID", { source: "boot.https", problems }, error);
  }
}

/** Our own: what is there stays while it is good. */
async function ownLeaf({ directory, addresses, clock }: BootIdentityOptions): Promise<KeyedCertificate> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  const ca = read(directory, "boot-ca") ?? write(directory, "boot-ca", await createCa("ironwright boot", { algorithm: "rsa" }));
  const before = read(directory, "boot");
  if (before && isGood(before, ca, addresses, clock.now())) return before;
  const leaf = await issue({ ca, commonName: "ironwright boot", sans: addresses, usages: ["server"], days: LEAF_DAYS, algorithm: "rsa" });
  return write(directory, "boot", leaf);
}

function isGood(leaf: KeyedCertificate, ca: KeyedCertificate, addresses: readonly string[], now: Date): boolean {
  const certificate = new X509Certificate(leaf.certificate);
  return (
    certificate.checkIssued(new X509Certificate(ca.certificate)) &&
    addresses.every((address) => certificate.checkIP(address) !== undefined) &&
    !needsRenewal(leaf.certificate, now)
  );
}

function read(directory: string, name: string): KeyedCertificate | undefined {
  try {
    return {
      certificate: readFileSync(join(directory, `${name}.crt`), "utf8"),
      key: readFileSync(join(directory, `${name}.key`), "utf8"),
    };
  } catch {
    return undefined;
  }
}

/** The key first: a certificate without its key would be taken for complete. */
function write(directory: string, name: string, made: KeyedCertificate): KeyedCertificate {
  for (const [end, text] of [
    ["key", made.key],
    ["crt", made.certificate],
  ] as const) {
    const file = join(directory, `${name}.${end}`);
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  return made;
}
