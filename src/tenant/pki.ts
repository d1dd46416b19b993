import { X509Certificate } from "node:crypto";
import { IronwrightError } from "../core/errors.ts";
import { SEED_BYTES, sshKey } from "../core/ssh-key.ts";
import { createCa, createSigningKeys, issue, type KeyedCertificate, needsRenewal } from "../supervise/index.ts";

/**
 * All keys and certificates of one tenant, by file name. It is the content of its `<name>-pki` Secret, and of a
 * directory only its processes read. While authorities are changed it holds two of each; see rotation.ts.
 */
export type Bundle = Readonly<Record<string, string>>;

/** How long certificates live, in milliseconds. */
export interface Lives {
  /** Of the control plane's own, which are renewed in place when a third is left. */
  readonly leafMs: number;
  /** Of the administrator's that people carry away. */
  readonly peopleMs: number;
  readonly authorityMs: number;
}

const DAY_MS = 86_400_000;
/** Client-go looks every five minutes for a renewed file: a third of a life must be much longer, or its owner is refused meanwhile. */
export const LIVES: Lives = { leafMs: 7 * DAY_MS, peopleMs: 365 * DAY_MS, authorityMs: 3650 * DAY_MS };

export interface BundleOptions {
  /** For messages. */
  readonly tenant: string;
  /** Names and addresses people, nodes and pods dial the apiserver by. */
  readonly sans: readonly string[];
  /** The datastore's authority, and what issues the client certificate for this tenant's range. */
  readonly datastore: { readonly ca: string; certificate(days: number): Promise<KeyedCertificate> };
  readonly now: Date;
  readonly lives?: Lives;
  /** The user's own, to begin with; without it one is made. */
  readonly authority?: KeyedCertificate | undefined;
  readonly random: (bytes: number) => Buffer;
}

/** Group of the people's administrator: bound to cluster-admin by RBAC, so that, unlike system:masters, it can be revoked. */
export const ADMINS_GROUP = "ironwright:admins";
export const KUBELET_CALLER = "kube-apiserver-kubelet-client";

/** What issues a tenant's certificates, by file name. */
export const AUTHORITIES = ["ca", "front-proxy-ca"] as const;
export type Authority = (typeof AUTHORITIES)[number];
const AUTHORITY_NAMES: Readonly<Record<Authority, string>> = { ca: "kubernetes", "front-proxy-ca": "front-proxy" };

/** The SSH key by which the gateway goes through the tenant's nodes to their pods. No process of the tenant's has it. */
export const FORWARDING = { key: "ssh-forwarding.key", pub: "ssh-forwarding.pub" } as const;

interface Leaf {
  readonly file: string;
  readonly authority: Authority;
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly usage: "server" | "client";
  readonly life?: "peopleMs";
}

const LEAVES: readonly Leaf[] = [
  { file: "apiserver", authority: "ca", commonName: "kube-apiserver", usage: "server" },
  { file: "kubelet-client", authority: "ca", commonName: KUBELET_CALLER, usage: "client" },
  { file: "front-proxy", authority: "front-proxy-ca", commonName: "front-proxy-client", usage: "client" },
  // its controllers may do all there is anyway, by the tokens they can mint; see process.ts
  {
    file: "controller-manager",
    authority: "ca",
    commonName: "system:kube-controller-manager",
    organizations: ["system:masters"],
    usage: "client",
  },
  { file: "scheduler", authority: "ca", commonName: "system:kube-scheduler", usage: "client" },
  { file: "daemon", authority: "ca", commonName: "ironwright", organizations: ["system:masters"], usage: "client" },
  { file: "people", authority: "ca", commonName: "admin", organizations: [ADMINS_GROUP], usage: "client", life: "peopleMs" },
];

/** Every certificate that is renewed in place, by file name. */
export const LEAF_FILES: readonly string[] = [...LEAVES.map((leaf) => leaf.file), "etcd"];

/**
 * The bundle with all that is missing made and all that grows old renewed; the same object when nothing was to be done.
 * An authority is made where there is none at all; one that lost half of itself is somebody's decision, never replaced.
 * @throws IRW_TENANT_AUTHORITY
 */
