import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { refOf, tenantText } from "../core/names.ts";
import type { VirtualCluster } from "../core/resources.ts";
import type { SleepStatus } from "../core/virtual-clusters.ts";
import type { EventRecorder, Kube } from "../kube/index.ts";
import type { Admissions } from "./admissions.ts";
import type { Datastore } from "./datastore.ts";
import type { KeyReport } from "./keys.ts";
import { type PeoplesDoor, peoplesWay } from "./peoples-door.ts";
import { datastoreFull } from "./quota.ts";
import type { ControlPlane, Runtime } from "./runtime.ts";
import { isReady, met, pending, report } from "./status.ts";

export interface ReadinessOptions {
  /** The host control plane. */
  readonly kube: Kube;
  readonly clock: Clock;
  readonly events: EventRecorder;
  readonly log: Logger;
  readonly runtime: Runtime;
  readonly datastore: Datastore;
  readonly admissions: Admissions;
  readonly door: PeoplesDoor;
}

/** A control plane that runs whole. */
export interface RunningPlane {
  readonly plane: ControlPlane;
  readonly kept: KeyReport;
  readonly sleep: SleepStatus;
}

const LONGEST_MESSAGE = 4000;

/** Writes into a VirtualCluster's status that people reach it, and how each part of it is. */
export function readiness(options: ReadinessOptions): (cluster: VirtualCluster, running: RunningPlane) => Promise<void> {
  const { kube, clock, events, log, runtime, datastore, admissions, door } = options;

  function welcome(cluster: VirtualCluster, endpoint: string): void {
    const seconds = Math.round((clock.now().getTime() - Date.parse(cluster.metadata.creationTimestamp ?? "")) / 1000);
    events.record(cluster, "Normal", "Ready", `the control plane answers at ${endpoint}`);
    log.info({ tenant: tenantText(refOf(cluster)), endpoint, seconds }, "tenant ready");
  }

  return async (cluster, { plane, kept, sleep }) => {
    const { ref, port, spec, id } = plane;
    const { server: endpoint, serverName } = peoplesWay({ ref, port }, door);
    if (!isReady(cluster)) welcome(cluster, endpoint);
    const again = (await runtime.restarts(id))?.slice(0, LONGEST_MESSAGE);
    const joined = (await admissions.read(refOf(cluster))).filter((node) => node.tokenId === undefined);
    await report(kube, clock, cluster, {
      phase: "Ready",
      nodes: joined.length,
      version: spec.version,
      endpoint,
      nodeEndpoint: `https://${door.nodes}:${port}`,
      pki: kept.status,
      sleep,
      set: [
        datastoreFull(datastore.usage(id), clock.now()),
        kept.condition,
        spec.datastore.kind === "dedicated"
          ? met("DatastoreReady", "Dedicated", "its objects are in an etcd of its own")
          : met("DatastoreReady", "InShard", "its objects are in a shared etcd, in a range of its own"),
        door.isolation
          ? met("Isolated", "Cell", "its processes have a user, a cgroup, a network and a file system of their own")
          : pending("Isolated", "IsolationOff", "tenants.isolation is none: its apiserver reaches what this host reaches"),
        met("ControlPlaneReady", again === undefined ? "Running" : "Restarted", again ?? "apiserver, controller-manager and scheduler run"),
        met("AdmissionReady", "GateClosed", "a node without a live claim was seen to be refused"),
        met("Ready", "Ready", `people reach it at ${endpoint}${serverName ? ` as ${serverName}` : ""}`),
      ],
    });
  };
}
