import "reflect-metadata";
import { createHash, randomBytes, webcrypto } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import * as x509 from "@peculiar/x509";
import type { ServerPaths } from "./paths.ts";

export interface Certificate {
  readonly certificate: string;
  readonly key: string;
  /** Of the DER certificate, hexadecimal: what a Machine pins. */
  readonly sha256: string;
}

const KEY = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const YEAR = 365 * 24 * 3_600_000;

/** A BMC's certificate as BMCs come: it signs itself. */
export async function selfSigned(name: string, address: string, now: Date): Promise<Certificate> {
  const keys = await webcrypto.subtle.generateKey(KEY, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: `01${randomBytes(8).toString("hex")}`,
    name: `CN=${name}, O=Ironwright simulated BMC`,
    notBefore: new Date(now.getTime() - 3_600_000),
    notAfter: new Date(now.getTime() + 10 * YEAR),
    keys,
    signingAlgorithm: KEY,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "ip", value: address }])],
  });
  const key = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  return {
    certificate: certificate.toString("pem"),
    key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`,
    sha256: createHash("sha256").update(Buffer.from(certificate.rawData)).digest("hex"),
  };
}

/** The one the server's directory holds; made when it holds none. */
export async function bmcCertificate(paths: ServerPaths, name: string, address: string, now: Date): Promise<Certificate> {
  const made = readCertificate(paths);
  if (made) return made;
  const fresh = await selfSigned(name, address, now);
  writeFileSync(paths.key, fresh.key, { mode: 0o600 });
  writeFileSync(paths.certificate, fresh.certificate);
  return fresh;
}

export function readCertificate(paths: ServerPaths): Certificate | undefined {
  if (!existsSync(paths.certificate) || !existsSync(paths.key)) return undefined;
  const certificate = readFileSync(paths.certificate, "utf8");
  const der = Buffer.from(new x509.X509Certificate(certificate).rawData);
  return { certificate, key: readFileSync(paths.key, "utf8"), sha256: createHash("sha256").update(der).digest("hex") };
}
