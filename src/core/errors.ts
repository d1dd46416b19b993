/**
 * Every error a person can meet, in one table by area: what happened, where, and what to do next.
 * Codes are never reused. `docs/reference/errors.md` is made from this table.
 */
const errors = {
  // ── configuration and input ──
  IRW_CONFIG_INVALID: {
    says: (at: { source: string; problems: string }) => `the configuration from ${at.source} is not valid:\n${at.problems}`,
    next: "correct the fields named; `ironwright config` prints the effective configuration",
  },
  IRW_RESOURCE_INVALID: {
    says: (at: { resource: string; problems: string }) => `${at.resource} is not valid:\n${at.problems}`,
    next: "correct the fields named; nothing was changed",
  },
  IRW_PLAYBOOK_INVALID: {
    says: (at: { file: string; problems: string }) => `the playbook ${at.file} is not valid:\n${at.problems}`,
    next: "correct the fields named; no machine was touched",
  },
  IRW_SCENARIO_INVALID: {
    says: (at: { source: string; problems: string }) => `${at.source} is no scenario:\n${at.problems}`,
    next: "docs/reference/scenario.md has every key; nothing was decided",
  },
  IRW_SCENARIO_CHOICE: {
    says: (at: { problem: string }) => `nothing was decided: ${at.problem}`,
    next: "give a scenario with -f FILE or on standard input, or cases with --replay FILE; `ironwright simulate --help` has the options",
  },
  IRW_ARTIFACT_MISSING: {
    says: (at: { what: string; where: string }) => `${at.what} is not there (${at.where})`,
    next: "run `npm run setup`; `ironwright doctor` lists all that is missing",
  },

  // ── kube: talking to apiservers ──
  IRW_KUBE_UNREACHABLE: {
    says: (at: { server: string; reason: string }) => `no answer from the apiserver at ${at.server}: ${at.reason}`,
    next: "see whether it runs (`ironwright doctor`); the daemon tries again by itself",
  },
  IRW_KUBE_CONFLICT: {
    says: (at: { object: string; reason: string }) => `${at.object} was changed by somebody else: ${at.reason}`,
    next: "nothing to do: the reconciler reads it again",
  },
  IRW_KUBE_REFUSED: {
    says: (at: { request: string; status: number; reason: string }) => `${at.request} was refused (${at.status}): ${at.reason}`,
    next: "the reason names the field, the right or the policy",
  },
  IRW_KUBE_TOO_LARGE: {
    says: (at: { server: string; what: string; bytes: number }) =>
      `the apiserver at ${at.server} answered ${at.what} with more than ${at.bytes} bytes, which are not read`,
    next: "it is asked again by itself; see what fills the collection (`kubectl get --raw`), or whether somebody else answers there",
  },
  IRW_KUBE_EXPIRED: {
    says: (at: { what: string; reason: string }) => `the watch of ${at.what} is too old to go on: ${at.reason}`,
    next: "nothing to do: it is listed again",
  },
  IRW_KUBECONFIG_INVALID: {
    says: (at: { problem: string }) => `the kubeconfig cannot be used: ${at.problem}`,
    next: "correct the file; `kubectl --kubeconfig FILE config view` shows what is in it",
  },
  IRW_CRD_FOREIGN: {
    says: (at: { name: string; difference: string }) => `${at.name} is on this cluster already and differs from ours at ${at.difference}`,
    next: "it is somebody else's and was left as it is; use a host cluster without it, or with Karpenter 1.15's definitions",
  },

  // ── supervise: child processes ──
  IRW_SUPERVISOR_UNREACHABLE: {
    says: (at: { socket: string; reason: string }) => `the supervisor does not answer on ${at.socket}: ${at.reason}`,
    next: "start it with `ironwright supervise`, or let `ironwright serve` do it",
  },
  IRW_CHILD_NOT_READY: {
    says: (at: { child: string; after: string; log: string }) =>
      `${at.child} did not become ready within ${at.after}; its last lines:\n${at.log}`,
    next: "the log says why; it is restarted with back-off",
  },
  IRW_CHILD_INVALID: {
    says: (at: { child: string; problem: string }) => `the child ${at.child} cannot be run: ${at.problem}`,
    next: "correct its specification; nothing was started",
  },
  IRW_CELL: {
    says: (at: { cell: string; problem: string }) => `the cell ${at.cell}: ${at.problem}`,
    next: "the logs of its children say why; whoever asks again has it tried again",
  },

  // ── boot ──
  IRW_BOOT_SOCKET: {
    says: (at: { socket: string; reason: string }) => `the boot plane cannot listen on ${at.socket}: ${at.reason}`,
    next: "another DHCP or TFTP server on this interface? `ironwright doctor` names it; docs/guide/provisioning-network.md has who opens the sockets",
  },
  IRW_BOOT_RECORD: {
    says: (at: { machine: string; reason: string }) => `${at.machine} cannot be booted over the network: ${at.reason}`,
    next: "correct the Machine or its class; what was known of the machine before still holds",
  },
  IRW_BOOT_NONCE: {
    says: (at: { reason: string }) => `nothing is served to this boot attempt: ${at.reason}`,
    next: "nothing to do: a newer attempt has its own nonce",
  },
  IRW_BOOT_NO_HELLO: {
    says: (at: { machine: string; after: string; seen: string }) =>
      `no installer said hello from ${at.machine} within ${at.after}; last seen: ${at.seen}`,
    next: "look at its console; the last stage seen says where the boot stopped",
  },
  IRW_BOOT_UNKNOWN: {
    says: (at: { machine: string }) => `the boot plane knows no machine ${at.machine} and has seen none of that name`,
    next: "`ironwright get machines` lists them; a new Machine is known once its first operation began",
  },
  IRW_DOCTOR_INTERFACE: {
    says: (at: { interface: string; namespace: string }) =>
      `there is no interface ${at.interface} in ${at.namespace === "this one" ? "this network namespace" : `the network namespace ${at.namespace}`}`,
    next: "name one with --interface, and with --netns the namespace it is in; `ip -brief link` lists them",
  },

  // ── api ──
  IRW_API_LISTEN: {
    says: (at: { where: string; reason: string }) => `the daemon's API cannot listen on ${at.where}: ${at.reason}`,
    next: "is another `ironwright serve` running with this data directory, or something else on that port?",
  },
  IRW_API_UNREACHABLE: {
    says: (at: { socket: string; reason: string }) => `the daemon does not answer on ${at.socket}: ${at.reason}`,
    next: "run this as root on the daemon's host, with its configuration, while `ironwright serve` runs",
  },
  IRW_API_REQUEST: {
    says: (at: { problem: string }) => `the daemon's API cannot answer that: ${at.problem}`,
    next: "are the daemon and this command of the same version?",
  },
  IRW_API_STARTING: {
    says: (at: { part: string }) => `the daemon's ${at.part} is not up yet`,
    next: "wait until its log says ready; the boot plane works meanwhile",
  },

  // ── bmc ──
  IRW_BMC_UNREACHABLE: {
    says: (at: { address: string; reason: string }) => `no answer from the BMC at ${at.address}: ${at.reason}`,
    next: "check its cable and address; the next try is in the Machine's condition BMCReachable",
  },
  IRW_BMC_CREDENTIALS: {
    says: (at: { address: string; user: string }) => `the BMC at ${at.address} refuses user ${at.user}`,
    next: "correct the Secret; it is tried again when the Secret changes, so that the account is not locked",
  },
  IRW_BMC_REFUSED: {
    says: (at: { address: string; request: string; status: number; reason: string }) =>
      `the BMC at ${at.address} refused ${at.request} (${at.status}): ${at.reason}`,
    next: "the reason is the BMC's own; the next try is in the Machine's condition",
  },
  IRW_BMC_NO_EFFECT: {
    says: (at: { address: string; wrote: string; read: string }) =>
      `the BMC at ${at.address} accepted ${at.wrote}, but reads back ${at.read}`,
    next: "reset the BMC, or report its model: quirks are data",
  },
  IRW_BMC_CERTIFICATE: {
    says: (at: { address: string; want: string; got: string }) => `the BMC at ${at.address} shows certificate ${at.got}, not ${at.want}`,
    next: "if its certificate was renewed, correct spec.bmc.certificateSha256; no credentials were sent to it",
  },
  IRW_BMC_ANSWER: {
    says: (at: { address: string; request: string; problem: string }) =>
      `the answer of the BMC at ${at.address} to ${at.request} cannot be used: ${at.problem}`,
    next: "see that the address is a Redfish service; report the model if it is",
  },

  // ── machine ──
  IRW_FENCE_LOST: {
    says: (at: { machine: string; held: number; now: number }) => `operation ${at.held} on ${at.machine} was superseded by ${at.now}`,
    next: "nothing to do: the newer operation owns the machine",
  },
  IRW_SSH: {
    says: (at: { address: string; reason: string }) => `SSH to ${at.address} failed: ${at.reason}`,
    next: "the operation is tried again; look at the machine's console if it stays so",
  },
  IRW_SSH_REFUSED: {
    says: (at: { address: string }) => `the machine at ${at.address} does not take our key`,
    next: "see that dataDir/ssh is the one it was installed with; the machine is released otherwise. For the gateway's way to pods: docs/guide/tenants-gateway.md",
  },
  IRW_SSH_HOST_KEY: {
    says: (at: { address: string; want: string; got: string }) => `the host key at ${at.address} is ${at.got}, not ${at.want}`,
    next: "another machine answers at this address, or somebody is in between; nothing was sent to it",
  },
  IRW_STEP_FAILED: {
    says: (at: { machine: string; step: string; exit: string; output: string }) =>
      `${at.step} on ${at.machine} ended with ${at.exit}: ${at.output}`,
    next: "the output says why; the next try is in the Machine's condition",
  },
  IRW_STEP_TIMEOUT: {
    says: (at: { machine: string; step: string; after: string }) => `${at.step} on ${at.machine} was not done within ${at.after}`,
    next: "look at the machine's console; the next try is in the Machine's condition",
  },
  IRW_IMAGE_DIGEST: {
    says: (at: { url: string; want: string; got: string }) => `${at.url} has sha256 ${at.got}, not ${at.want}`,
    next: "correct spec.sha256 of the OSImage, or publish the file again; nothing of it is used",
  },
  IRW_DISK_NONE: {
    says: (at: { machine: string; wanted: string; have: string }) => `${at.machine} has no disk that is ${at.wanted}; it has ${at.have}`,
    next: "correct rootDevice of the Machine or its class; no other disk is taken",
  },
  IRW_INVENTORY: {
    says: (at: { machine: string; problems: string }) => `what ${at.machine} says of itself cannot be used:\n${at.problems}`,
    next: "run the inspection by hand over its console, and report the model",
  },
  IRW_CLAIM_LOST: {
    says: (at: { machine: string; why: string }) => `nothing is done to ${at.machine}: ${at.why}`,
    next: "nothing to do: the machine is decided on anew",
  },
  IRW_DOWNLOAD: {
    says: (at: { url: string; reason: string }) => `${at.url} cannot be fetched: ${at.reason}`,
    next: "see that the daemon's host reaches it; the next try is in the Machine's condition",
  },
  IRW_REFERENCE: {
    says: (at: { what: string; wanted: string }) => `${at.what} does not exist (${at.wanted})`,
    next: "create it, or correct the reference; it is tried again by itself",
  },
  IRW_NODE_NOT_READY: {
    says: (at: { machine: string; tenant: string; after: string; seen: string }) =>
      `${at.machine} was no Ready node of ${at.tenant} within ${at.after}; last seen: ${at.seen}`,
    next: "the kubelet's journal on the machine says why",
  },
  IRW_CONSENT_MISSING: {
    says: (at: { machine: string; disks: string }) => `${at.machine} carries data (${at.disks}) and nobody consented to erase it`,
    next: "set spec.erase: true on the Machine if the data may go; until then it boots its own disk",
  },
  IRW_WIPE_UNPROVEN: {
    says: (at: { machine: string; disk: string; found: string }) => `the wipe of ${at.disk} on ${at.machine} is not proven: ${at.found}`,
    next: "the machine stays out of use; replace the disk or look at it by hand",
  },
  IRW_GPU_GATE: {
    says: (at: { machine: string; want: string; have: string }) => `${at.machine} has ${at.have}, its class wants ${at.want}`,
    next: "look at the GPU's seating and power; the machine takes no pods",
  },

  // ── tenant ──
  IRW_TENANT_NOT_READY: {
    says: (at: { tenant: string; reason: string }) => `the control plane of ${at.tenant} is not ready: ${at.reason}`,
    next: "`ironwright describe virtualcluster` shows its conditions",
  },
  IRW_TENANT_UNKNOWN: {
    says: (at: { project: string; name: string }) => `there is no VirtualCluster ${at.name} in project ${at.project}`,
    next: "`ironwright get virtualclusters -A` lists those of all projects",
  },
  IRW_TENANT_EXISTS: {
    says: (at: { project: string; name: string; since: string; phase: string }) =>
      `project ${at.project} has a VirtualCluster ${at.name} already: made ${at.since} ago, ${at.phase}`,
    next: "choose another name; `ironwright describe vc` shows that one, `kubectl edit vc` changes it",
  },
  IRW_PROJECT_UNKNOWN: {
    says: (at: { project: string }) => `there is no project ${at.project}`,
    next: "projects are namespaces of the host control plane: `kubectl create namespace` makes one, `-n` names another",
  },
  IRW_WAIT_TIMEOUT: {
    says: (at: { what: string; wanted: string; after: string; seen: string }) =>
      `${at.what} is not ${at.wanted} after ${at.after}; last seen: ${at.seen}`,
    next: "it goes on by itself; `ironwright describe vc` shows how far it is, --timeout waits longer",
  },
  IRW_VERSION_UNSUPPORTED: {
    says: (at: { wanted: string; have: string }) => `Kubernetes ${at.wanted} is not in the bundle; there is ${at.have}`,
    next: "choose one of those, or leave spec.version out",
  },
  IRW_TENANT_PORTS: {
    says: (at: { from: number; to: number }) => `every port from ${at.from} to ${at.to} belongs to a tenant already`,
    next: "widen tenants.ports in the configuration, or delete a VirtualCluster",
  },
  IRW_TENANT_USERS: {
    says: (at: { from: number; to: number }) => `every user id from ${at.from} to ${at.to} belongs to a tenant already`,
    next: "widen tenants.uids in the configuration, or delete a VirtualCluster",
  },
  IRW_ISOLATION: {
    says: (at: { reason: string }) => `tenants cannot be kept apart on this host: ${at.reason}`,
    next: "correct that, or set tenants.isolation to none and know that every tenant's apiserver reaches this host",
  },
  IRW_TENANT_SECRET: {
    says: (at: { secret: string; holds: string }) => `Secret ${at.secret} is not this VirtualCluster's: it holds ${at.holds}`,
    next: "move or delete that Secret, or give the VirtualCluster another name; it is not overwritten",
  },
  IRW_TENANT_AUTHORITY: {
    says: (at: { tenant: string; problem: string }) => `the certificate authority of ${at.tenant} cannot be used: ${at.problem}`,
    next: "put right the Secret that is named; an authority is never replaced by another one unasked, and nothing was changed",
  },
  IRW_TENANT_CLOCK: {
    says: (at: { tenant: string; problem: string }) => `no certificate is issued for ${at.tenant}: ${at.problem}`,
    next: "set this machine's clock; it goes on by itself then",
  },
  IRW_TENANT_GATE: {
    says: (at: { tenant: string; node: string; got: string }) =>
      `the control plane of ${at.tenant} does not refuse node ${at.node}: ${at.got}`,
    next: "the admission policy is applied again; no machine joins until it refuses",
  },
  IRW_TENANT_LEFTOVER: {
    says: (at: { tenant: string; what: string }) => `${at.tenant} is not gone: ${at.what}`,
    next: "the deletion goes on by itself; the VirtualCluster stays until nothing is left",
  },
  IRW_GATEWAY_UNREACHABLE: {
    says: (at: { socket: string; reason: string }) => `the tenants' gateway does not answer on ${at.socket}: ${at.reason}`,
    next: "it is a child of the supervisor (tenants-gateway), which restarts it; its log in the data directory says why it ended",
  },
  IRW_GATEWAY_ROUTE: {
    says: (at: { tenant: string; problem: string }) => `the gateway cannot serve ${at.tenant}: ${at.problem}`,
    next: "correct the field named; what cannot be listened on is tried again by itself",
  },
  IRW_DATASTORE: {
    says: (at: { endpoint: string; reason: string }) => `the tenants' datastore at ${at.endpoint}: ${at.reason}`,
    next: "see its log in the data directory; it is tried again by itself",
  },
  IRW_DATASTORE_VERSION: {
    says: (at: { have: string; floor: string }) => `etcd ${at.have} lets a tenant out of its keys; the first that does not is ${at.floor}`,
    next: "run `npm run setup` for the bundle's etcd; no tenant is let in by the old one",
  },
  IRW_DATASTORE_REFUSED: {
    says: (at: { tenant: string; reason: string }) => `the datastore cannot take ${at.tenant}: ${at.reason}`,
    next: "ask for a smaller quota or for an etcd of its own (`kind: dedicated`) in a new VirtualCluster; nothing was changed",
  },

  // ── backup ──
  IRW_BACKUP_BUSY: {
    says: (at: { lock: string }) => `another backup of this data directory is being taken (${at.lock})`,
    next: "wait until it is done; if the process that took it ended, so did its lock",
  },
  IRW_BACKUP_FAILED: {
    says: (at: { file: string; reason: string }) => `no backup was written to ${at.file}: ${at.reason}`,
    next: "see to the reason; what was written of it is removed, and earlier backups are as they were",
  },
  IRW_BACKUP_ARCHIVE: {
    says: (at: { file: string; reason: string }) => `${at.file} cannot be restored: ${at.reason}`,
    next: "take another backup file; nothing was restored from this one",
  },
  IRW_BACKUP_KEY: {
    says: (at: { file: string; reason: string }) => `${at.file} stays closed: ${at.reason}`,
    next: "a file for recipients opens by --identity FILE, one under a passphrase by --passphrase-file FILE",
  },
  IRW_BACKUP_OPTIONS: {
    says: (at: { problem: string }) => `that cannot be backed up or restored: ${at.problem}`,
    next: "correct the option named; nothing was changed",
  },
  IRW_RESTORE_TARGET: {
    says: (at: { directory: string; reason: string }) => `nothing is restored into ${at.directory}: ${at.reason}`,
    next: "name a directory that is empty or not there; move an old data directory away rather than delete it",
  },
  IRW_RESTORE_FAILED: {
    says: (at: { what: string; reason: string }) => `${at.what} could not be restored: ${at.reason}`,
    next: "see to the reason and restore again; the directory is as it was before",
  },
  IRW_RESTORE_DIVERGED: {
    says: (at: { machine: string; taken: string; found: string }) =>
      `${at.machine} moved on after the backup of ${at.taken}, which is all that is known of it: ${at.found}`,
    next: "look whose it is; set spec.maintenance to true and back to give it up, and it is wiped before anybody gets it",
  },

  // ── rack ──
  IRW_RACK_CONFLICT: {
    says: (at: { what: string }) => `the virtual rack cannot come up: ${at.what}`,
    next: "`ironwright rack down` removes what an earlier one left; or choose another rack.name or rack.subnet",
  },
  IRW_RACK_RIGHTS: {
    says: (at: { lacks: string }) =>
      `the virtual rack needs root, to make a network namespace with interfaces: this process lacks ${at.lacks}`,
    next: "run it as root, e.g. by sudo; in a container, give it these capabilities",
  },
  IRW_RACK_QEMU: {
    says: (at: { server: string; reason: string }) => `QEMU of ${at.server}: ${at.reason}`,
    next: "the server's log is in the rack's directory (`ironwright rack status`)",
  },
  IRW_RACK_DOWN: {
    says: (at: { name: string; reason: string }) => `the virtual rack ${at.name} is not up: ${at.reason}`,
    next: "`ironwright rack up` starts it, and mends what a crash left",
  },
} as const;

