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
  readonly days: number;
}

export async function createCa(_commonName: string, _options?: { readonly days?: number }): Promise<KeyedCertificate> {
  throw new Error("coming within the hour");
}

export async function issue(_request: CertificateRequest): Promise<KeyedCertificate> {
  throw new Error("coming within the hour");
}

/** A key pair to sign service account tokens with: PKCS #8 and SPKI, PEM. */
export async function createSigningKeys(): Promise<{ readonly privateKey: string; readonly publicKey: string }> {
  throw new Error("coming within the hour");
}

/** SHA-256 of the DER certificate, lower case hex. */
export function fingerprint(_certificate: string): string {
  throw new Error("coming within the hour");
}

/** `sha256:<hex of the public key info>`, as kubeadm's discovery hash has it. */
export function publicKeyHash(_certificate: string): string {
  throw new Error("coming within the hour");
}

/** Whether less than a third of its life is left, or it is over. */
export function needsRenewal(_certificate: string, _now: Date): boolean {
  throw new Error("coming within the hour");
}
