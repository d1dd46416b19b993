import fc from "fast-check";
import type { Node, Pod } from "../../src/kube/index.ts";

/** A few nodes, what runs on them, and pods that are to be judged against each of them. */
export interface SchedulerWorld {
  readonly nodes: readonly Node[];
  readonly running: readonly Pod[];
  readonly asking: readonly Pod[];
}

export const NAMESPACE = "agreement";
/** Pods of another team, which terms may look at. */
export const OTHER_NAMESPACE = "agreement-other";
/** Labels of both namespaces. */
export const NAMESPACE_LABELS = { [NAMESPACE]: { team: "red" }, [OTHER_NAMESPACE]: { team: "blue" } } as const;
/** A RuntimeClass and what its pods take besides. */
export const RUNTIME_CLASS = { name: "heavy", overhead: { cpu: "500m" } } as const;
/** PersistentVolumes, each in a zone of its own, with a PersistentVolumeClaim of its name bound to it. */
export const VOLUMES = ["east", "west"] as const;
export const LABEL_ZONE = "topology.kubernetes.io/zone";
export const LABEL_HOST = "kubernetes.io/hostname";
const GPU = "nvidia.com/gpu";
const REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution";

const apps = fc.constantFrom("a", "b");
const keys = fc.constantFrom(LABEL_ZONE, LABEL_HOST);
const selector = fc.oneof(
  apps.map((app) => ({ matchLabels: { app } })),
  fc
    .constantFrom("In", "NotIn", "Exists", "DoesNotExist")
    .chain((operator) =>
      apps.map((app) => ({ matchExpressions: [{ key: "app", operator, ...(operator.endsWith("In") ? { values: [app] } : {}) }] })),
    ),
);
/** Absent but for one time in so many: a pod that asks for everything at once is let in nowhere, and says nothing. */
const maybe = <T>(arbitrary: fc.Arbitrary<T>, oneIn = 2): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: oneIn - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

const taints = fc.uniqueArray(
  fc.record({
    key: fc.constantFrom("dedicated", "flaky"),
    value: fc.constantFrom("x", "y"),
    effect: fc.constantFrom("NoSchedule", "NoExecute", "PreferNoSchedule"),
  }),
  { maxLength: 2, selector: ({ key, effect }) => `${key}:${effect}` },
);

const tolerations = fc.array(
  fc.oneof(
    fc.record({ key: fc.constantFrom("dedicated", "flaky"), operator: fc.constant("Exists") }),
    fc.record({
      key: fc.constantFrom("dedicated", "flaky"),
      value: fc.constantFrom("x", "y"),
      effect: fc.constantFrom("NoSchedule", "NoExecute"),
    }),
    fc.constant({ operator: "Exists" }),
  ),
  { maxLength: 2 },
);

const node = fc.record({
  zone: fc.constantFrom(undefined, "east", "east", "west", "west"),
  disk: maybe(fc.constantFrom("ssd", "hdd", "5", "40")),
  taints: maybe(taints, 3),
  cpu: fc.constantFrom(2, 4, 16),
  gpus: fc.constantFrom(0, 0, 2),
  pods: fc.constantFrom(2, 110, 110),
  unschedulable: fc.constantFrom(false, false, false, false, true),
});

const expression = fc.oneof(
  fc.record({
    key: fc.constant("disk"),
    operator: fc.constantFrom("In", "NotIn"),
    values: fc.subarray(["ssd", "hdd", "40"], { minLength: 1 }),
  }),
  fc.record({ key: fc.constantFrom("disk", LABEL_ZONE), operator: fc.constantFrom("Exists", "DoesNotExist") }),
  fc.record({ key: fc.constant("disk"), operator: fc.constantFrom("Gt", "Lt"), values: fc.constantFrom(["4"], ["5"], ["39"]) }),
  fc.record({ key: fc.constant(LABEL_ZONE), operator: fc.constantFrom("In", "NotIn"), values: fc.constantFrom(["east"], ["west"]) }),
);

const spread = fc.record({
  maxSkew: fc.constantFrom(1, 2),
  topologyKey: keys,
  whenUnsatisfiable: fc.constantFrom("DoNotSchedule", "DoNotSchedule", "ScheduleAnyway"),
  labelSelector: selector,
  nodeAffinityPolicy: fc.constantFrom("Honor", "Ignore"),
  nodeTaintsPolicy: fc.constantFrom("Honor", "Ignore"),
  minDomains: maybe(fc.constantFrom(1, 2, 3), 4),
  matchLabelKeys: maybe(fc.constant(["tier"]), 4),
});

