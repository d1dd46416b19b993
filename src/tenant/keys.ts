import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { condition, type NewCondition } from "../core/conditions.ts";
import { IronwrightError, isError, reasonOf } from "../core/errors.ts";
import { refOf, type TenantRef, tenantText } from "../core/names.ts";
import type { VirtualCluster } from "../core/resources.ts";
import type { VirtualClusterPkiStatus } from "../core/virtual-clusters.ts";
import { CONFIG_MAP, type EventRecorder, type Kube, NODE } from "../kube/index.ts";
import { issue, type KeyedCertificate } from "../supervise/index.ts";
import { type Attachment, connectPlane } from "./attachments.ts";
import { usersAuthority } from "./authority.ts";
import { BELIEVE_MS, clockDoubt, type Expiry, expiries, freshness, nextRenewal, renewed } from "./certificates.ts";
import { type Bundle, type BundleOptions, completeBundle, LEAF_FILES, LIVES, type Lives, trustOf } from "./pki.ts";
import { moveOn, rotationOf, SHORTEST_OVERLAP_MS, SPREAD_MS, wantedKeys } from "./rotation.ts";
import { tenantSecrets } from "./secrets.ts";
import { unmet } from "./status.ts";

export interface KeysOptions {
  /** The host control plane. */
  readonly kube: Kube;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
  readonly events: EventRecorder;
  /** Aborts with the controller. */
  readonly ending: AbortSignal;
  readonly times?: KeyTimes | undefined;
}

export interface KeyTimes {
  readonly lives: Lives;
  /** How long a changed file of authorities takes to be read by all. */
  readonly spreadMs: number;
  readonly shortestOverlapMs: number;
}

export const KEY_TIMES: KeyTimes = { lives: LIVES, spreadMs: SPREAD_MS, shortestOverlapMs: SHORTEST_OVERLAP_MS };

/** What people are told of a tenant's keys. */
export interface KeyReport {
  readonly condition: Omit<NewCondition, "observedGeneration">;
  readonly status: VirtualClusterPkiStatus;
  /** When to look again: a leaf is due then, or a change of keys goes on. */
  readonly afterMs: number;
}

/** The keys and certificates of all tenants: made, renewed, changed, watched. */
export interface TenantKeys {
  /**
   * The tenant's bundle as it has to be now, durable. Works for one that sleeps as well: then a change of authorities waits.
   * @throws IRW_TENANT_AUTHORITY, IRW_TENANT_CLOCK; nothing was changed then
   */
  keep(
    cluster: VirtualCluster,
    parts: Pick<BundleOptions, "sans" | "datastore">,
    awake: Attachment | undefined,
  ): Promise<{ readonly bundle: Bundle; readonly report: KeyReport }>;
  /** What is known to be in use, for metrics. */
  expiries(): readonly { readonly tenant: string; readonly certificates: readonly Expiry[] }[];
  forget(ref: TenantRef): void;
}

/** Asked again at least so often: timers of Node end at 24 days, and a machine that slept has its clock put on. */
const LONGEST_WAIT_MS = 12 * 3_600_000;
const SHORTEST_WAIT_MS = 1_000;
const LOOK_AGAIN_MS = 60_000;
const TEN_MINUTES_IN_DAYS = 10 / 1440;
const ANNOTATION_KNOWS = "ironwright.dev/authorities";

