import { createHash, verify } from "node:crypto";
import { isIP } from "node:net";
import "reflect-metadata";
import { Pkcs10CertificateRequest, SubjectAlternativeNameExtension } from "@peculiar/x509";
import { sameAddress } from "./cidr.ts";
import { der, derChildren, isDer } from "./der.ts";

/** Upstream's two signers for kubelets. Every other signer is the tenant's own business and left alone. */
export const KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet";
export const KUBELET_SERVING = "kubernetes.io/kubelet-serving";

const OID_EXTENSION_REQUEST = "1.2.840.113549.1.9.14";
const OID_SUBJECT_ALT_NAME = "2.5.29.17";

/** What of a CertificateSigningRequest decides: who asks (set by the apiserver) and for what (the PEM). */
export interface SigningRequest {
  readonly signer: string;
  readonly username: string;
  readonly groups: readonly string[];
  readonly usages: readonly string[];
  readonly pem: string;
}

/** A node that may join or stay: the live claim, and the token minted for it. */
export interface AdmittedNode {
  readonly claim: string;
  readonly claimUid: string;
  readonly nodeName: string;
  readonly addresses: readonly string[];
  /** Its SSH server, where that forwards for the tenant's key. */
  readonly ssh?: NodeSsh;
  /** Its part of the pod network as its Node said when it was Ready. The tenant can write that: nothing is allowed by it. */
  readonly podCIDR?: string;
  /** Id of the bootstrap token minted for this claim; absent once the first certificate was issued. */
  readonly tokenId?: string;
  /** SHA-256 of the first key approved for that token: one token, one key. */
  readonly firstKey?: string;
}

export interface NodeSsh {
  readonly port: number;
  /** `ssh-ed25519 AAAA…`, of the installed system. */
  readonly hostKey: string;
}

export type CsrVerdict =
  | { readonly verdict: "approve"; readonly node: AdmittedNode; readonly first: boolean; readonly key: string }
  | { readonly verdict: "deny"; readonly reason: string; readonly message: string }
  | { readonly verdict: "not ours" };

/** What the PEM says, read strictly: anything a kubelet would not write is a problem. */
export type ParsedRequest =
  | {
      readonly subject: string;
      readonly key: string;
      readonly dns: readonly string[];
      readonly ips: readonly string[];
      readonly extensions: number;
    }
  | { readonly problem: string };

/**
 * Whether to approve a certificate signing request: pure, so that every forgery is one row of a test.
 * @param request who asks and for what
 * @param parsed the PEM of `request`, by {@link parseRequest}
 * @param admitted the nodes of this tenant that have a live claim, read just now
 */
export function csrVerdict(request: SigningRequest, parsed: ParsedRequest, admitted: readonly AdmittedNode[]): CsrVerdict {
  if (request.signer !== KUBELET_CLIENT && request.signer !== KUBELET_SERVING) return { verdict: "not ours" };
  if ("problem" in parsed) return deny("MalformedRequest", parsed.problem);
  return request.signer === KUBELET_CLIENT ? clientVerdict(request, parsed, admitted) : servingVerdict(request, parsed, admitted);
}

type Parsed = Exclude<ParsedRequest, { readonly problem: string }>;

function clientVerdict(request: SigningRequest, parsed: Parsed, admitted: readonly AdmittedNode[]): CsrVerdict {
  const node = nodeOfSubject(parsed, admitted);
  if (!node) return deny("SubjectNotAdmitted", "the subject is not exactly that of a node with a live claim");
  if (!sameSet(request.usages, ["digital signature", "client auth"])) return deny("UsagesNotExact", `usages are ${list(request.usages)}`);
  if (parsed.extensions > 0) return deny("ExtensionsNotAllowed", "a kubelet's client certificate asks for no extension and no other name");

  if (request.username === `system:node:${node.nodeName}`) {
    if (!request.groups.includes("system:nodes")) return deny("RequestorNotNode", "the requestor is not in system:nodes");
    return { verdict: "approve", node, first: false, key: parsed.key };
  }
  if (node.tokenId === undefined || request.username !== `system:bootstrap:${node.tokenId}`) {
    return deny("RequestorNotTheClaims", `${request.username} is neither the token of claim ${node.claim} nor its node`);
  }
  if (!request.groups.includes("system:bootstrappers")) return deny("RequestorNotToken", "the requestor is not in system:bootstrappers");
  if (node.firstKey !== undefined && node.firstKey !== parsed.key) {
    return deny("TokenAlreadyUsed", "the token of this claim was used for another key");
  }
  return { verdict: "approve", node, first: true, key: parsed.key };
}

function servingVerdict(request: SigningRequest, parsed: Parsed, admitted: readonly AdmittedNode[]): CsrVerdict {
  const node = nodeOfSubject(parsed, admitted);
  if (!node) return deny("SubjectNotAdmitted", "the subject is not exactly that of a node with a live claim");
  if (request.username !== `system:node:${node.nodeName}` || !request.groups.includes("system:nodes")) {
    return deny("RequestorNotTheNode", `${request.username} is not node ${node.nodeName}`);
  }
  if (!sameSet(request.usages, ["digital signature", "server auth"])) return deny("UsagesNotExact", `usages are ${list(request.usages)}`);
  if (parsed.extensions !== 1)
    return deny("ExtensionsNotAllowed", "a kubelet's serving certificate asks for subject alternative names alone");
  if (!sameSet(parsed.dns, [node.nodeName])) return deny("NamesNotExact", `DNS names are ${list(parsed.dns)}, not ${node.nodeName}`);
  const foreign = parsed.ips.filter((ip) => !node.addresses.some((own) => sameAddress(own, ip)));
  if (parsed.ips.length === 0 || foreign.length > 0 || new Set(parsed.ips).size !== parsed.ips.length) {
    return deny("AddressesNotExact", `addresses are ${list(parsed.ips)}, not ${list(node.addresses)}`);
  }
  return { verdict: "approve", node, first: false, key: parsed.key };
}

