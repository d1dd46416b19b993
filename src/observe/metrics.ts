import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** One metric: its kind, its help text, its labels; for histograms the upper bounds of the buckets. */
interface Described {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
  readonly buckets?: readonly number[];
}

/** Every metric the daemon has, by the name the code calls it. Labels take few values: never a machine or an address; a tenant's name only where each tenant must be watched. */
export const metricTable = {
  dhcpReceived: {
    name: "ironwright_dhcp_received_total",
    kind: "counter",
    help: "DHCP messages received, by type (discover, request, decline, release, inform).",
    labels: ["interface", "type"],
  },
  dhcpSent: {
    name: "ironwright_dhcp_sent_total",
    kind: "counter",
    help: "DHCP messages sent, by type (offer, ack, nak).",
    labels: ["interface", "type"],
  },
  dhcpAnswerSeconds: {
    name: "ironwright_dhcp_answer_seconds",
    kind: "histogram",
    help: "From a DHCP message read to its answer given to the kernel; for an ACK that includes its lease on disk.",
    labels: ["interface"],
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
  },
  refused: {
    name: "ironwright_boot_refused_total",
    kind: "counter",
    help: "What the boot plane refused or did not understand, by reason; the reason begins with dhcp, tftp, http or boot.",
    labels: ["reason"],
  },
  leases: {
    name: "ironwright_dhcp_leases",
    kind: "gauge",
    help: "Addresses by state: leased (also when expired, until somebody else needs it) and offered (waits for the request).",
    labels: ["interface", "state"],
  },
  poolAddresses: {
    name: "ironwright_dhcp_pool_addresses",
    kind: "gauge",
    help: "Addresses in the pools of an interface.",
    labels: ["interface"],
  },
  poolFree: {
    name: "ironwright_dhcp_pool_free_addresses",
    kind: "gauge",
    help: "Addresses of the pools that a new client could get now.",
    labels: ["interface"],
  },
  leaseCommitSize: {
    name: "ironwright_dhcp_lease_commit_size",
    kind: "histogram",
    help: "Lease changes that went to disk with one sync (group commit).",
    labels: [],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
  },
  tftpTransfers: {
    name: "ironwright_tftp_transfers_total",
    kind: "counter",
    help: "TFTP transfers that ended, by how: done, size-probe (asked for the size alone), timed-out, unanswered, aborted (by the client), cancelled, failed.",
    labels: ["interface", "end"],
  },
  tftpBytes: { name: "ironwright_tftp_bytes_total", kind: "counter", help: "Bytes of boot programs sent by TFTP.", labels: ["interface"] },
  tftpActive: { name: "ironwright_tftp_active_transfers", kind: "gauge", help: "TFTP transfers under way.", labels: ["interface"] },
  httpResponses: {
    name: "ironwright_boot_http_responses_total",
    kind: "counter",
    help: "Boot assets answered by HTTP, by asset (script, kernel, initrd, program, key, file, hello, exit, none) and status code.",
    labels: ["interface", "asset", "code"],
  },
  httpBytes: {
    name: "ironwright_boot_http_bytes_total",
    kind: "counter",
    help: "Bytes of boot assets sent by HTTP.",
    labels: ["interface"],
  },
  httpActive: { name: "ironwright_boot_http_active_transfers", kind: "gauge", help: "HTTP answers under way.", labels: ["interface"] },
  attempts: {
    name: "ironwright_boot_attempts_total",
    kind: "counter",
    help: "Boot attempts of known machines that ended, by how: installed, inspected, hello, disk (booted its own disk), stopped (went no further).",
    labels: ["end"],
  },
  attemptsOpen: { name: "ironwright_boot_attempts_open", kind: "gauge", help: "Boot attempts under way.", labels: [] },
  stageSeconds: {
    name: "ironwright_boot_stage_seconds",
    kind: "histogram",
    help: "How long each stage of a boot attempt took, from the end of the stage before it.",
    labels: ["stage"],
    buckets: [0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600],
  },
  datastoreBytes: {
    name: "ironwright_datastore_shard_bytes",
    kind: "gauge",
    help: "An etcd of the tenants: bytes of its file, of those in use, and its quota.",
    labels: ["shard", "what"],
  },
  datastoreTenants: {
    name: "ironwright_datastore_shard_tenants",
    kind: "gauge",
    help: "Tenants in a shard by state: open, full (nothing new is created), stopped (etcd refuses its writes).",
    labels: ["shard", "state"],
  },
  datastoreHeld: {
    name: "ironwright_datastore_tenant_bytes",
    kind: "gauge",
    help: "Bytes of a tenant's keys and values, as last weighed, and its quota. The plane is the id of its control plane.",
    labels: ["plane", "what"],
  },
  datastoreKeys: {
    name: "ironwright_datastore_tenant_keys",
    kind: "gauge",
    help: "Keys of a tenant, as last weighed.",
    labels: ["plane"],
  },
  datastoreCompactions: {
    name: "ironwright_datastore_compactions_total",
    kind: "counter",
    help: "Compactions of a shard by reason: window (five minutes with much written, or an hour, are over), history (much was written), space (it was full).",
    labels: ["shard", "reason"],
  },
  datastoreDefragmentationSeconds: {
    name: "ironwright_datastore_defragmentation_seconds",
    kind: "histogram",
    help: "How long a shard answered nobody while its file was made smaller.",
    labels: ["shard"],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60],
  },
  datastoreStops: {
    name: "ironwright_datastore_stops_total",
    kind: "counter",
    help: "Tenants whose writes etcd was told to refuse, by reason: bytes (past the quota), churn (overwrites too fast), shard (it has no room).",
    labels: ["reason"],
  },
  tenantCertificateSeconds: {
    name: "ironwright_tenant_certificate_expiry_seconds",
    kind: "gauge",
    help: "Seconds until a certificate of a tenant's control plane ends; leaves are renewed when a third of their life is left.",
    labels: ["tenant", "name"],
  },
  tenantCpuSeconds: {
    name: "ironwright_tenant_cpu_seconds",
    kind: "gauge",
    help: "CPU time of a tenant's control plane since its cell was made.",
    labels: ["tenant"],
  },
  tenantMemory: {
    name: "ironwright_tenant_memory_bytes",
    kind: "gauge",
    help: "Memory of a tenant's control plane: resident, and swapped out while it sleeps.",
    labels: ["tenant", "what"],
  },
  swapBytes: {
    name: "ironwright_swap_bytes",
    kind: "gauge",
    help: "Swap that sleeping control planes are frozen into: its size, and what is used of it. Of kind plain it is on the disk in clear.",
    labels: ["kind", "what"],
  },
  tenantAwakeSeconds: {
    name: "ironwright_tenant_awake_seconds",
    kind: "gauge",
    help: "How long a tenant's control plane was awake, all in all.",
    labels: ["tenant"],
  },
  tenantNodes: {
    name: "ironwright_tenant_nodes",
    kind: "gauge",
    help: "Machines that are, or are becoming, nodes of a tenant.",
    labels: ["tenant"],
  },
  tenantGpus: { name: "ironwright_tenant_gpus", kind: "gauge", help: "GPUs of a tenant's nodes.", labels: ["tenant"] },
  tenantNodeSeconds: {
    name: "ironwright_tenant_node_seconds",
    kind: "gauge",
    help: "Seconds times nodes a tenant has had, all in all.",
    labels: ["tenant"],
  },
  tenantGpuSeconds: {
    name: "ironwright_tenant_gpu_seconds",
    kind: "gauge",
    help: "Seconds times GPUs a tenant has had, all in all.",
    labels: ["tenant"],
  },
  hostCertificateSeconds: {
    name: "ironwright_host_certificate_expiry_seconds",
    kind: "gauge",
    help: "Seconds until a certificate of the host control plane, or of the tenants' datastore, ends.",
    labels: ["name"],
  },
  backups: {
    name: "ironwright_backups_total",
    kind: "counter",
    help: "Scheduled backups, by how they ended: done, failed.",
    labels: ["end"],
  },
  backupLastSuccess: {
    name: "ironwright_backup_last_success_timestamp_seconds",
    kind: "gauge",
    help: "When the last backup was begun that was written to its end; 0 when none is known. Alert on its age.",
    labels: [],
  },
  backupBytes: { name: "ironwright_backup_bytes", kind: "gauge", help: "Size of the last backup that this daemon wrote.", labels: [] },
  gatewayOpen: {
    name: "ironwright_gateway_open_connections",
    kind: "gauge",
    help: "Connections through the tenants' gateway, by road: people, nodes (and pods), egress (what apiservers dial).",
    labels: ["road"],
  },
  gatewayAccepted: {
    name: "ironwright_gateway_connections_total",
    kind: "counter",
    help: "Connections the tenants' gateway let in, by road.",
    labels: ["road"],
  },
  gatewayRefused: {
    name: "ironwright_gateway_refused_total",
    kind: "counter",
    help: "Connections the tenants' gateway turned away, by road and reason (not allowed: a target that is not the tenant's; asleep: a node called a sleeper; opening: a node called one that woke, before the daemon had seen whom it lets in).",
    labels: ["road", "reason"],
  },
  gatewayBytes: {
    name: "ironwright_gateway_bytes_total",
    kind: "counter",
    help: "Bytes through the tenants' gateway, by road and direction (received from whoever connected, sent to them).",
    labels: ["road", "direction"],
  },
  gatewayHeld: {
    name: "ironwright_gateway_held_callers",
    kind: "gauge",
    help: "People who wait until their tenant is awake.",
    labels: [],
  },
  gatewayWakes: {
    name: "ironwright_gateway_wakes_total",
    kind: "counter",
    help: "Sleepers that callers woke, by result (done, failed).",
    labels: ["result"],
  },
} as const satisfies Readonly<Record<string, Described>>;

