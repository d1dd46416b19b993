import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { tenantText } from "../core/names.ts";
import { type Kube, NAMESPACE } from "../kube/index.ts";
import { type Attachment, attach, fits } from "./attachments.ts";
import { bootstrapTenant } from "./bootstrap.ts";
import type { AdmittedNode } from "./csr.ts";
import { NOBODY, proveRefused } from "./gate.ts";
import type { ControlPlane, Dial } from "./runtime.ts";
import { serviceEndpoints } from "./service-endpoints.ts";

export interface HoldsOptions {
  readonly clock: Clock;
  readonly log: Logger;
  dial(plane: ControlPlane): Dial;
  /** A certificate signing request changed. */
  onRequest(plane: ControlPlane, request: string): void;
  /** Something the daemon keeps in a tenant changed. */
  onTamper(key: string): void;
}

/** The daemon's holds on control planes that run, by key. */
export interface Holds {
  of(key: string): Attachment | undefined;
  all(): readonly Attachment[];
  /**
   * Connects, makes the control plane hold what the daemon keeps there, and sees that a node without a claim is refused. What is held and
   * unchanged is asked for little.
   * @throws IRW_TENANT_GATE
   */
  take(key: string, plane: ControlPlane, admitted: () => Promise<readonly AdmittedNode[]>, signal: AbortSignal): Promise<Attachment>;
  let(key: string): Promise<void>;
  letAll(): Promise<void>;
}

export function holds({ clock, log, dial, onRequest, onTamper }: HoldsOptions): Holds {
  const attachments = new Map<string, Attachment>();

  async function connect(key: string, plane: ControlPlane): Promise<Attachment> {
    await attachments.get(key)?.detach();
    const held = attach(plane, {
      log: log.child({ tenant: tenantText(plane.ref) }),
      clock,
      dial: dial(plane),
      onRequest: (name) => onRequest(plane, name),
      onTamper: () => onTamper(key),
    });
    attachments.set(key, held);
    return held;
  }

  /** An apiserver is ready a moment before it has made its own namespaces. */
  async function namespaceExists(tenant: Kube, signal: AbortSignal): Promise<void> {
    for (let left = 100; left > 0; left -= 1) {
      if (await tenant.get(NAMESPACE, "kube-system")) return;
      await clock.sleep(50, signal);
    }
  }

  return {
    of: (key) => attachments.get(key),
    all: () => [...attachments.values()],

    async take(key, plane, admitted, signal) {
      const before = attachments.get(key);
      const held = before && fits(before, plane) ? before : await connect(key, plane);
      if (held !== before) await namespaceExists(held.kube, signal);
      const changed = await bootstrapTenant(held.kube, admitted, serviceEndpoints(plane));
      if (changed || held !== before) await proveRefused({ ref: plane.ref, dial: held.dial, bundle: plane.bundle, clock }, NOBODY, signal);
      return held;
    },

    async let(key) {
      const held = attachments.get(key);
      attachments.delete(key);
      await held?.detach();
    },

    async letAll() {
      const all = [...attachments.values()];
      attachments.clear();
      await Promise.all(all.map((held) => held.detach()));
    },
  };
}
