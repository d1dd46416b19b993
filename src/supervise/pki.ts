import { createHash, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
// @peculiar/x509 resolves its parts by reflect-metadata, and does not load it itself
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

x509.cryptoProvider.set(webcrypto as Crypto);

/** A certificate with its private key, PEM. */
export interface KeyedCertificate {
  readonly certificate: string;
  /** PKCS #8. */
  readonly key: string;
}

export interface CertificateRequest {
  readonly ca: KeyedCertificate;
  readonly commonName: string;
  /** Kubernetes reads these as groups. */
  readonly organizations?: readonly string[];
  /** Names and IP addresses. */
  readonly sans?: readonly string[];
  readonly usages: readonly ("server" | "client")[];
  /** May be a fraction. */
  readonly days: number;
  readonly now?: Date;
  /** Of the new key; the authority's own is what it was made with. */
  readonly algorithm?: CertificateAlgorithm;
}

/** `rsa` for boot firmware, which often knows nothing else. */
export type CertificateAlgorithm = "ecdsa" | "rsa";

const ALGORITHMS = {
  ecdsa: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  rsa: { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1), hash: "SHA-256" },
} as const;
const DAY_MS = 86_400_000;
/** Clocks of nodes that have no battery run behind: by so much, or a tenth of a short life, a certificate begins before its issue. */
const BACKDATED_MS = 3_600_000;

/** A new self-signed authority: one a purpose, so that a leaf of one is worth nothing to another. */
export async function createCa(
  commonName: string,
  options: { readonly days?: number; readonly algorithm?: CertificateAlgorithm; readonly now?: Date } = {},
): Promise<KeyedCertificate> {
  const keys = await newKeys(options.algorithm);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: [{ CN: [commonName] }],
    ...validity(options.days ?? 3650, options.now),
    keys,
    signingAlgorithm: ALGORITHMS[options.algorithm ?? "ecdsa"],
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: pem(certificate), key: await privatePem(keys.privateKey) };
}

/** A new key with a certificate for it. */
export async function issue(request: CertificateRequest): Promise<KeyedCertificate> {
  const keys = await newKeys(request.algorithm);
  const { authority, signingAlgorithm, signingKey } = await signer(request.ca);
  const sans = request.sans ?? [];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: [...(request.organizations ?? []).map((name) => ({ O: [name] })), { CN: [request.commonName] }],
    issuer: authority.subjectName,
    ...validity(request.days, request.now, authority.notAfter),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      // old TLS clients encrypt the session's key to an RSA server
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | (request.algorithm === "rsa" ? x509.KeyUsageFlags.keyEncipherment : 0),
        true,
      ),
      new x509.ExtendedKeyUsageExtension(request.usages.map((usage) => x509.ExtendedKeyUsage[`${usage}Auth`])),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority),
      ...(sans.length > 0
        ? [
            new x509.SubjectAlternativeNameExtension(
              sans.map((value) => ({ type: isIP(value) ? ("ip" as const) : ("dns" as const), value })),
            ),
          ]
        : []),
    ],
  });
  return { certificate: pem(certificate), key: await privatePem(keys.privateKey) };
}

/**
 * The authority `next` certified by the one before it: with this behind a leaf of `next`, who trusts `old` alone accepts that
 * leaf. It ends with `old`.
 */
export async function crossSign(next: KeyedCertificate, old: KeyedCertificate): Promise<string> {
  const { authority, signingAlgorithm, signingKey } = await signer(old);
  const subject = new x509.X509Certificate(next.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: subject.subjectName,
    issuer: authority.subjectName,
    notBefore: subject.notBefore,
    notAfter: new Date(Math.min(subject.notAfter.getTime(), authority.notAfter.getTime())),
    publicKey: subject.publicKey,
    signingKey,
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature, true),
      await x509.SubjectKeyIdentifierExtension.create(subject.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority),
    ],
  });
  return pem(certificate);
}

/** A key pair to sign service account tokens with: PKCS #8 and SPKI, PEM. */
export async function createSigningKeys(): Promise<{ readonly privateKey: string; readonly publicKey: string }> {
  const keys = await newKeys();
  const spki = await webcrypto.subtle.exportKey("spki", keys.publicKey);
  return { privateKey: await privatePem(keys.privateKey), publicKey: `${x509.PemConverter.encode(spki, "PUBLIC KEY")}\n` };
}

/** SHA-256 of the DER certificate, lower case hex. */
export function fingerprint(certificate: string): string {
  return sha256(new X509Certificate(certificate).raw);
}

/** Whether less than a third of its life is left, or it is over. */
export function needsRenewal(certificate: string, now: Date): boolean {
  return now > renewalTime(certificate);
}

/** When a third of its life is left. */
export function renewalTime(certificate: string): Date {
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  return new Date(validToDate.getTime() - (validToDate.getTime() - validFromDate.getTime()) / 3);
}

async function signer(ca: KeyedCertificate) {
  const authority = new x509.X509Certificate(ca.certificate);
  const signingAlgorithm = authority.publicKey.algorithm.name === "ECDSA" ? ALGORITHMS.ecdsa : ALGORITHMS.rsa;
  const signingKey = await webcrypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(ca.key), signingAlgorithm, false, ["sign"]);
  return { authority, signingAlgorithm, signingKey };
}

function newKeys(algorithm: CertificateAlgorithm = "ecdsa"): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHMS[algorithm], true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
}

/** A leaf never outlives its authority. */
function validity(days: number, from?: Date, atMost?: Date): { notBefore: Date; notAfter: Date } {
  const now = from?.getTime() ?? Date.now();
  const [life, end] = [days * DAY_MS, now + days * DAY_MS];
  return {
    notBefore: new Date(now - Math.min(BACKDATED_MS, life / 10)),
    notAfter: new Date(Math.min(end, atMost?.getTime() ?? end)),
  };
}

/** Positive and at most 20 octets: RFC 5280 §4.1.2.2. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
