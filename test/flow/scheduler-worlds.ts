import fc from "fast-check";
import type { Node, Pod } from "../../src/kube/index.ts";

/** A few nodes, what runs on them, and pods that are to be judged against each of them. */
export interface SchedulerWorld {
  readonly nodes: readonly Node[];
  readonly running: readonly Pod[];
  readonly asking: readonly Pod[];
}

export const NAMESPACE = "agreement";
export const LABEL_ZONE = "topology.kubernetes.io/zone";
export const LABEL_HOST = "kubernetes.io/hostname";
const GPU = "nvidia.com/gpu";

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
const maybe = <T>(one: fc.Arbitrary<T>, freq = 2) => fc.option(one, { nil: undefined, freq });

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
  zone: maybe(fc.constantFrom("east", "west"), 5),
  disk: maybe(fc.constantFrom("ssd", "hdd", "5", "40")),
  taints: maybe(taints, 1),
  cpu: fc.constantFrom(2, 4),
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

const podTerm = fc.record({ topologyKey: keys, labelSelector: selector });

const running = fc.record({
  on: fc.nat(),
  app: apps,
  tier: fc.constantFrom("1", "2"),
  cpu: fc.constantFrom("100m", "1"),
  port: maybe(fc.constantFrom(80, 81), 3),
  anti: maybe(podTerm, 2),
});

const asking = fc.record({
  app: apps,
  tier: fc.constantFrom("1", "2"),
  cpu: fc.constantFrom("100m", "1", "2", "3500m"),
  initCpu: maybe(fc.constantFrom("1", "4"), 5),
  gpus: fc.constantFrom(0, 0, 0, 1, 2, 3),
  port: maybe(fc.constantFrom(80, 81), 4),
  nodeSelector: maybe(fc.constantFrom({ disk: "ssd" }, { [LABEL_ZONE]: "east" }), 5),
  terms: maybe(fc.array(fc.array(expression, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 2 }), 2),
  tolerations: maybe(tolerations, 1),
  spread: maybe(
    fc.uniqueArray(spread, { minLength: 1, maxLength: 2, selector: (one) => `${one.topologyKey} ${one.whenUnsatisfiable}` }),
    1,
  ),
  affinity: maybe(podTerm, 2),
  anti: maybe(podTerm, 2),
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
  const ports = new Set<string>();
  return list
    .map((one) => ({ ...one, on: one.on % nodes }))
    .filter((one) => {
      const port = `${one.on} ${one.port}`;
      if (one.port !== undefined && ports.has(port)) return false;
      ports.add(port);
      return true;
    });
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
  return podObject(
    name,
    { app: one.app, tier: one.tier },
    { cpu: one.cpu },
    {
      nodeName: on,
      ...(one.port === undefined ? {} : { port: one.port }),
      ...(one.anti ? { affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [one.anti] } } } : {}),
    },
  );
}

function askingPod(name: string, one: Made<typeof asking>): Pod {
  const required = "requiredDuringSchedulingIgnoredDuringExecution";
  const affinity = {
    ...(one.terms ? { nodeAffinity: { [required]: { nodeSelectorTerms: one.terms.map((term) => ({ matchExpressions: term })) } } } : {}),
    ...(one.affinity ? { podAffinity: { [required]: [one.affinity] } } : {}),
    ...(one.anti ? { podAntiAffinity: { [required]: [one.anti] } } : {}),
  };
  return podObject(
    name,
    { app: one.app, tier: one.tier },
    { cpu: one.cpu, ...(one.gpus > 0 ? { [GPU]: String(one.gpus) } : {}) },
    {
      affinity,
      ...(one.port === undefined ? {} : { port: one.port }),
      ...(one.initCpu === undefined ? {} : { initCpu: one.initCpu }),
      ...(one.nodeSelector === undefined ? {} : { nodeSelector: one.nodeSelector }),
      ...(one.tolerations === undefined ? {} : { tolerations: one.tolerations }),
      ...(one.spread === undefined ? {} : { topologySpreadConstraints: one.spread.map(spreadObject) }),
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
  name: string,
  labels: Readonly<Record<string, string>>,
  requests: Readonly<Record<string, string>>,
  {
    port,
    initCpu,
    ...spec
  }: { readonly port?: number; readonly initCpu?: string; readonly nodeName?: string; readonly [field: string]: unknown },
): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: NAMESPACE, labels },
    spec: {
      ...spec,
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: "main",
          image: "none",
          resources: { requests, ...(requests[GPU] ? { limits: { [GPU]: requests[GPU] } } : {}) },
          ...(port === undefined ? {} : { ports: [{ containerPort: port, hostPort: port }] }),
        },
      ],
      ...(initCpu === undefined ? {} : { initContainers: [{ name: "init", image: "none", resources: { requests: { cpu: initCpu } } }] }),
    },
  } as Pod;
}