export function tenantKeys({ kube, clock, random, log, events, ending, times = KEY_TIMES }: KeysOptions): TenantKeys {
  const { lives, spreadMs } = times;
  const known = new Map<string, Bundle>();
  /** Tenants whose certificates all ended long ago, and whether the clock that says so has said so for a while. */
  const leapt = new Map<string, boolean>();

  function doubtOf(tenant: string, bundle: Bundle, now: Date) {
    const doubt = clockDoubt(bundle, now);
    if (doubt?.kind !== "ahead") {
      leapt.delete(tenant);
      return doubt;
    }
    if (!leapt.has(tenant)) {
      leapt.set(tenant, false);
      clock.sleep(BELIEVE_MS, ending).then(
        () => leapt.has(tenant) && leapt.set(tenant, true),
        () => {},
      );
    }
    return leapt.get(tenant) ? undefined : doubt;
  }

  /** A warning, once for each reason. */
  function tell(cluster: VirtualCluster, said: KeyReport["condition"]): void {
    if (said.status === "True" || said.reason === condition(cluster.status?.conditions, said.type)?.reason) return;
    log.warn({ tenant: tenantText(refOf(cluster)), reason: said.reason }, said.message);
    events.record(cluster, "Warning", said.reason, said.message);
  }

  /** The user's own authority. One that cannot be used stops a tenant that is to be made, not one that runs. */
  async function usersOwn(cluster: VirtualCluster, ref: TenantRef, runs: boolean, now: Date): Promise<UsersOwn> {
    const secret = cluster.spec.pki?.authoritySecret;
    if (secret === undefined) return {};
    try {
      return { authority: await usersAuthority(kube, ref, secret, now) };
    } catch (error) {
      if (!runs || !isError(error, "IRW_TENANT_AUTHORITY")) throw error;
      return { problem: error };
    }
  }

  return {
    async keep(cluster, parts, awake) {
      const ref = refOf(cluster);
      const [tenant, now] = [tenantText(ref), clock.now()];
      const secrets = tenantSecrets(kube, ref, cluster.metadata.uid ?? "");
      const before = await secrets.readBundle();
      const doubt = doubtOf(tenant, before, now);
      const has = LEAF_FILES.every((file) => before[`${file}.crt`] !== undefined);
      /** What there is goes on as it is. */
      const asIs = (said: KeyReport["condition"]) => {
        known.set(tenant, before);
        tell(cluster, said);
        return { bundle: before, report: { condition: said, status: statusOf(before), afterMs: LOOK_AGAIN_MS } };
      };
      if (doubt && !has) throw new IronwrightError("IRW_TENANT_CLOCK", { tenant, problem: doubt.message });
      if (doubt) return asIs(freshness(before, now, doubt));
      const { authority, problem } = await usersOwn(cluster, ref, has, now);
      const options: BundleOptions = { tenant, ...parts, now, lives, authority, random };
      const whole = await completeBundle(before, options);
      const { wanted } = wantedKeys(cluster);
      const moved = await moveOn(
        whole,
        // the user's own that cannot be read is not replaced by one of ours
        { ...wanted, authority, authorities: problem ? 1 : wanted.authorities },
        {
          now,
          spreadMs,
          lives,
          doubtNext: (bundle) => doubtNext(bundle, awake),
          doubtOld: (bundle) => doubtOld(bundle, awake),
        },
      );
      const bundle = moved.bundle === whole ? whole : await completeBundle(moved.bundle, options);
      // durable before any process uses it: keys that a crash forgets would strand what was encrypted with them
      if (bundle !== before) await secrets.writeBundle(bundle);
      const names = renewed(before, bundle);
      if (names.length > 0) events.record(cluster, "Normal", "CertificatesRenewed", names.join(", "));
      for (const news of moved.news) events.record(cluster, "Normal", "KeysChanged", news);
      if (names.length > 0 || moved.news.length > 0) log.info({ tenant, renewed: names, news: moved.news }, "keys changed");
      known.set(tenant, bundle);
      const at = Math.min(moved.at?.getTime() ?? Infinity, nextRenewal(bundle)?.getTime() ?? Infinity);
      const said = problem ? unmet("CertificatesFresh", problem) : freshness(bundle, now);
      tell(cluster, said);
      return {
        bundle,
        report: {
          condition: said,
          status: statusOf(bundle, moved.waiting),
          afterMs: Math.min(Math.max(at - now.getTime(), SHORTEST_WAIT_MS), LONGEST_WAIT_MS),
        },
      };
    },

    expiries: () => [...known].map(([tenant, bundle]) => ({ tenant, certificates: expiries(bundle) })),

    forget(ref) {
      known.delete(tenantText(ref));
      leapt.delete(tenantText(ref));
    },
  };
}

interface UsersOwn {
  readonly authority?: KeyedCertificate;
  readonly problem?: IronwrightError;
}

function statusOf(bundle: Bundle, waiting?: string): VirtualClusterPkiStatus {
  return { ...rotationOf(bundle), ...(waiting ? { waiting: waiting.slice(0, 4000) } : {}) };
}

/** Whether the apiserver knows a caller by the next authority, and namespaces publish it to their pods. */
async function doubtNext(bundle: Bundle, awake: Attachment | undefined): Promise<string | undefined> {
  if (!awake) return "it must be awake to take up the next authority";
  const ca = { certificate: bundle["ca-next.crt"] ?? "", key: bundle["ca-next.key"] ?? "" };
  const client = await issue({
    ca,
    commonName: "ironwright",
    organizations: ["system:masters"],
    usages: ["client"],
    days: TEN_MINUTES_IN_DAYS,
  });
  const caller = connectPlane(awake.dial, { ca: trustOf(bundle), user: "next", cluster: "tenant", client });
  try {
    const published = await caller.get(CONFIG_MAP, "kube-root-ca.crt", "kube-system");
    if (published?.data?.["ca.crt"]?.trim() !== trustOf(bundle).trim()) return "kube-root-ca.crt does not hold the next authority yet";
    return undefined;
  } catch (error) {
    if (!(error instanceof IronwrightError)) throw error;
    return `the apiserver does not accept the next authority yet: ${reasonOf(error)}`;
  } finally {
    await caller.close();
  }
}

/** A node keeps the authorities it was given when it joined; its own certificates have ended long before. */
async function doubtOld(bundle: Bundle, awake: Attachment | undefined): Promise<string | undefined> {
  if (!awake) return "it must be awake to let the old authority go";
  const { generation, begun = "" } = rotationOf(bundle).authorities;
  const { items } = await awake.kube.list(NODE);
  const cutOff = items.filter(
    ({ metadata }) =>
      (metadata.creationTimestamp ?? "") <= begun.replace(/\.\d+Z$/, "Z") &&
      Number(metadata.annotations?.[ANNOTATION_KNOWS] ?? 0) < generation,
  );
  if (cutOff.length === 0) return undefined;
  const names = cutOff.slice(0, 20).map((node) => node.metadata.name);
  return `nodes that joined before know the old authority alone, replace them, or give them /etc/kubernetes/ca.crt and annotate them ${ANNOTATION_KNOWS}=${generation}: ${names.join(", ")}`;
}
