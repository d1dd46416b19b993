import { isDeepStrictEqual } from "node:util";
import { isError } from "../core/errors.ts";
import type { Kind, Resource } from "../core/resources.ts";
import {
  CLUSTER_ROLE_BINDING,
  type ClusterRoleBinding,
  type Kube,
  SECRET,
  type Secret,
  type Subject,
  VALIDATING_ADMISSION_POLICY,
  VALIDATING_ADMISSION_POLICY_BINDING,
  type ValidatingAdmissionPolicy,
  type ValidatingAdmissionPolicyBinding,
} from "../kube/index.ts";
import type { AdmittedNode } from "./csr.ts";
import { ADMINS_GROUP, KUBELET_CALLER } from "./pki.ts";

/** Policy, binding and parameter have one name, so that a refusal leads to all three. */
export const GATE = "ironwright-admitted-nodes";
export const BOOTSTRAP_GROUP = "system:bootstrappers:ironwright";
const MANAGED = { "app.kubernetes.io/managed-by": "ironwright" } as const;
/** Selects what the daemon keeps in a tenant's control plane. */
export const MANAGED_SELECTOR = "app.kubernetes.io/managed-by=ironwright";

/** An object kept in every tenant, exactly as here. */
export interface Kept<T extends Resource = Resource> {
  readonly kind: Kind<T>;
  readonly object: T;
}

/** Who may do what in a new tenant, besides upstream's own roles. */
const BINDINGS: readonly Kept<ClusterRoleBinding>[] = [
  binding("ironwright:node-bootstrapper", "system:node-bootstrapper", { kind: "Group", name: BOOTSTRAP_GROUP }),
  binding("ironwright:admins", "cluster-admin", { kind: "Group", name: ADMINS_GROUP }),
  binding("ironwright:kubelet-api", "system:kubelet-api-admin", { kind: "User", name: KUBELET_CALLER }),
];

/**
 * Refuses whatever a node writes unless it has a live claim: that is what revoking means, since certificates cannot be
 * taken back. A policy that cannot be judged refuses too.
 */
const POLICY: Kept<ValidatingAdmissionPolicy> = {
  kind: VALIDATING_ADMISSION_POLICY,
  object: {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicy",
    metadata: { name: GATE, labels: MANAGED },
    spec: {
      failurePolicy: "Fail",
      // a Secret, since the apiserver watches those for itself: when nobody else does, it stops watching the kind of a policy's
      // parameters for ever once the policy is deleted, and judges by what it saw last when the policy is back
      paramKind: { apiVersion: "v1", kind: "Secret" },
      matchConstraints: {
        matchPolicy: "Equivalent",
        resourceRules: [
          { apiGroups: ["*"], apiVersions: ["*"], operations: ["CREATE", "UPDATE", "DELETE", "CONNECT"], resources: ["*/*"], scope: "*" },
        ],
      },
      matchConditions: [
        {
          name: "is-a-node",
          expression: '"system:nodes" in request.userInfo.groups || request.userInfo.username.startsWith("system:node:")',
        },
      ],
      validations: [
        {
          expression:
            'request.userInfo.username.startsWith("system:node:") && has(params.data) && request.userInfo.username.substring(12) in params.data',
          messageExpression: 'request.userInfo.username + " has no live claim"',
          reason: "Forbidden",
        },
      ],
    },
  },
};

const POLICY_BINDING: Kept<ValidatingAdmissionPolicyBinding> = {
  kind: VALIDATING_ADMISSION_POLICY_BINDING,
  object: {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicyBinding",
    metadata: { name: GATE, labels: MANAGED },
    spec: {
      policyName: GATE,
      paramRef: { name: GATE, namespace: "kube-system", parameterNotFoundAction: "Deny" },
      validationActions: ["Deny"],
    },
  },
};

/** Policy and binding of a tenant that may create nothing. */
export const FULL = "ironwright-datastore-full";

/**
 * Refuses what is new in a tenant whose datastore is full. What exists can be changed and deleted: finalizers and status
 * are changes, and without them nothing ever goes. Nodes go on renewing their certificates and leases.
 */
const FULL_POLICY: Kept<ValidatingAdmissionPolicy> = {
  kind: VALIDATING_ADMISSION_POLICY,
  object: {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicy",
    metadata: { name: FULL, labels: MANAGED },
    spec: {
      failurePolicy: "Fail",
      matchConstraints: {
        matchPolicy: "Equivalent",
        // "*" is every resource and no subresource: bindings, evictions and tokens are asked for by those
        resourceRules: [{ apiGroups: ["*"], apiVersions: ["*"], operations: ["CREATE"], resources: ["*"], scope: "*" }],
        excludeResourceRules: [
          rule("coordination.k8s.io", "leases"),
          rule("certificates.k8s.io", "certificatesigningrequests"),
          rule("authentication.k8s.io", "*"),
          rule("authorization.k8s.io", "*"),
          rule("", "nodes"),
          rule("storage.k8s.io", "csinodes"),
        ],
      },
      // the daemon's own, as in attachments.ts
      matchConditions: [{ name: "is-not-the-daemon", expression: 'request.userInfo.username != "ironwright"' }],
      validations: [
        {
          expression: "false",
          message: "the datastore of this control plane is full: delete objects, or ask for a larger quota; what exists can be changed",
          reason: "Forbidden",
        },
      ],
    },
  },
};

