import type { Condition } from "./conditions.ts";

/** What is wanted of a tenant's control plane. Durations are as `30s` or `1h30m`, amounts are quantities. */
export interface VirtualClusterSpec {
  /** Kubernetes minor or full version; only what the bundle holds is accepted. */
  readonly version?: string;
  readonly nodeMode?: "private";
  readonly podCIDR?: string;
  readonly serviceCIDR?: string;
  readonly sleep?: SleepSpec;
  /** Deleted so long after it was made. */
  readonly ttl?: string;
  readonly datastore?: DatastoreSpec;
  /** What its control plane may take of the machine it runs on. */
  readonly resources?: ControlPlaneResources;
  readonly pki?: VirtualClusterPki;
  /** Where the fields come from that are not given here. */
  readonly templateRef?: TemplateRef;
}

export interface SleepSpec {
  /**
   * `Auto` (when absent): by what follows. `Awake`: it never sleeps. `Asleep`: it sleeps until this says otherwise; a call
   * wakes it for as long as calls come, and nothing else does.
   */
  readonly state?: "Auto" | "Awake" | "Asleep";
  /** Whatever else is said, it is awake until then. RFC 3339. */
  readonly awakeUntil?: string;
  /** Asleep after so long without a call; absent: idleness puts nobody to sleep. */
  readonly afterIdle?: string;
  /** Stopped after so long in hibernation; absent: it stays in hibernation. */
  readonly stopAfter?: string;
  readonly schedule?: readonly SleepTimes[];
  /** Of the schedule, as `Europe/Berlin`; UTC when absent. */
  readonly timeZone?: string;
  /** Its machines, when it goes to sleep: given back (when absent) or kept. */
  readonly nodes?: "release" | "keep";
  /** Nothing happens by itself: it stays as it is, but a call wakes it. */
  readonly paused?: boolean;
}

/** Cron: five fields, or one such as `@daily`. */
export interface SleepTimes {
  readonly sleep: string;
  readonly wake: string;
}

export interface DatastoreSpec {
  /** `shared`: a range of keys of a shared etcd; `dedicated`: an etcd of its own. */
  readonly kind?: "shared" | "dedicated";
  /** What its objects may weigh, a quantity of bytes; a full one creates nothing new, and no other notices. */
  readonly quota?: string | number;
}

export interface ControlPlaneResources {
  readonly cpu?: string | number;
  readonly memory?: string | number;
  /** Processes and threads. */
  readonly pids?: number;
}

export interface TemplateRef {
  /** A VirtualClusterTemplate of the same project or, when there is none of that name, of `ironwright-system`. */
  readonly name: string;
  /** What the template leaves open, by name. */
  readonly parameters?: Parameters;
  /** Asks for this generation of the template; without it the one that was there at first stays. */
  readonly generation?: number;
}

export type Parameter = string | number | boolean;
export type Parameters = Readonly<Record<string, Parameter>>;

/** What a template leaves open, by name. */
export interface ParameterSchema {
  readonly type: "string" | "integer" | "boolean" | "quantity" | "duration";
  readonly description?: string;
  /** Absent: it must be given. */
  readonly default?: Parameter;
  readonly enum?: readonly Parameter[];
  /** Of the whole text, as RE2 reads it; of strings alone. */
  readonly pattern?: string;
  /** The least and the most: an integer, a quantity or a duration; of strings their length. */
  readonly min?: string | number;
  readonly max?: string | number;
}

export interface VirtualClusterTemplateSpec {
  readonly description?: string;
  readonly parameters?: Readonly<Record<string, ParameterSchema>>;
  /** The spec of a VirtualCluster, with `${name}` in its strings. */
  readonly template: Readonly<Record<string, unknown>>;
}

export type SleepState = "awake" | "hibernated" | "stopped";

export interface VirtualClusterStatus {
  readonly phase?: "Creating" | "Ready" | "Failed" | "Deleting";
  readonly conditions?: readonly Condition[];
  readonly version?: string;
  /** What people dial. */
  readonly endpoint?: string;
  /** What nodes dial. */
  readonly nodeEndpoint?: string;
  readonly port?: number;
  /** The user of this host that its processes run as. */
  readonly userID?: number;
  /** The control plane it was given, where that is older than it; otherwise its own uid names it. */
  readonly plane?: string;
  /** How many nodes joined it. */
  readonly nodes?: number;
  /** The networks it was made with: they do not change any more. */
  readonly podCIDR?: string;
  readonly serviceCIDR?: string;
  /** When it is deleted, by its ttl. */
  readonly expiresAt?: string;
  readonly sleep?: SleepStatus;
  readonly givenBack?: GivenBack;
  readonly pki?: VirtualClusterPkiStatus;
  /** What its template said when it was last asked. */
  readonly template?: TemplateStatus;
  readonly observedGeneration?: number;
}

export interface SleepStatus {
  readonly state: SleepState;
  readonly since: string;
  /** How long it was awake before `since`, in seconds. */
  readonly awakeSeconds?: number;
  readonly why?: string;
  readonly lastCallAt?: string;
  /** When `spec.sleep.state: Asleep` was first seen; absent while that is not ordered. */
  readonly orderedAt?: string;
  /** When it is decided on again, whatever happens. */
  readonly lookAgainAt?: string;
  /** The CronJob that wakes it next. */
  readonly nextCronJob?: { readonly name: string; readonly at: string };
}

/** What a tenant had of nodes that it has no more; of those it has, their claims tell. */
export interface GivenBack {
  /** Seconds times nodes. */
  readonly nodeSeconds: number;
  /** Seconds times GPUs. */
  readonly gpuSeconds: number;
  /** By uid, those of the claims counted here that may be there still: none is counted twice. */
  readonly claims: readonly string[];
}

export interface TemplateStatus {
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  /** What was asked for, as `spec.templateRef` had it. */
  readonly asked: TemplateRef;
  /** The template's spec with its parameters filled in. */
  readonly spec: Readonly<Record<string, unknown>>;
}

export interface VirtualClusterPki {
  /** Which authorities are wanted; one more than there are changes them, with overlap. */
  readonly authorities?: number;
  /** Which key service account tokens are signed by; one more changes it, with overlap. */
  readonly serviceAccountKeys?: number;
  /** How long what old keys issued is accepted beside the new. */
  readonly overlap?: string;
  /** A kubernetes.io/tls Secret in the project: the user's own authority. */
  readonly authoritySecret?: string;
}

export interface VirtualClusterPkiStatus {
  readonly authorities: KeyProgress;
  readonly serviceAccountKeys: KeyProgress;
  /** What a change waits for. */
  readonly waiting?: string;
}

export interface KeyProgress {
  /** How often the keys were changed, and once for the first. */
  readonly generation: number;
  /**
   * - `Settled`: there is one.
   * - `Trusting`: the next one is trusted everywhere and issues nothing yet.
   * - `Overlapping`: the new one issues; what the old one issued is still accepted.
   */
  readonly stage: "Settled" | "Trusting" | "Overlapping";
  /** When the stage began, RFC 3339. */
  readonly since?: string;
  /** When the change began, RFC 3339: who came later knows both. */
  readonly begun?: string;
}
