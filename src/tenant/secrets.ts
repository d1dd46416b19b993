import { IronwrightError } from "../core/errors.ts";
import type { TenantRef } from "../core/names.ts";
import { type Kube, SECRET, type Secret } from "../kube/index.ts";
import type { Bundle } from "./pki.ts";

const TYPE_PKI = "ironwright.dev/pki";
const TYPE_KUBECONFIG = "ironwright.dev/kubeconfig";
const LABEL_UID = "ironwright.dev/virtualcluster-uid";

/** The Secrets of one VirtualCluster in its namespace of the host control plane, where they are encrypted at rest. */
export function tenantSecrets(kube: Kube, ref: TenantRef, uid: string) {
  const pki = { name: `${ref.name}-pki`, type: TYPE_PKI };
  const people = { name: `${ref.name}-kubeconfig`, type: TYPE_KUBECONFIG };

  async function read({ name, type }: typeof pki): Promise<Secret | undefined> {
    const secret = await kube.get(SECRET, name, ref.namespace);
    if (secret && (secret.type !== type || secret.metadata.labels?.[LABEL_UID] !== uid)) {
      throw new IronwrightError("IRW_TENANT_SECRET", { secret: `${ref.namespace}/${name}`, holds: `type ${secret.type ?? "Opaque"}` });
    }
    return secret;
  }

  async function write({ name, type }: typeof pki, contents: Bundle): Promise<void> {
    const before = await read({ name, type });
    const data = encoded(contents);
    const same = before?.data && Object.keys(before.data).length === Object.keys(data).length;
    if (same && Object.entries(data).every(([key, text]) => before.data?.[key] === text)) return;
    const metadata = { ...before?.metadata, name, namespace: ref.namespace, labels: { ...before?.metadata.labels, [LABEL_UID]: uid } };
    const secret: Secret = { apiVersion: "v1", kind: "Secret", metadata, type, data };
    await (before ? kube.replace(SECRET, secret) : kube.create(SECRET, secret));
  }

  return {
    async readBundle(): Promise<Bundle> {
      return decoded(await read(pki));
    },
    writeBundle: (bundle: Bundle) => write(pki, bundle),
    writeKubeconfig: (text: string) => write(people, { value: text }),

    /** @throws IRW_TENANT_LEFTOVER when one is still there afterwards */
    async remove(): Promise<void> {
      for (const { name, type } of [people, pki]) {
        const secret = await kube.get(SECRET, name, ref.namespace);
        if (secret?.type !== type || secret.metadata.labels?.[LABEL_UID] !== uid) continue;
        await kube.delete(SECRET, name, { namespace: ref.namespace });
        if (await kube.get(SECRET, name, ref.namespace)) {
          throw new IronwrightError("IRW_TENANT_LEFTOVER", { tenant: `${ref.namespace}.${ref.name}`, what: `Secret ${name}` });
        }
      }
    },
  };
}

/** A bundle as a Secret's data. */
export function encoded(bundle: Bundle): Record<string, string> {
  return Object.fromEntries(Object.entries(bundle).map(([key, text]) => [key, Buffer.from(text, "utf8").toString("base64")]));
}

export function decoded(secret: Secret | undefined): Bundle {
  return Object.fromEntries(Object.entries(secret?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]));
}
