import type { Quantity, Resources } from "../../core/quantity.ts";
import { contradiction, matchesSelector, type Requirements, requirementsOf } from "../../core/requirements.ts";
import type { PendingPod, PodNeeds, Repelling, TenantWorld } from "./world.ts";

/** Pods that can run in exactly the same places. The cost of a plan grows with kinds, not with pods. */
export interface PodKind {
  readonly tenant: string;
  readonly needs: PodNeeds;
  readonly terms: readonly Requirements[];
  readonly priority: number;
  /** Oldest first. */
  readonly pods: readonly PendingPod[];
  /** What it wants of resources only some machines have. */
  readonly accelerators: Quantity;
  /** Why it is not planned at all. */
  readonly refused?: string;
}

const PLAIN: ReadonlySet<string> = new Set(["cpu", "memory", "ephemeral-storage", "pods"]);

/** Resources a node has only because of special hardware. */
export function acceleratorsIn(resources: Resources): Quantity {
  let sum = 0n;
  for (const [name, amount] of resources) if (!PLAIN.has(name) && name.includes("/") && amount > 0n) sum += amount;
  return sum;
}

/** The tenant's pods by kind, in no promised order. */
export function kindsOf(world: TenantWorld): PodKind[] {
  const kinds = new Map<string, { first: PendingPod; refused: string | undefined; pods: PendingPod[] }>();
  for (const pod of world.pods) {
    const refused = pod.needs.unsupported ?? repelled(pod, world.repelling ?? []);
    const key = signature(pod, refused);
    const kind = kinds.get(key);
    if (kind) kind.pods.push(pod);
    else kinds.set(key, { first: pod, refused, pods: [pod] });
  }
  return [...kinds.values()].map(({ first, refused, pods }) => {
    const terms = first.needs.terms.map((term) => requirementsOf(term));
    const possible = terms.filter((term) => contradiction(term) === undefined);
    const why = refused ?? (possible.length > 0 ? undefined : contradictionText(terms));
    return {
      tenant: world.tenant,
      needs: first.needs,
      terms: possible,
      priority: first.priority,
      pods: pods.sort((a, b) => order(a.since, b.since) || order(a.key, b.key)),
      accelerators: acceleratorsIn(first.needs.requests),
      ...(why === undefined ? {} : { refused: why }),
    };
  });
}

function contradictionText(terms: readonly Requirements[]): string {
  const keys = terms.map((term) => contradiction(term)).filter((key) => key !== undefined);
  return keys.length > 0
    ? `its node selector and affinity contradict each other on ${[...new Set(keys)].join(", ")}`
    : "its node affinity matches no node";
}

function repelled(pod: PendingPod, repelling: readonly Repelling[]): string | undefined {
  const namespace = pod.key.split("/")[0] ?? "";
  const by = repelling.find(
    (one) => (one.namespaces === "all" || one.namespaces.includes(namespace)) && matchesSelector(one.selector, pod.labels),
  );
  return by && `the anti-affinity of the running pod ${by.pod} concerns it, which is not planned yet`;
}

function signature(pod: PendingPod, refused: string | undefined): string {
  const { needs } = pod;
  return JSON.stringify([
    pod.priority,
    refused ?? null,
    [...needs.requests].map(([name, amount]) => `${name}=${amount}`).sort(),
    needs.terms,
    needs.tolerations,
    needs.hostPorts,
  ]);
}

/**
 * Who is planned first: the higher priority; then who wants accelerators; then who has the fewest machines to go to,
 * so that the flexible do not take the places of the rigid; then the larger (accelerators, cpu, memory); then the older.
 */
export function kindOrder(choices: ReadonlyMap<PodKind, number>): (a: PodKind, b: PodKind) => number {
  const many = (kind: PodKind) => choices.get(kind) ?? 0;
  const amount = (kind: PodKind, name: string) => kind.needs.requests.get(name) ?? 0n;
  return (a, b) =>
    b.priority - a.priority ||
    Number(b.accelerators > 0n) - Number(a.accelerators > 0n) ||
    many(a) - many(b) ||
    order(b.accelerators, a.accelerators) ||
    order(amount(b, "cpu"), amount(a, "cpu")) ||
    order(amount(b, "memory"), amount(a, "memory")) ||
    order(a.pods[0]?.since ?? "", b.pods[0]?.since ?? "") ||
    order(a.pods[0]?.key ?? "", b.pods[0]?.key ?? "");
}

/** By code units and by number: never by locale. */
export function order<T extends string | bigint | number>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
