import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { TenantRef } from "../core/names.ts";
import { type Kube, SECRET } from "../kube/index.ts";
import type { KeyedCertificate } from "../supervise/index.ts";

/**
 * The user's own authority, from a Secret of type kubernetes.io/tls in the tenant's project.
 * @throws IRW_TENANT_AUTHORITY saying what is wrong with it
 */
export async function usersAuthority(kube: Kube, ref: TenantRef, secret: string, now: Date): Promise<KeyedCertificate> {
  const found = await kube.get(SECRET, secret, ref.namespace);
  const refuse = (problem: string) =>
    new IronwrightError("IRW_TENANT_AUTHORITY", { tenant: `${ref.namespace}.${ref.name}`, problem: `Secret ${secret}: ${problem}` });
  if (!found) throw refuse("there is none in this project");
  const [certificate = "", key = ""] = ["tls.crt", "tls.key"].map((file) =>
    Buffer.from(found.data?.[file] ?? "", "base64").toString("utf8"),
  );
  const checked = checkedAuthority(certificate, key, now);
  if (typeof checked === "string") throw refuse(checked);
  return checked;
}

/** The authority in the form the rest wants it, or what is wrong with it. */
export function checkedAuthority(certificate: string, key: string, now: Date): KeyedCertificate | string {
  let authority: X509Certificate;
  let signer: KeyObject;
  try {
    authority = new X509Certificate(certificate);
    signer = createPrivateKey(key);
  } catch (error) {
    return `tls.crt and tls.key must be PEM: ${reasonOf(error)}`;
  }
  const { publicKey } = authority;
  if ((certificate.match(/BEGIN CERTIFICATE/g) ?? []).length !== 1) return "tls.crt must be one certificate";
  if (!authority.ca) return "tls.crt is not an authority's: its basic constraints do not say CA";
  // OpenSSL trusts no chain that does not end in a root
  if (!authority.checkIssued(authority) || !authority.verify(publicKey)) return "tls.crt is not self-signed; clients trust roots alone";
  if (!authority.checkPrivateKey(signer)) return "tls.key is not the key of tls.crt";
  const isP256 = publicKey.asymmetricKeyType === "ec" && publicKey.asymmetricKeyDetails?.namedCurve === "prime256v1";
  if (!isP256 && publicKey.asymmetricKeyType !== "rsa") return "its key must be ECDSA P-256 or RSA";
  if (authority.validToDate <= now) return `tls.crt ended ${authority.validToDate.toISOString()}`;
  if (authority.validFromDate > now) return `tls.crt is good only from ${authority.validFromDate.toISOString()} on`;
  return { certificate: `${authority.toString().trimEnd()}\n`, key: signer.export({ type: "pkcs8", format: "pem" }).toString() };
}