export async function completeBundle(before: Bundle, options: BundleOptions): Promise<Bundle> {
  const { now, lives = LIVES, datastore, tenant } = options;
  const next = new Map(Object.entries(before));
  for (const authority of AUTHORITIES) {
    const [certificate, key] = [next.has(`${authority}.crt`), next.has(`${authority}.key`)];
    if (certificate !== key) {
      throw new IronwrightError("IRW_TENANT_AUTHORITY", {
        tenant,
        problem: `its Secret has ${authority}.${certificate ? "crt" : "key"} and not ${authority}.${certificate ? "key" : "crt"}`,
      });
    }
    if (!certificate) put(next, authority, (authority === "ca" && options.authority) || (await newAuthority(authority, 1, options)));
    next.set(`${authority}-bundle.crt`, trusted(next, authority));
  }
  for (const leaf of LEAVES) {
    const sans = leaf.usage === "server" ? options.sans : [];
    const authority = keyed(next, leaf.authority);
    if (isGood(next.get(`${leaf.file}.crt`), { authority: authority.certificate, sans, now })) continue;
    const { commonName, organizations = [], life = "leafMs" } = leaf;
    const days = lives[life] / DAY_MS;
    put(next, leaf.file, await issue({ ca: authority, commonName, organizations, sans, usages: [leaf.usage], days, now }));
  }
  if (!isGood(next.get("etcd.crt"), { authority: datastore.ca, sans: [], now })) {
    put(next, "etcd", await datastore.certificate(lives.leafMs / DAY_MS));
  }
  next.set("etcd-ca.crt", datastore.ca);
  if (!next.has("service-account.key") || !next.has("service-account.pub")) {
    const keys = await createSigningKeys();
    next.set("service-account.key", keys.privateKey);
    next.set("service-account.pub", keys.publicKey);
  }
  // nodes know it from their joining, so it is made once
  if (!next.has(FORWARDING.key) || !next.has(FORWARDING.pub)) {
    const made = sshKey(options.random(SEED_BYTES), "ironwright-gateway");
    next.set(FORWARDING.key, made.privateKey);
    next.set(FORWARDING.pub, made.publicKey);
  }
  // losing it loses the tenant's Secrets, so it is made once and never again
  if (!next.has("encryption-key")) next.set("encryption-key", options.random(32).toString("base64"));
  const changed = next.size !== Object.keys(before).length || [...next].some(([file, text]) => before[file] !== text);
  return changed ? Object.fromEntries(next) : before;
}

/** A new authority of one purpose. Each generation has a name of its own: verifiers look an issuer up by name. */
export function newAuthority(
  authority: Authority,
  generation: number,
  { now, lives = LIVES }: Pick<BundleOptions, "now" | "lives">,
): Promise<KeyedCertificate> {
  const name = generation === 1 ? AUTHORITY_NAMES[authority] : `${AUTHORITY_NAMES[authority]}-${generation}`;
  return createCa(name, { days: lives.authorityMs / DAY_MS, now });
}

/**
 * The certificate and key of one name in a bundle. While authorities overlap, what the new one issued carries the new one as
 * the old one certified it: who knows the old alone accepts it too.
 */
export function keyedOf(bundle: Bundle, file: string): KeyedCertificate {
  const { certificate, key } = keyed(new Map(Object.entries(bundle)), file);
  const authority = LEAVES.find((leaf) => leaf.file === file)?.authority;
  return { certificate: certificate + (authority ? (bundle[`${authority}-cross.crt`] ?? "") : ""), key };
}

/** PEM of all authorities to accept the apiserver by. */
export function trustOf(bundle: Bundle): string {
  return bundle["ca-bundle.crt"] ?? bundle["ca.crt"] ?? "";
}

/** The one that issues first, then the one that comes or goes. */
function trusted(bundle: ReadonlyMap<string, string>, authority: Authority): string {
  return [`${authority}.crt`, `${authority}-next.crt`, `${authority}-old.crt`].map((file) => bundle.get(file) ?? "").join("");
}

function keyed(bundle: ReadonlyMap<string, string>, file: string): KeyedCertificate {
  return { certificate: bundle.get(`${file}.crt`) ?? "", key: bundle.get(`${file}.key`) ?? "" };
}

function put(bundle: Map<string, string>, file: string, { certificate, key }: KeyedCertificate): void {
  bundle.set(`${file}.crt`, certificate);
  bundle.set(`${file}.key`, key);
}

/** Whether a leaf is there, is of this authority, names exactly these, and has life left. */
function isGood(certificate: string | undefined, want: { authority: string; sans: readonly string[]; now: Date }): boolean {
  if (!certificate || needsRenewal(certificate, want.now)) return false;
  const leaf = new X509Certificate(certificate);
  if (!leaf.verify(new X509Certificate(want.authority).publicKey)) return false;
  const names = (leaf.subjectAltName ?? "").split(", ").filter((one) => one !== "");
  const plain = names.map((one) => one.replace(/^(DNS|IP Address):/, ""));
  return plain.length === want.sans.length && want.sans.every((one) => plain.includes(one));
}
