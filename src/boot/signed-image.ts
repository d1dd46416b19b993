import { createHash, createVerify, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { reasonOf } from "../core/errors.ts";

/**
 * Whether a kernel is one that a shim lets run: signed (Authenticode, PE/COFF §5.7) by who the certificate in the shim has
 * certified. Firmware that enforces Secure Boot checks the shim, and the shim the kernel; we check first, so that nobody waits for a
 * server that stops with a message on its screen.
 * @returns why not; undefined when it is
 */
export function whyUnsigned(kernel: string, shim: string): string | undefined {
  try {
    return judge(readFileSync(kernel), readFileSync(shim));
  } catch (error) {
    return `its signature cannot be read: ${reasonOf(error)}`;
  }
}

function judge(kernel: Buffer, shim: Buffer): string | undefined {
  const image = peOf(kernel);
  if (!image) return "it is no EFI program";
  if (image.signature.length === 0) return "it is not signed";
  const signed = signatureOf(image.signature);
  if (!signed.imageDigest.equals(image.digest)) return "it is not what was signed: its digest is another";
  const authority = vendorCertificate(shim);
  if (!authority) return "the shim carries no certificate";
  const signer = signed.certificates.find((one) => createVerify("sha256").update(signed.attributes).verify(one.publicKey, signed.value));
  if (!signer) return "its signature does not hold";
  return signer.verify(authority.publicKey)
    ? undefined
    : `it is signed by ${nameIn(signer.subject)}, whom the shim's ${nameIn(authority.subject)} does not know`;
}

interface Pe {
  readonly view: DataView;
  /** Of the optional header. */
  readonly at: number;
  readonly sections: number;
  readonly digest: Buffer;
  /** PKCS #7, empty when there is none. */
  readonly signature: Buffer;
}

const CHECKSUM = 64;
/** Of a PE32+ optional header: the fifth data directory. */
const CERTIFICATE_TABLE = 112 + 4 * 8;

function peOf(file: Buffer): Pe | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint16(0, true) !== 0x5a4d) return undefined;
  const header = view.getUint32(60, true);
  if (view.getUint32(header, true) !== 0x4550) return undefined;
  const at = header + 24;
  if (view.getUint16(at, true) !== 0x20b) return undefined;
  const table = view.getUint32(at + CERTIFICATE_TABLE, true);
  const length = view.getUint32(at + CERTIFICATE_TABLE + 4, true);
  const end = table === 0 ? file.length : table;
  const hash = createHash("sha256");
  hash.update(file.subarray(0, at + CHECKSUM));
  hash.update(file.subarray(at + CHECKSUM + 4, at + CERTIFICATE_TABLE));
  hash.update(file.subarray(at + CERTIFICATE_TABLE + 8, end));
  if (table > 0) hash.update(file.subarray(table + length));
  // a WIN_CERTIFICATE: its length, revision and type come before the PKCS #7
  const signature = table === 0 ? Buffer.alloc(0) : file.subarray(table + 8, table + view.getUint32(table, true));
  return { view, at, sections: view.getUint16(header + 6, true), digest: hash.digest(), signature };
}

/** The one certificate that Debian builds into its shim: section .vendor_cert, two sizes and two offsets before it. */
function vendorCertificate(shim: Buffer): X509Certificate | undefined {
  const image = peOf(shim);
  if (!image) return undefined;
  const table = image.at + image.view.getUint16(image.at - 4, true);
  for (let section = 0; section < image.sections; section++) {
    const entry = table + section * 40;
    const name = shim.subarray(entry, entry + 8).toString("latin1");
    // "/N" names a string elsewhere, where the name is longer than eight
    const start = image.view.getUint32(entry + 20, true);
    if (name !== ".vendor_" && !name.startsWith("/")) continue;
    const size = image.view.getUint32(start, true);
    const offset = image.view.getUint32(start + 8, true);
    const der = shim.subarray(start + offset, start + offset + size);
    if (size > 0 && der.length === size && der[0] === 0x30) return new X509Certificate(der);
  }
  return undefined;
}

interface Signature {
  /** Of the image, as the signature says. */
  readonly imageDigest: Buffer;
  readonly certificates: readonly X509Certificate[];
  /** What the signature is of. */
  readonly attributes: Buffer;
  readonly value: Buffer;
}

const MESSAGE_DIGEST = Buffer.from("06092a864886f70d010904", "hex");

/** SignedData (RFC 2315 §9) around a SpcIndirectDataContent. */
function signatureOf(pkcs7: Buffer): Signature {
  const [, wrapped] = inside(element(pkcs7, 0));
  const [, , content, certificates, ...rest] = inside(first(wrapped));
  const signer = inside(first(rest.at(-1)));
  const [, spc] = inside(content);
  const indirect = first(spc);
  const [, digestInfo] = inside(indirect);
  const [, imageDigest] = inside(digestInfo);
  const attributes = signer.find(({ tag }) => tag === 0xa0);
  const value = signer.at(-1);
  if (!imageDigest || !attributes || !value || certificates?.tag !== 0xa0) throw new Error("it is not as RFC 2315 has it");

  const said = inside(attributes).find((one) => one.whole.includes(MESSAGE_DIGEST));
  const digest = inside(inside(said)[1])[0]?.value;
  if (!digest?.equals(createHash("sha256").update(indirect.value).digest())) throw new Error("it signs something else");
  return {
    imageDigest: imageDigest.value,
    certificates: inside(certificates).map(({ whole }) => new X509Certificate(whole)),
    // signed as the SET that they are, not as the implicit tag that stands there (RFC 2315 §9.3)
    attributes: Buffer.concat([Buffer.of(0x31), attributes.whole.subarray(1)]),
    value: value.value,
  };
}

/** One element of DER. */
interface Element {
  readonly tag: number;
  readonly value: Buffer;
  readonly whole: Buffer;
}

function element(bytes: Buffer, at: number): Element {
  const short = bytes.readUInt8(at + 1);
  const more = short < 0x80 ? 0 : short & 0x7f;
  const length = more === 0 ? short : bytes.readUIntBE(at + 2, more);
  const start = at + 2 + more;
  if (start + length > bytes.length) throw new Error("it is cut off");
  return { tag: bytes.readUInt8(at), value: bytes.subarray(start, start + length), whole: bytes.subarray(at, start + length) };
}

function inside(of: Element | undefined): Element[] {
  const all: Element[] = [];
  for (let at = 0; of && at < of.value.length; at += all.at(-1)?.whole.length ?? of.value.length) all.push(element(of.value, at));
  return all;
}

function first(of: Element | undefined): Element {
  const [one] = inside(of);
  if (!one) throw new Error("it is not as RFC 2315 has it");
  return one;
}

function nameIn(subject: string): string {
  return /CN=(.*)/.exec(subject)?.[1] ?? subject;
}
