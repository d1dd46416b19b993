import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { type TenantRef, tenantText } from "../core/names.ts";
import {
  type CertificateSigningRequest,
  CLUSTER_ROLE_BINDING,
  CSR,
  connectKube,
  type Kube,
  type Reflector,
  reflector,
  SECRET,
  VALIDATING_ADMISSION_POLICY,
  VALIDATING_ADMISSION_POLICY_BINDING,
} from "../kube/index.ts";
import { MANAGED_SELECTOR } from "./bootstrap.ts";
import { type Credentials, kubeconfig } from "./kubeconfig.ts";
import { keyedOf, trustOf } from "./pki.ts";
import type { ControlPlane, Dial } from "./runtime.ts";

/** The daemon's hold on one running control plane: an administrator's client, and what it watches there. */
export interface Attachment {
  readonly plane: ControlPlane;
  readonly kube: Kube;
  readonly dial: Dial;
  requests(): readonly CertificateSigningRequest[];
  detach(): Promise<void>;
}

export interface AttachOptions {
  readonly log: Logger;
  readonly clock: Clock;
  readonly dial: Dial;
  /** A certificate signing request changed. */
  onRequest(name: string): void;
  /** Something the daemon keeps in the tenant changed. */
  onTamper(): void;
}

/** Some ten thousand pods; a hostile apiserver's list has no end. */
const LARGEST_LIST = 256 * 2 ** 20;

/** A client of a tenant's apiserver, by the daemon's own way. */
export function connectPlane({ server, socketPath }: Dial, who: Omit<Credentials, "server" | "serverName">): Kube {
  const largestListBytes = LARGEST_LIST;
  return connectKube(kubeconfig({ server, ...who }), { largestListBytes, ...(socketPath === undefined ? {} : { socketPath }) });
}

/** Connects and watches. Nothing here waits for an answer: the reflectors try until they are detached. */
export function attach(plane: ControlPlane, { log, clock, dial, onRequest, onTamper }: AttachOptions): Attachment {
  const client = keyedOf(plane.bundle, "daemon");
  const kube = connectPlane(dial, { ca: trustOf(plane.bundle), user: "ironwright", cluster: tenantText(plane.ref), client });
  const requests = reflector({ kube, kind: CSR, log, clock, onChange: onRequest });
  const kept = { kube, labelSelector: MANAGED_SELECTOR, log, clock, onChange: onTamper };
  const watched: readonly Pick<Reflector<never>, "start" | "stop">[] = [
    requests,
    reflector({ ...kept, kind: VALIDATING_ADMISSION_POLICY }),
    reflector({ ...kept, kind: VALIDATING_ADMISSION_POLICY_BINDING }),
    reflector({ ...kept, kind: CLUSTER_ROLE_BINDING }),
    reflector({ ...kept, kind: SECRET, namespace: "kube-system" }),
  ];
  for (const one of watched) void one.start().catch(() => {});
  return {
    plane,
    kube,
    dial,
    requests: () => requests.list(),
    async detach() {
      await Promise.allSettled(watched.map((one) => one.stop()));
      await kube.close();
    },
  };
}

/** Whether an attachment still fits: same apiserver, same certificate of ours, same authorities. */
export function fits(attachment: Attachment, plane: ControlPlane): boolean {
  const { port, id, bundle } = attachment.plane;
  const known = keyedOf(bundle, "daemon").certificate === keyedOf(plane.bundle, "daemon").certificate;
  return id === plane.id && port === plane.port && known && trustOf(bundle) === trustOf(plane.bundle);
}

/** `namespace/name`, as the host control plane's reflector has it. */
export function keyOfRef(ref: TenantRef): string {
  return `${ref.namespace}/${ref.name}`;
}
