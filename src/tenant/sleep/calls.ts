/**
 * Who called a tenant's apiserver, from its audit log.
 *
 * Why the audit log and not `apiserver_request_total`: the counter knows verbs and resources, but not callers, and a control plane that
 * nobody uses calls itself all the time. The log names user and client of each; {@link ACTIVITY_POLICY} keeps all that is
 * no call out of it, so that it is small.
 */

/** What is looked at of an audit.k8s.io/v1 Event. */
interface AuditEvent {
  readonly stage?: unknown;
  readonly verb?: unknown;
  readonly requestURI?: unknown;
  readonly userAgent?: unknown;
  readonly user?: { readonly username?: unknown; readonly groups?: unknown };
  readonly objectRef?: { readonly resource?: unknown };
  readonly responseStatus?: { readonly code?: unknown };
  readonly stageTimestamp?: unknown;
}

/** Users of the control plane's own clients, of the daemon and of nodes. */
const OWN_USERS: readonly string[] = [
  "system:apiserver",
  "system:kube-controller-manager",
  "system:kube-scheduler",
  "kube-apiserver-kubelet-client",
  "ironwright",
];
const NODES = "system:node:";
const STRANGER = "system:anonymous";
const SERVICE_ACCOUNT = "system:serviceaccount:";
/** The controllers of kube-controller-manager, which call as service accounts of this namespace. */
const CONTROLLERS = `${SERVICE_ACCOUNT}kube-system:`;
const CONTROLLER_MANAGER = "kube-controller-manager/";
const HEALTH = /^\/(?:livez|readyz|healthz|metrics)(?:[/?]|$)/;

/**
 * The audit policy of a tenant whose calls are counted (audit.k8s.io/v1): what never counts is not even written. It says nothing of
 * bodies.
 */
export const ACTIVITY_POLICY = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived", "ResponseStarted"],
  omitManagedFields: true,
  rules: [
    { level: "None", verbs: ["watch"] },
    { level: "None", users: OWN_USERS },
    { level: "None", userGroups: ["system:nodes"] },
    { level: "None", nonResourceURLs: ["/livez*", "/readyz*", "/healthz*", "/metrics*"] },
    { level: "Metadata" },
  ],
} as const;

export interface Calls {
  readonly count: number;
  /** Of the last one, milliseconds; absent when there was none. */
  readonly last?: number;
  /** Lines that are no audit events. */
  readonly unread: number;
}

/** When a line of the log is a call that counts: its moment in milliseconds; `unread` when it is no audit event at all. */
export function callOf(line: string): number | "unread" | undefined {
  const event = parsed(line);
  if (!event) return "unread";
  const at = Date.parse(textOf(event.stageTimestamp));
  if (Number.isNaN(at) || typeof event.stage !== "string" || typeof event.verb !== "string") return "unread";
  return counts(event) ? at : undefined;
}

function counts({ stage, verb, requestURI, userAgent, user, objectRef, responseStatus }: AuditEvent): boolean {
  if (stage !== "ResponseComplete" && stage !== "Panic") return false;
  const name = textOf(user?.username);
  if (verb === "watch" || HEALTH.test(textOf(requestURI))) return false;
  if (OWN_USERS.includes(name) || name.startsWith(NODES)) return false;
  // a stranger at the door is no reason to stay awake
  if (name === "" || name === STRANGER || responseStatus?.code === 401) return false;
  if (name.startsWith(CONTROLLERS) && textOf(userAgent).startsWith(CONTROLLER_MANAGER)) return false;
  // who renews a lease says that it lives, and nothing else
  return !(name.startsWith(SERVICE_ACCOUNT) && textOf(objectRef?.resource) === "leases");
}

/** The longest line that is read: what is longer is no event of a policy without bodies. */
const LONGEST = 1024 * 1024;

/** Counts the calls in a log as it grows. */
export interface CallReader {
  /** The next bytes of the log, cut anywhere. */
  push(chunk: string): void;
  /** What came since this was asked last; a line whose end has not come yet is left for later. */
  take(): Calls;
}

export function callReader(): CallReader {
  let rest = "";
  let skipping = false;
  let count = 0;
  let unread = 0;
  let last: number | undefined;

  function read(line: string): void {
    if (line.trim() === "") return;
    const at = callOf(line);
    if (at === "unread") unread += 1;
    else if (at !== undefined) {
      count += 1;
      last = Math.max(last ?? at, at);
    }
  }

  return {
    push(chunk) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (skipping) skipping = false;
        else read(line);
      }
      if (rest.length <= LONGEST) return;
      // counted once, and its end is waited for
      if (!skipping) unread += 1;
      skipping = true;
      rest = "";
    },
    take() {
      const calls = { count, unread, ...(last === undefined ? {} : { last }) };
      [count, unread, last] = [0, 0, undefined];
      return calls;
    },
  };
}

function parsed(line: string): AuditEvent | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