const podTerm = fc
  .record({
    topologyKey: keys,
    labelSelector: selector,
    namespaces: maybe(fc.subarray([NAMESPACE, OTHER_NAMESPACE], { minLength: 1 }), 3),
    namespaceSelector: maybe(fc.constantFrom({}, { matchLabels: { team: "blue" } }, { matchLabels: { team: "green" } }), 3),
    matchLabelKeys: maybe(fc.constant(["tier"]), 4),
    mismatchLabelKeys: maybe(fc.constant(["tier"]), 4),
  })
  // one key cannot be in both
  .map(({ mismatchLabelKeys, ...term }) => (term.matchLabelKeys || !mismatchLabelKeys ? term : { ...term, mismatchLabelKeys }))
  .map((term) => stated(term));

const port = fc
  .record({
    hostPort: fc.constantFrom(80, 81),
    hostIP: maybe(fc.constantFrom("0.0.0.0", "10.0.0.1", "10.0.0.2")),
    protocol: maybe(fc.constantFrom("TCP", "UDP")),
  })
  .map((one) => stated(one));

const running = fc.record({
  on: fc.nat(),
  app: apps,
  tier: fc.constantFrom("1", "2"),
  namespace: fc.constantFrom(NAMESPACE, NAMESPACE, OTHER_NAMESPACE),
  cpu: fc.constantFrom("100m", "1"),
  port: maybe(port, 3),
  anti: maybe(podTerm, 2),
});

const init = fc.record({ cpu: fc.constantFrom("1", "4"), sidecar: fc.boolean(), port: maybe(fc.constant({ hostPort: 82 }), 2) });

const asking = fc.record({
  app: apps,
  tier: fc.constantFrom("1", "2"),
  cpu: fc.constantFrom("100m", "1", "2", "3500m"),
  inits: maybe(fc.array(init, { minLength: 1, maxLength: 2 }), 3),
  overhead: maybe(fc.constant(true), 4),
  podCpu: maybe(fc.constant("13"), 9),
  gate: maybe(fc.constant(true), 15),
  volume: maybe(fc.constantFrom(...VOLUMES, "missing"), 5),
  gpus: fc.constantFrom(0, 0, 0, 1, 2, 3),
  port: maybe(port, 3),
  nodeSelector: maybe(fc.constantFrom({ disk: "ssd" }, { [LABEL_ZONE]: "east" }), 5),
  terms: maybe(fc.array(fc.array(expression, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 2 }), 3),
  tolerations: maybe(tolerations),
  spread: maybe(fc.uniqueArray(spread, { minLength: 1, maxLength: 2, selector: (one) => `${one.topologyKey} ${one.whenUnsatisfiable}` })),
  affinity: maybe(podTerm, 4),
  anti: maybe(podTerm, 3),
});

/** @param name makes the names of one world's nodes and pods its own */
export function schedulerWorld(name: string): fc.Arbitrary<SchedulerWorld> {
  return fc
    .record({
      nodes: fc.array(node, { minLength: 2, maxLength: 4 }),
      running: fc.array(running, { maxLength: 4 }),
      asking: fc.array(asking, { minLength: 2, maxLength: 4 }),
    })
    .map((world) => ({
      nodes: world.nodes.map((one, n) => nodeObject(`${name}-n${n}`, one)),
      running: placed(world.running, world.nodes.length).map((one, n) => runningPod(`${name}-r${n}`, `${name}-n${one.on}`, one)),
      asking: world.asking.map((one, n) => askingPod(`${name}-p${n}`, one)),
    }));
}

/** Pods that were admitted side by side: of two with one host port on one node the second would never have come to run. */
function placed(list: readonly Made<typeof running>[], nodes: number): Made<typeof running>[] {
  const there: Made<typeof running>[] = [];
  for (const one of list.map((drawn) => ({ ...drawn, on: drawn.on % nodes }))) {
    if (!there.some((other) => other.on === one.on && one.port && other.port && collide(one.port, other.port))) there.push(one);
  }
  return there;
}