function nodeOfSubject(parsed: Parsed, admitted: readonly AdmittedNode[]): AdmittedNode | undefined {
  const matching = admitted.filter((node) => nodeSubjects(node.nodeName).has(parsed.subject));
  return matching.length === 1 ? matching[0] : undefined;
}

function deny(reason: string, message: string): CsrVerdict {
  return { verdict: "deny", reason, message };
}

function sameSet(have: readonly string[], want: readonly string[]): boolean {
  return have.length === want.length && want.every((one) => have.includes(one));
}

function list(values: readonly string[]): string {
  return values.length === 0 ? "none" : values.slice(0, 8).join(", ").slice(0, 200);
}

const PEM = /^-----BEGIN CERTIFICATE REQUEST-----\r?\n((?:[A-Za-z0-9+/=]{1,76}\r?\n)+)-----END CERTIFICATE REQUEST-----\s*$/;
const LONGEST_PEM = 16_384;

/** RFC 5758 3.2: ecdsa-with-SHA256, without parameters. */
const ECDSA_WITH_SHA256 = Buffer.from("300a06082a8648ce3d040302", "hex");

/** Whether the request is signed by its own key. OpenSSL judges, since Web Crypto's readers let odd encodings of a signature pass. */
function isSignedBy(raw: Buffer, publicKey: Buffer): boolean {
  const [signed, algorithm, signature] = derChildren(raw);
  // a BIT STRING's first octet counts its unused bits
  if (!signed || !algorithm?.equals(ECDSA_WITH_SHA256) || signature?.[0] !== 0x03 || signature[2] !== 0) return false;
  return verify("sha256", signed, { key: publicKey, format: "der", type: "spki" }, signature.subarray(3));
}

/** Reads the PEM of a request and checks its signature. Never throws. */
export function parseRequest(pem: string): ParsedRequest {
  // one block and nothing around it: Go takes the first block of many, and must not see another than we do
  const body = pem.length <= LONGEST_PEM ? PEM.exec(pem)?.[1] : undefined;
  if (body === undefined) return { problem: "it is not one PEM block of a certificate request" };
  try {
    const raw = Buffer.from(body, "base64");
    // Go reads DER alone; what is looser than that, two parsers may read in two ways
    if (!isDer(raw)) return { problem: "it is not DER" };
    const csr = new Pkcs10CertificateRequest(raw);
    if (!isSignedBy(raw, Buffer.from(csr.publicKey.rawData))) return { problem: "its signature does not match its key" };
    const algorithm = csr.publicKey.algorithm as { name?: string; namedCurve?: string };
    if (algorithm.name !== "ECDSA" || algorithm.namedCurve !== "P-256") return { problem: "its key is not ECDSA P-256" };
    if (csr.attributes.some((one) => one.type !== OID_EXTENSION_REQUEST) || csr.attributes.length > 1) {
      return { problem: "it has attributes besides its extensions" };
    }
    const names = { dns: [] as string[], ips: [] as string[] };
    for (const extension of csr.extensions) {
      if (extension.type !== OID_SUBJECT_ALT_NAME) return { problem: `it asks for extension ${extension.type}` };
      for (const name of new SubjectAlternativeNameExtension(extension.rawData).names.items) {
        if (name.type === "dns") names.dns.push(name.value);
        else if (name.type === "ip" && isIP(name.value) !== 0) names.ips.push(name.value);
        else return { problem: `it asks for a name of type ${name.type}` };
      }
    }
    return {
      subject: Buffer.from(csr.subjectName.toArrayBuffer()).toString("hex"),
      key: createHash("sha256").update(Buffer.from(csr.publicKey.rawData)).digest("hex"),
      ...names,
      extensions: csr.extensions.length,
    };
  } catch {
    return { problem: "it cannot be parsed" };
  }
}

/**
 * The subjects that mean O=system:nodes, CN=system:node:<name>, as hex of their DER: two attributes, in either order, each
 * PrintableString or UTF8String. Bytes are compared, not texts: string types on which parsers differ cannot slip in.
 */
function nodeSubjects(nodeName: string): ReadonlySet<string> {
  const subjects = new Set<string>();
  for (const organizationType of STRING_TYPES) {
    for (const nameType of STRING_TYPES) {
      const organization = relativeName(0x0a, organizationType, "system:nodes");
      const name = relativeName(0x03, nameType, `system:node:${nodeName}`);
      subjects.add(der(0x30, organization, name).toString("hex"));
      subjects.add(der(0x30, name, organization).toString("hex"));
    }
  }
  return subjects;
}

/** X.680 tags: PrintableString, UTF8String. */
const STRING_TYPES = [0x13, 0x0c];

/** One RDN with one attribute of X.520: id-at 3 is commonName, id-at 10 organizationName. */
function relativeName(attribute: number, stringType: number, value: string): Buffer {
  const oid = Buffer.from([0x06, 0x03, 0x55, 0x04, attribute]);
  return der(0x31, der(0x30, oid, der(stringType, Buffer.from(value, "utf8"))));
}
