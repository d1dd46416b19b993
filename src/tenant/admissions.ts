import { isError } from "../core/errors.ts";
import type { TenantRef } from "../core/names.ts";
import type { Metadata } from "../core/resources.ts";
import { type Kube, SECRET, type Secret } from "../kube/index.ts";
import type { AdmittedNode } from "./csr.ts";

/**
 * Which nodes a tenant has admitted: one Secret on the host control plane, one entry a node. Everything inside the
 * tenant (token, gate) follows from it and is made again when lost; a daemon that starts reads it and goes on.
 */
export interface Admissions {
  read(ref: TenantRef): Promise<readonly AdmittedNode[]>;
  /** Writes what `change` makes of the fresh list, under its resourceVersion; the same list writes nothing. */
  update(ref: TenantRef, change: (nodes: readonly AdmittedNode[]) => readonly AdmittedNode[]): Promise<readonly AdmittedNode[]>;
  remove(ref: TenantRef): Promise<void>;
}

const TRIES = 10;

export function hostAdmissions(kube: Kube): Admissions {
  const nameOf = (ref: TenantRef) => `${ref.name}-nodes`;

  async function write(ref: TenantRef, before: Secret | undefined, nodes: readonly AdmittedNode[]): Promise<void> {
    const metadata: Metadata = { ...before?.metadata, name: nameOf(ref), namespace: ref.namespace };
    const data = Object.fromEntries(nodes.map((node) => [node.nodeName, Buffer.from(JSON.stringify(node)).toString("base64")]));
    const secret: Secret = { apiVersion: "v1", kind: "Secret", metadata, type: "ironwright.dev/admitted-nodes", data };
    await (before ? kube.replace(SECRET, secret) : kube.create(SECRET, secret));
  }

  return {
    async read(ref) {
      return nodesOf(await kube.get(SECRET, nameOf(ref), ref.namespace));
    },

    async update(ref, change) {
      for (let attempt = 1; ; attempt += 1) {
        const secret = await kube.get(SECRET, nameOf(ref), ref.namespace);
        const before = nodesOf(secret);
        const after = change(before);
        if (after === before) return before;
        try {
          await write(ref, secret, after);
          return after;
        } catch (error) {
          if (!isError(error, "IRW_KUBE_CONFLICT") || attempt === TRIES) throw error;
        }
      }
    },

    async remove(ref) {
      await kube.delete(SECRET, nameOf(ref), { namespace: ref.namespace });
    },
  };
}

function nodesOf(secret: Secret | undefined): readonly AdmittedNode[] {
  return Object.values(secret?.data ?? {}).map((value) => JSON.parse(Buffer.from(value, "base64").toString("utf8")) as AdmittedNode);
}