/** An address that is not said, or is 0.0.0.0, is each. */
function collide(one: Made<typeof port>, other: Made<typeof port>): boolean {
  const each = (ip = "0.0.0.0") => ip === "0.0.0.0";
  return (
    one.hostPort === other.hostPort &&
    (one.protocol ?? "TCP") === (other.protocol ?? "TCP") &&
    (each(one.hostIP) || each(other.hostIP) || one.hostIP === other.hostIP)
  );
}

/** Without the fields that are undefined. */
function stated<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Partial<T>;
}

type Made<A> = A extends fc.Arbitrary<infer T> ? T : never;

function nodeObject(name: string, one: Made<typeof node>): Node {
  const amounts = { cpu: String(one.cpu), memory: "8Gi", pods: String(one.pods), ...(one.gpus > 0 ? { [GPU]: String(one.gpus) } : {}) };
  const labels = {
    // a kubelet sets it on every node
    [LABEL_HOST]: name,
    ...(one.zone === undefined ? {} : { [LABEL_ZONE]: one.zone }),
    ...(one.disk === undefined ? {} : { disk: one.disk }),
  };
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels },
    spec: { taints: (one.taints ?? []) as NonNullable<Node["spec"]["taints"]>, unschedulable: one.unschedulable },
    status: { capacity: amounts, allocatable: amounts },
  };
}

function runningPod(name: string, on: string, one: Made<typeof running>): Pod {
  const anti = one.anti && { podAntiAffinity: { [REQUIRED]: [one.anti] } };
  return podObject(one, { name, namespace: one.namespace }, { cpu: one.cpu }, { nodeName: on, affinity: anti });
}

function askingPod(name: string, one: Made<typeof asking>): Pod {
  const inits = one.inits?.map(({ cpu, sidecar, port: taken }, n) => ({
    name: `init-${n}`,
    image: "none",
    resources: { requests: { cpu } },
    ...(sidecar ? { restartPolicy: "Always" } : {}),
    // of two containers of one pod that listen on one port the second is refused
    ...(taken && one.inits?.findIndex((other) => other.port) === n ? { ports: [{ containerPort: taken.hostPort, ...taken }] } : {}),
  }));
  return podObject(
    one,
    { name, namespace: NAMESPACE },
    { cpu: one.cpu, ...(one.gpus > 0 ? { [GPU]: String(one.gpus) } : {}) },
    {
      affinity: stated({
        nodeAffinity: one.terms && { [REQUIRED]: { nodeSelectorTerms: one.terms.map((term) => ({ matchExpressions: term })) } },
        podAffinity: one.affinity && { [REQUIRED]: [one.affinity] },
        podAntiAffinity: one.anti && { [REQUIRED]: [one.anti] },
      }),
      initContainers: inits,
      overhead: one.overhead && RUNTIME_CLASS.overhead,
      runtimeClassName: one.overhead && RUNTIME_CLASS.name,
      resources: one.podCpu === undefined ? undefined : { requests: { cpu: one.podCpu } },
      schedulingGates: one.gate && [{ name: "example.com/wait" }],
      volumes: one.volume === undefined ? undefined : [{ name: "data", persistentVolumeClaim: { claimName: one.volume } }],
      nodeSelector: one.nodeSelector,
      tolerations: one.tolerations,
      topologySpreadConstraints: one.spread?.map(spreadObject),
    },
  );
}

/** `minDomains` is for DoNotSchedule alone. */
function spreadObject({ minDomains, matchLabelKeys, ...one }: Made<typeof spread>): object {
  return {
    ...one,
    ...(minDomains !== undefined && one.whenUnsatisfiable === "DoNotSchedule" ? { minDomains } : {}),
    ...(matchLabelKeys === undefined ? {} : { matchLabelKeys }),
  };
}

function podObject(
  { app, tier, port: taken }: { readonly app: string; readonly tier: string; readonly port?: Made<typeof port> | undefined },
  metadata: { readonly name: string; readonly namespace: string },
  requests: Readonly<Record<string, string>>,
  spec: Readonly<Record<string, unknown>>,
): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...metadata, labels: { app, tier } },
    spec: {
      ...stated(spec),
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: "main",
          image: "none",
          resources: { requests, ...(requests[GPU] ? { limits: { [GPU]: requests[GPU] } } : {}) },
          ...(taken ? { ports: [{ containerPort: taken.hostPort, ...taken }] } : {}),
        },
      ],
    },
  } as unknown as Pod;
}
