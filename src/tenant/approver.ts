import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { parseTenant, type TenantRef, tenantText } from "../core/names.ts";
import { type CertificateSigningRequest, CSR, type Kube } from "../kube/index.ts";
import { type Reconciler, reconciler } from "../work/index.ts";
import type { Admissions } from "./admissions.ts";
import type { Attachment } from "./attachments.ts";
import {
  type AdmittedNode,
  type CsrVerdict,
  csrVerdict,
  KUBELET_CLIENT,
  KUBELET_SERVING,
  parseRequest,
  type SigningRequest,
} from "./csr.ts";
import type { Joins } from "./join.ts";

export interface ApproverOptions {
  readonly admissions: Admissions;
  readonly joins: Pick<Joins, "spend">;
  attachments(): readonly Attachment[];
  readonly clock: Clock;
  readonly log: Logger;
}

/** Approves and denies kubelets' certificate requests in every tenant; nobody else does. Keys are `tenant/request`. */
export function approver({ admissions, joins, attachments, clock, log }: ApproverOptions): Reconciler {
  async function reconcile(key: string): Promise<undefined> {
    const [tenant = "", name = ""] = key.split("/");
    const ref = parseTenant(tenant);
    const attachment = attachments().find((one) => tenantText(one.plane.ref) === tenant);
    if (!ref || !attachment) return;
    const csr = await attachment.kube.get(CSR, name);
    if (!csr) return;
    const request = requestOf(csr);
    if (csr.status?.certificate) return issued(ref, request);
    if (isDecided(csr)) return;
    // read now, not from a copy: a claim revoked a moment ago gets nothing any more
    const verdict = csrVerdict(request, parseRequest(request.pem), await admissions.read(ref));
    if (verdict.verdict === "not ours") return;
    if (verdict.verdict === "approve" && verdict.first && !(await bindKey(ref, verdict.node, verdict.key))) return;
    await decide(attachment.kube, csr, verdict, clock.now());
    const facts = { tenant, request: name, requestor: request.username, signer: request.signer };
    if (verdict.verdict === "approve") log.info({ ...facts, node: verdict.node.nodeName }, "certificate request approved");
    else log.warn({ ...facts, reason: verdict.reason, message: verdict.message }, "certificate request denied");
  }

  /** One token, one key: durable before the approval, so that no second key passes whatever happens in between. */
  async function bindKey(ref: TenantRef, node: AdmittedNode, key: string): Promise<boolean> {
    const isThis = (one: AdmittedNode) => one.claimUid === node.claimUid && one.tokenId === node.tokenId;
    const nodes = await admissions.update(ref, (all) =>
      all.some((one) => isThis(one) && one.firstKey === undefined)
        ? all.map((one) => (isThis(one) ? { ...one, firstKey: key } : one))
        : all,
    );
    return nodes.some((one) => isThis(one) && one.firstKey === key);
  }

  async function issued(ref: TenantRef, request: SigningRequest): Promise<undefined> {
    const node = (await admissions.read(ref)).find((one) => one.tokenId && request.username === `system:bootstrap:${one.tokenId}`);
    if (node) await joins.spend(ref, node);
  }

  return reconciler({
    name: "certificates",
    log,
    clock,
    keys: () =>
      attachments().flatMap((one) =>
        one
          .requests()
          .filter(isWork)
          .map((csr) => `${tenantText(one.plane.ref)}/${csr.metadata.name}`),
      ),
    reconcile,
  });
}

function requestOf({ spec }: CertificateSigningRequest): SigningRequest {
  return {
    signer: spec.signerName,
    username: spec.username ?? "",
    groups: spec.groups ?? [],
    usages: spec.usages ?? [],
    pem: Buffer.from(spec.request, "base64").toString("latin1"),
  };
}

function isDecided(csr: CertificateSigningRequest): boolean {
  return (csr.status?.conditions ?? []).some((one) => one.type === "Approved" || one.type === "Denied" || one.type === "Failed");
}

/** A kubelet's, and undecided, or signed for a token that may still have to end. */
function isWork(csr: CertificateSigningRequest): boolean {
  if (csr.spec.signerName !== KUBELET_CLIENT && csr.spec.signerName !== KUBELET_SERVING) return false;
  return !isDecided(csr) || (csr.spec.username ?? "").startsWith("system:bootstrap:");
}

async function decide(
  kube: Kube,
  csr: CertificateSigningRequest,
  verdict: Exclude<CsrVerdict, { verdict: "not ours" }>,
  now: Date,
): Promise<void> {
  const condition =
    verdict.verdict === "approve"
      ? { type: "Approved", reason: "ClaimIsLive", message: `node ${verdict.node.nodeName} of NodeClaim ${verdict.node.claim}` }
      : { type: "Denied", reason: verdict.reason, message: verdict.message };
  const conditions = [...(csr.status?.conditions ?? []), { ...condition, status: "True", lastUpdateTime: now.toISOString() }];
  // under its resourceVersion: what was judged is what is decided
  const metadata = { resourceVersion: csr.metadata.resourceVersion };
  await kube.patch(CSR, csr.metadata.name, undefined, { metadata, status: { conditions } }, { subresource: "approval" });
}