const FULL_BINDING: Kept<ValidatingAdmissionPolicyBinding> = {
  kind: VALIDATING_ADMISSION_POLICY_BINDING,
  object: {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicyBinding",
    metadata: { name: FULL, labels: MANAGED },
    spec: { policyName: FULL, validationActions: ["Deny"] },
  },
};

function rule(group: string, resource: string) {
  return { apiGroups: [group], apiVersions: ["*"], operations: ["*"], resources: [resource], scope: "*" };
}

/** Makes the tenant's apiserver refuse what is new, or stop refusing it. Idempotent. */
export async function keepFull(kube: Kube, isFull: boolean): Promise<void> {
  // the binding is what makes a policy act: last to come and first to go
  const kept: readonly Kept[] = isFull ? [FULL_POLICY, FULL_BINDING] : [FULL_BINDING, FULL_POLICY];
  for (const one of kept) {
    if (isFull) await keep(kube, one);
    else if (await kube.get(one.kind, FULL)) await kube.delete(one.kind, FULL);
  }
}

/** The gate's parameter: node name to the uid of the claim it is live for. */
function admittedNodes(admitted: readonly AdmittedNode[]): Kept<Secret> {
  return {
    kind: SECRET,
    object: {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: GATE, namespace: "kube-system", labels: MANAGED },
      type: "ironwright.dev/admitted-nodes",
      data: Object.fromEntries(admitted.map((node) => [node.nodeName, Buffer.from(node.claimUid).toString("base64")])),
    },
  };
}

/**
 * Makes a tenant's control plane hold what the daemon keeps there; what somebody changed is taken back. Idempotent.
 * @param more what is kept in this tenant besides
 * @returns whether anything was not as it should be
 */
export async function bootstrapTenant(
  kube: Kube,
  admitted: () => Promise<readonly AdmittedNode[]>,
  more: readonly Kept[] = [],
): Promise<boolean> {
  // the gate first: until it stands, nobody can make a token or a node's certificate valid
  let changed = await writeGate(kube, admitted);
  for (const kept of [POLICY, POLICY_BINDING, ...BINDINGS, ...more]) changed = (await keep(kube, kept)) || changed;
  return changed;
}

const TRIES = 10;

/**
 * Writes who is admitted to the gate's parameter. Who is admitted is read after the parameter was: a list that grew old
 * meanwhile cannot overwrite a newer one, and let somebody in again.
 */
export async function writeGate(kube: Kube, admitted: () => Promise<readonly AdmittedNode[]>): Promise<boolean> {
  for (let attempt = 1; ; attempt += 1) {
    const live = await kube.get(SECRET, GATE, "kube-system");
    try {
      return await write(kube, admittedNodes(await admitted()), live);
    } catch (error) {
      if (!isError(error, "IRW_KUBE_CONFLICT") || attempt === TRIES) throw error;
    }
  }
}

async function keep(kube: Kube, kept: Kept): Promise<boolean> {
  const { name, namespace } = kept.object.metadata;
  return write(kube, kept, await kube.get(kept.kind, name, namespace));
}

/**
 * Replaces whole: server-side apply would leave keys and conditions that somebody else added, and one more match
 * condition opens the gate.
 */
async function write(kube: Kube, { kind, object }: Kept, live: Resource | undefined): Promise<boolean> {
  if (live && says(live, object)) return false;
  if (!live) {
    await kube.create(kind, object);
    return true;
  }
  const { name, namespace } = object.metadata;
  try {
    await kube.replace(kind, { ...object, metadata: { ...object.metadata, resourceVersion: live.metadata.resourceVersion ?? "" } });
  } catch (error) {
    // a binding's role cannot be changed, only made anew
    if (!isError(error, "IRW_KUBE_REFUSED")) throw error;
    await kube.delete(kind, name, namespace === undefined ? {} : { namespace });
    await kube.create(kind, object);
  }
  return true;
}

/** Whether the live object says what ours does, and in what we define nothing more. What is empty is not sent back. */
function says(live: Resource, ours: Resource): boolean {
  if (live.metadata.deletionTimestamp) return false;
  const labels = Object.entries(ours.metadata.labels ?? {}).every(([key, value]) => live.metadata.labels?.[key] === value);
  const { apiVersion: _a, kind: _k, metadata: _m, ...parts } = ours as Resource & Record<string, unknown>;
  return (
    labels &&
    Object.entries(parts).every(([part, value]) =>
      isDeepStrictEqual(withoutDefaults((live as Resource & Record<string, unknown>)[part] ?? {}), value),
    )
  );
}

/** Without what the apiserver fills in: a policy's empty selectors, which select all. */
function withoutDefaults(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDefaults);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, inner]) => !isDeepStrictEqual(inner, {}));
  return Object.fromEntries(entries.map(([key, inner]) => [key, withoutDefaults(inner)]));
}

function binding(name: string, role: string, subject: Pick<Subject, "kind" | "name">): Kept<ClusterRoleBinding> {
  return {
    kind: CLUSTER_ROLE_BINDING,
    object: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name, labels: MANAGED },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", ...subject }],
    },
  };
}