export type Code = keyof typeof errors;
export type Facts<C extends Code> = Parameters<(typeof errors)[C]["says"]>[0];

/** An error with a code to switch on; the message is for people and may change. */
export class IronwrightError<C extends Code = Code> extends Error {
  readonly code: C;
  readonly next: string;
  readonly facts: Facts<C>;

  constructor(code: C, facts: Facts<C>, cause?: unknown) {
    const says = errors[code].says as (at: Facts<C>) => string;
    super(says(facts), cause === undefined ? {} : { cause });
    this.name = "IronwrightError";
    this.code = code;
    this.next = errors[code].next;
    this.facts = facts;
  }
}

export function isError<C extends Code>(error: unknown, code: C): error is IronwrightError<C> {
  return error instanceof IronwrightError && error.code === code;
}

/** What is known of a code, its facts as ‹names›: for `ironwright explain CODE` and the reference. */
export function explain(code: string): { readonly code: Code; readonly says: string; readonly next: string } | undefined {
  if (!Object.hasOwn(errors, code)) return undefined;
  const entry = errors[code as Code];
  const names = new Proxy({}, { get: (_, name) => `‹${String(name)}›` });
  return { code: code as Code, says: (entry.says as (at: object) => string)(names), next: entry.next };
}

export const codes = Object.keys(errors) as readonly Code[];

/** The message of anything thrown, for a log line or a condition. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