type Table = typeof metricTable;
type Of<D extends Described, L extends string = D["labels"][number]> = D["kind"] extends "counter"
  ? Counter<L>
  : D["kind"] extends "gauge"
    ? Gauge<L>
    : Histogram<L>;

/** The metrics of one daemon, each by the name the code calls it, and the registry they are in. */
export type Metrics = { readonly [Name in keyof Table]: Of<Table[Name]> } & {
  readonly registry: Registry;
  /** `fill` is called before each scrape: for gauges that are read off, and counters kept elsewhere. Returns how to end that. */
  onScrape(fill: () => void): () => void;
  /** The exposition format of Prometheus, as text. */
  text(): Promise<string>;
};

/** @param registry of one daemon, so that tests share nothing */
export function createMetrics(registry: Registry = new Registry()): Metrics {
  const fills = new Set<() => void>();
  const made = Object.entries(metricTable).map(([key, described]) => [key, make(described, registry)]);
  return {
    ...(Object.fromEntries(made) as { [Name in keyof Table]: Of<Table[Name]> }),
    registry,
    onScrape(fill) {
      fills.add(fill);
      return () => void fills.delete(fill);
    },
    text() {
      for (const fill of fills) fill();
      return registry.metrics();
    },
  };
}

/** Node's own: memory, event loop lag, garbage collection, descriptors. */
export function addProcessMetrics({ registry }: Metrics): void {
  collectDefaultMetrics({ register: registry });
}

function make(described: Described, registry: Registry): Counter | Gauge | Histogram {
  const { name, help, kind, buckets } = described;
  const common = { name, help, labelNames: [...described.labels], registers: [registry] };
  if (kind === "counter") return new Counter(common);
  return kind === "gauge" ? new Gauge(common) : new Histogram({ ...common, ...(buckets ? { buckets: [...buckets] } : {}) });
}
