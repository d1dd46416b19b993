import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { IronwrightError } from "../core/errors.ts";
import { type TenantRef, tenantText } from "../core/names.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import { type Kube, NODE, SECRET, type Secret } from "../kube/index.ts";
import type { Admissions } from "./admissions.ts";
import type { Attachment } from "./attachments.ts";
import { BOOTSTRAP_GROUP, writeGate } from "./bootstrap.ts";
import { parseNetwork } from "./cidr.ts";
import type { AdmittedNode, NodeSsh } from "./csr.ts";
import { proveRefused } from "./gate.ts";
import { FORWARDING, trustOf } from "./pki.ts";
import { idOf } from "./runtime.ts";

/** What a machine needs to join, for one claim alone and for minutes. */
export interface JoinCredential {
  readonly server: string;
  /** PEM. */
  readonly ca: string;
  /** Bootstrap token, `id.secret`. */
  readonly token: string;
  /** RFC 3339. */
  readonly expires: string;
  readonly nodeName: string;
  readonly clusterDomain: string;
  /** The tenant's whole pod network; the node's share of it is in its Node's spec.podCIDR. */
  readonly podCIDR: string;
  readonly serviceCIDR: string;
  /** `ssh-ed25519 AAAA… COMMENT`: who may forward through the node, and do nothing else. Absent where there is no gateway. */
  readonly forwardingKey?: string;
}

export interface NodeIdentity {
  readonly claim: string;
  readonly claimUid: string;
  readonly nodeName: string;
}

/** A machine that is to join, as the daemon knows it. */
export interface JoiningNode extends NodeIdentity {
  readonly addresses: readonly string[];
}

/** How what lies behind a node is reached. */
export interface NodeWay {
  /** Which part of the pod network its Node says is its own; what is no network is none. */
  readonly podCIDR?: string | undefined;
  /** Where its SSH server forwards for the tenant's key. */
  readonly ssh?: NodeSsh | undefined;
}

export interface JoinOptions {
  /** The host control plane. */
  readonly kube: Kube;
  readonly admissions: Admissions;
  /** @throws IRW_TENANT_NOT_READY */
  attachment(ref: TenantRef): Attachment;
  /** The address nodes dial. */
  readonly address: string;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
  /** Its apiserver dials this node no more. */
  closeWayTo(cluster: VirtualCluster, nodeName: string): Promise<void>;
  /** Who is admitted changed, or joined. */
  onChange(ref: TenantRef): void;
}

export interface Joins {
  admit(ref: TenantRef, node: JoiningNode): Promise<JoinCredential>;
  /** Until then nothing behind it is dialled. Idempotent. */
  noteWay(ref: TenantRef, node: NodeIdentity, way: NodeWay): Promise<void>;
  revoke(ref: TenantRef, node: NodeIdentity): Promise<void>;
  /** Ends a token whose first certificate was issued. */
  spend(ref: TenantRef, node: AdmittedNode): Promise<void>;
}

const TOKEN_LIFE_MS = 10 * 60_000;
const CLUSTER_DOMAIN = "cluster.local";
const LABEL_CLAIM_UID = "ironwright.dev/claim-uid";

