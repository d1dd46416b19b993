import { type Clock, timestamp } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import type { EventRecorder, Kube } from "../kube/index.ts";
import { lifetime } from "./lifetime.ts";
import { report } from "./status.ts";
import { findTemplate } from "./template/find.ts";
import { templateStatus, templateToAsk } from "./template/resolve.ts";

export interface DeclarationOptions {
  /** The host control plane. */
  readonly kube: Kube;
  readonly clock: Clock;
  readonly events: EventRecorder;
}

/** What a VirtualCluster declares beyond its control plane: the template it is made of, and how long it lives. */
export interface Declarations {
  /**
   * Reads its template where it has not been read yet, into its status.
   * @throws IRW_REFERENCE, IRW_RESOURCE_INVALID; nothing was changed then
   */
  readTemplate(cluster: VirtualCluster): Promise<VirtualCluster>;
  /** Warns before its ttl ends, and deletes it then. Undefined: it is being deleted now. */
  live(
    cluster: VirtualCluster,
    ttlMs: number | undefined,
  ): Promise<{ readonly cluster: VirtualCluster; readonly afterMs?: number } | undefined>;
}

export function declarations({ kube, clock, events }: DeclarationOptions): Declarations {
  /** Who was warned of which end: once a run of the daemon is enough. */
  const warned = new Map<string, number>();

  return {
    async readTemplate(cluster) {
      const asked = templateToAsk(cluster);
      if (!asked) return cluster;
      const { namespace = "" } = cluster.metadata;
      const template = await findTemplate(kube, asked.name, namespace, "spec.templateRef.name");
      const status = templateStatus(cluster, asked, template);
      events.record(
        cluster,
        "Normal",
        "TemplateRead",
        `made of VirtualClusterTemplate ${status.namespace}/${status.name}, generation ${status.generation}`,
      );
      return report(kube, clock, cluster, { template: status });
    },

    async live(cluster, ttlMs) {
      const { uid = "", name, namespace = "", creationTimestamp = "" } = cluster.metadata;
      if (ttlMs === undefined) {
        warned.delete(uid);
        return {
          cluster: cluster.status?.expiresAt === undefined ? cluster : await report(kube, clock, cluster, { unset: ["expiresAt"] }),
        };
      }
      const now = clock.now().getTime();
      const life = lifetime(Date.parse(creationTimestamp), ttlMs, now);
      const expiresAt = timestamp(new Date(life.expiresAt));
      if (life.now === "expired") {
        warned.delete(uid);
        events.record(cluster, "Normal", "Expired", `its ttl of ${formatDuration(ttlMs)} ended at ${expiresAt}: it is deleted`);
        await kube.delete(VIRTUAL_CLUSTER, name, { namespace, ...(uid ? { uid } : {}) });
        return undefined;
      }
      if (life.now === "warned" && warned.get(uid) !== life.expiresAt) {
        warned.set(uid, life.expiresAt);
        events.record(
          cluster,
          "Warning",
          "ExpiresSoon",
          `it is deleted at ${expiresAt}, by its ttl of ${formatDuration(ttlMs)}; a longer spec.ttl keeps it`,
        );
      }
      const afterMs = (life.lookAgainAt ?? now) - now;
      return { cluster: await report(kube, clock, cluster, { expiresAt }), afterMs };
    },
  };
}
