import { X509Certificate } from "node:crypto";
import { createCa, createSigningKeys, issue, type KeyedCertificate, needsRenewal } from "../supervise/index.ts";

/**
 * All keys and certificates of one tenant, by file name. It is the content of its `<name>-pki` Secret, and of a
 * directory only its processes read.
 */
export type Bundle = Readonly<Record<string, string>>;

export interface BundleOptions {
  /** Names and addresses people, nodes and pods dial the apiserver by. */
  readonly sans: readonly string[];
  /** The datastore's authority, and what issues the client certificate for this tenant's range. */
  readonly datastore: { readonly ca: string; certificate(days: number): Promise<KeyedCertificate> };
  readonly now: Date;
  readonly random: (bytes: number) => Buffer;
}

/** Clients that people carry away live longer than what the reconciler renews in place. */
const PEOPLE_DAYS = 365;
const LEAF_DAYS = 90;

/** Group of the people's administrator: bound to cluster-admin by RBAC, so that, unlike system:masters, it can be revoked. */
export const ADMINS_GROUP = "ironwright:admins";
export const KUBELET_CALLER = "kube-apiserver-kubelet-client";

interface Leaf {
  readonly file: string;
  readonly authority: "ca" | "front-proxy-ca";
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly usage: "server" | "client";
  readonly days?: number;
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
  { file: "people", authority: "ca", commonName: "admin", organizations: [ADMINS_GROUP], usage: "client", days: PEOPLE_DAYS },
];

/** The bundle with all that is missing made and all that grows old renewed; the same object when nothing was to be done. */
export async function completeBundle(before: Bundle, options: BundleOptions): Promise<Bundle> {
  const next = new Map(Object.entries(before));
  for (const [file, commonName] of [
    ["ca", "kubernetes"],
    ["front-proxy-ca", "front-proxy"],
  ] as const) {
    if (!next.has(`${file}.crt`) || !next.has(`${file}.key`)) put(next, file, await createCa(commonName));
  }
  for (const leaf of LEAVES) {
    const sans = leaf.usage === "server" ? options.sans : [];
    const authority = keyed(next, leaf.authority);
    if (isGood(next.get(`${leaf.file}.crt`), { authority: authority.certificate, sans, now: options.now })) continue;
    const { commonName, organizations = [], days = LEAF_DAYS } = leaf;
    put(next, leaf.file, await issue({ ca: authority, commonName, organizations, sans, usages: [leaf.usage], days }));
  }
  const { datastore } = options;
  if (!isGood(next.get("etcd.crt"), { authority: datastore.ca, sans: [], now: options.now })) {
    put(next, "etcd", await datastore.certificate(LEAF_DAYS));
  }
  next.set("etcd-ca.crt", datastore.ca);
  if (!next.has("service-account.key") || !next.has("service-account.pub")) {
    const keys = await createSigningKeys();
    next.set("service-account.key", keys.privateKey);
    next.set("service-account.pub", keys.publicKey);
  }
  // losing it loses the tenant's Secrets, so it is made once and never again
  if (!next.has("encryption-key")) next.set("encryption-key", options.random(32).toString("base64"));
  const changed = next.size !== Object.keys(before).length || [...next].some(([file, text]) => before[file] !== text);
  return changed ? Object.fromEntries(next) : before;
}

/** The certificate and key of one name in a bundle. */
export function keyedOf(bundle: Bundle, file: string): KeyedCertificate {
  return keyed(new Map(Object.entries(bundle)), file);
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