/** Lets machines of live claims into a tenant, and out again. */
export function joins({ kube, admissions, attachment, address, clock, random, log, closeWayTo, onChange }: JoinOptions): Joins {
  async function deleteTokens(tenant: Kube, claimUid: string, except?: string): Promise<void> {
    const { items } = await tenant.list(SECRET, { namespace: "kube-system", labelSelector: `${LABEL_CLAIM_UID}=${claimUid}` });
    for (const { metadata } of items)
      if (metadata.name !== except) await tenant.delete(SECRET, metadata.name, { namespace: "kube-system" });
  }

  async function admit(ref: TenantRef, node: JoiningNode): Promise<JoinCredential> {
    const { kube: tenant, plane } = attachment(ref);
    const cluster = await kube.get(VIRTUAL_CLUSTER, ref.name, ref.namespace);
    if (!cluster || cluster.metadata.deletionTimestamp || idOf(cluster) !== plane.id) {
      throw new IronwrightError("IRW_TENANT_NOT_READY", { tenant: tenantText(ref), reason: "it is being deleted" });
    }
    const before = (await admissions.read(ref)).find((one) => one.nodeName === node.nodeName);
    if (before && before.claimUid !== node.claimUid) await revoke(ref, before);

    const [id, secret] = [tokenText(random, 6), tokenText(random, 16)];
    const expires = new Date(clock.now().getTime() + TOKEN_LIFE_MS).toISOString();
    const { claim, claimUid, nodeName, addresses } = node;
    const forwardingKey = plane.user === undefined ? undefined : plane.bundle[FORWARDING.pub];
    await admissions.update(ref, (nodes) => [
      ...nodes.filter((one) => one.nodeName !== nodeName),
      { claim, claimUid, nodeName, addresses, tokenId: id },
    ]);
    await tenant.create(SECRET, tokenSecret({ id, secret, expires, claimUid, description: `node ${nodeName} for NodeClaim ${claim}` }));
    await deleteTokens(tenant, claimUid, `bootstrap-token-${id}`);
    await writeGate(tenant, () => admissions.read(ref));
    log.info({ tenant: tenantText(ref), claim, node: nodeName }, "node admitted");
    onChange(ref);
    return {
      server: `https://${address}:${plane.port}`,
      ca: trustOf(plane.bundle),
      token: `${id}.${secret}`,
      expires,
      nodeName,
      clusterDomain: CLUSTER_DOMAIN,
      podCIDR: plane.spec.podCIDR,
      serviceCIDR: plane.spec.serviceCIDR,
      ...(forwardingKey === undefined ? {} : { forwardingKey }),
    };
  }

  async function noteWay(ref: TenantRef, { nodeName, claimUid }: NodeIdentity, { podCIDR, ssh }: NodeWay): Promise<void> {
    // it comes from the tenant's apiserver
    const network = typeof podCIDR === "string" && parseNetwork(podCIDR) ? { podCIDR } : {};
    await admissions.update(ref, (nodes) => {
      const mine = nodes.find((one) => one.nodeName === nodeName && one.claimUid === claimUid);
      const noted = mine && { ...mine, ...network, ...(ssh ? { ssh } : {}) };
      if (!noted || isDeepStrictEqual(noted, mine)) return nodes;
      return nodes.map((one) => (one === mine ? noted : one));
    });
    onChange(ref);
  }

  async function revoke(ref: TenantRef, node: NodeIdentity): Promise<void> {
    const cluster = await kube.get(VIRTUAL_CLUSTER, ref.name, ref.namespace);
    if (!cluster) return;
    const isThis = (one: AdmittedNode) => one.nodeName === node.nodeName && one.claimUid === node.claimUid;
    const left = await admissions.update(ref, (nodes) => (nodes.some(isThis) ? nodes.filter((one) => !isThis(one)) : nodes));
    try {
      // the machine may be another's as soon as this resolves
      if (!left.some((one) => one.nodeName === node.nodeName)) await closeWayTo(cluster, node.nodeName);
      const held = attachment(ref);
      await writeGate(held.kube, () => admissions.read(ref));
      await deleteTokens(held.kube, node.claimUid);
      // a newer claim has this node by now: the Node is its own
      if (left.some((one) => one.nodeName === node.nodeName)) return;
      await proveRefused({ ref, dial: held.dial, bundle: held.plane.bundle, clock }, node.nodeName);
      await held.kube.delete(NODE, node.nodeName);
    } catch (error) {
      // its authority and its objects end with it; waiting for an apiserver that does not answer, or that its tenant taught
      // to refuse us (a webhook, a policy), would keep the machine for ever
      if (!(error instanceof IronwrightError) || !cluster.metadata.deletionTimestamp) throw error;
      log.warn(
        { tenant: tenantText(ref), node: node.nodeName, err: error },
        "the tenant is being deleted and does not let its node go: revoked by its end",
      );
      return;
    }
    log.info({ tenant: tenantText(ref), claim: node.claim, node: node.nodeName }, "node revoked");
    onChange(ref);
  }

  async function spend(ref: TenantRef, node: AdmittedNode): Promise<void> {
    await deleteTokens(attachment(ref).kube, node.claimUid);
    await admissions.update(ref, (nodes) => {
      const mine = nodes.find((one) => one.claimUid === node.claimUid && one.tokenId === node.tokenId);
      if (!mine?.tokenId) return nodes;
      const { tokenId: _, firstKey: __, ...joined } = mine;
      return nodes.map((one) => (one === mine ? joined : one));
    });
    onChange(ref);
  }

  return { admit, noteWay, revoke, spend };
}

/** Format and keys: kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens. */
function tokenSecret(token: { id: string; secret: string; expires: string; claimUid: string; description: string }): Secret {
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: `bootstrap-token-${token.id}`, namespace: "kube-system", labels: { [LABEL_CLAIM_UID]: token.claimUid } },
    type: "bootstrap.kubernetes.io/token",
    stringData: {
      "token-id": token.id,
      "token-secret": token.secret,
      expiration: token.expires,
      "usage-bootstrap-authentication": "true",
      "auth-extra-groups": BOOTSTRAP_GROUP,
      description: token.description,
    },
  };
}

const ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789";
/** The largest multiple of 36 in a byte: what is above would make the first letters likelier. */
const FAIR = 252;

function tokenText(random: (bytes: number) => Buffer, length: number): string {
  let text = "";
  while (text.length < length)
    for (const byte of random(length)) if (byte < FAIR && text.length < length) text += ALPHABET[byte % ALPHABET.length];
  return text;
}
