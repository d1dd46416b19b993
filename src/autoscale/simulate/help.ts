import { formatQuantity } from "../../core/quantity.ts";
import { type PendingPod, type PodNeeds, plan, type TenantWorld, tolerates, type World } from "../plan/index.ts";
import { shortOf } from "./labels.ts";
import { placeOf } from "./servers.ts";

/** A change of the world, and how to say it. */
interface Change {
  readonly text: string;
  /** Changes of one kind by size: when one helps, the larger need not be tried. */
  readonly family?: string;
  apply(world: World): World;
}

/** As many plans as are made to find help; then it is said that there may be more. */
const MOST_TRIALS = 150;
const MORE = [1, 2, 4, 8, 16];

/** What was found by trying. */
export interface Help {
  /** Changes that help, the smallest first. */
  readonly changes: readonly string[];
  /** How many plans were made. */
  readonly tried: number;
  /** No more are made: there may be other changes. */
  readonly spent: boolean;
}

export const NO_HELP: Help = { changes: [], tried: 0, spent: false };

/**
 * The smallest changes after which the planner would place more of these pods, tried out one by one. Where no single one
 * helps, all that the pods wish is given up at once, and what need not be is taken back; then two changes are tried. The
 * pods' own wishes come first, then what operators decide, then more servers, fewest first.
 * @param keys `tenant/namespace/name` of the pods that wait
 */
export function whatHelps(world: World, keys: ReadonlySet<string>): Help {
  const { wishes, others } = changesFor(world, keys);
  const changes = [...wishes, ...others];
  const before = placedOf(world, keys);
  let tried = 1;
  let spent = false;
  const helps = (all: readonly Change[]) => {
    spent ||= tried >= MOST_TRIALS;
    if (spent) return false;
    tried += 1;
    return (
      placedOf(
        all.reduce((made, { apply }) => apply(made), world),
        keys,
      ) > before
    );
  };
  const found = firstOf(wishes, changes, helps);
  return { changes: found, tried, spent };
}

function firstOf(wishes: readonly Change[], changes: readonly Change[], helps: (all: readonly Change[]) => boolean): string[] {
  const single: string[] = [];
  const done = new Set<string>();
  for (const change of changes) {
    const { text, family } = change;
    if ((family !== undefined && done.has(family)) || !helps([change])) continue;
    if (family !== undefined) done.add(family);
    single.push(text);
  }
  if (single.length > 0) return single;
  if (wishes.length > 1 && helps(wishes)) {
    let needed = wishes;
    for (const one of wishes) {
      const fewer = needed.filter((other) => other !== one);
      if (helps(fewer)) needed = fewer;
    }
    return [textOf(needed)];
  }
  for (const [nth, first] of changes.entries())
    for (const second of changes.slice(nth + 1)) if (helps([first, second])) return [textOf([first, second])];
  return [];
}

function textOf(changes: readonly Change[]): string {
  return changes.map(({ text }) => text).join(", and ");
}

function placedOf(world: World, keys: ReadonlySet<string>): number {
  let count = 0;
  for (const one of plan(world).placements) for (const pod of one.pods) if (keys.has(`${one.tenant}/${pod}`)) count += 1;
  return count;
}

function changesFor(world: World, keys: ReadonlySet<string>): { readonly wishes: readonly Change[]; readonly others: readonly Change[] } {
  const tenants = world.tenants.filter((one) => one.pods.some((pod) => keys.has(`${one.tenant}/${pod.key}`)));
  const pods = tenants.flatMap((one) => one.pods.filter((pod) => keys.has(`${one.tenant}/${pod.key}`)));
  const [first] = pods;
  if (!first) return { wishes: [], others: [] };
  const gang = tenants.flatMap((one) => one.gangs ?? []).find((one) => one.name === first.gang);
  return {
    wishes: unique(ofPods(world, keys, first, tenants)),
    others: unique([...(gang ? ofGang(gang) : []), ...ofPolicy(world, first, tenants), ...moreServers(world)]),
  };
}

function unique(changes: readonly Change[]): Change[] {
  return [...new Map(changes.map((one) => [one.text, one])).values()];
}

function onPods(keys: ReadonlySet<string>, change: (pod: PendingPod) => PendingPod): Change["apply"] {
  return (world) => ({
    ...world,
    tenants: world.tenants.map((one) => ({
      ...one,
      pods: one.pods.map((pod) => (keys.has(`${one.tenant}/${pod.key}`) ? change(pod) : pod)),
    })),
  });
}

function ofPods(world: World, keys: ReadonlySet<string>, { needs, gates }: PendingPod, tenants: readonly TenantWorld[]): Change[] {
  const withNeeds = (text: string, change: (needs: PodNeeds) => PodNeeds): Change => {
    // equal pods go on sharing what they need
    const changed = new Map<PodNeeds, PodNeeds>();
    const once = (one: PodNeeds) => changed.get(one) ?? changed.set(one, change(one)).get(one) ?? one;
    return { text, apply: onPods(keys, (pod) => ({ ...pod, needs: once(pod.needs) })) };
  };
  const without = <K extends "spread" | "affinity" | "antiAffinity">(field: K, what: string): Change[] =>
    [...new Set((needs[field] ?? []).map((one) => one.key))].map((key) =>
      withNeeds(`no ${what} over ${shortOf(key)} in the pod`, (one) => ({
        ...one,
        [field]: one[field]?.filter((each) => each.key !== key),
      })),
    );
  const taints = tenants
    .flatMap((one) => [...one.pools, ...one.nodes].flatMap((each) => each.taints))
    .filter((one) => one.effect !== "PreferNoSchedule" && !needs.tolerations.some((each) => tolerates(each, one)));
  return [
    ...(gates?.length
      ? [{ text: `the scheduling gates ${gates.join(", ")} removed`, apply: onPods(keys, ({ gates: _, ...pod }) => pod) }]
      : []),
    ...taints.map(({ key, value, effect }) =>
      withNeeds(`a toleration of ${key}${value === undefined ? "" : `=${value}`}:${effect} in the pod`, (one) => ({
        ...one,
        tolerations: [...one.tolerations, { key, operator: "Exists", effect }],
      })),
    ),
    ...[...new Set(needs.terms.flat().map((one) => one.key))].map((key) =>
      withNeeds(`no requirement on ${shortOf(key)} in the pod`, (one) => ({
        ...one,
        terms: one.terms.map((term) => term.filter((each) => each.key !== key)),
      })),
    ),
    ...without("spread", "hard spread"),
    ...without("antiAffinity", "anti-affinity"),
    ...without("affinity", "affinity"),
    ...(needs.volumes ? [withNeeds("volumes that can be reached from everywhere", ({ volumes: _, ...one }) => one)] : []),
    ...(needs.hostPorts.length > 0 ? [withNeeds("no host ports in the pod", (one) => ({ ...one, hostPorts: [] }))] : []),
    ...[...needs.requests].flatMap(([name, amount]) => {
      const sizes = [...world.machines, ...(world.catalog ?? [])]
        .map((one) => one.allocatable.get(name) ?? 0n)
        .filter((one) => one > 0n && one < amount);
      const most = sizes.reduce(larger, 0n);
      if (most === 0n || [...world.machines, ...(world.catalog ?? [])].some((one) => (one.allocatable.get(name) ?? 0n) >= amount))
        return [];
      return [
        withNeeds(`a request of at most ${formatQuantity(most, name === "memory" ? "binary" : "decimal")} ${name}`, (one) => ({
          ...one,
          requests: new Map([...one.requests, [name, most]]),
        })),
      ];
    }),
  ];
}

function ofGang(gang: NonNullable<TenantWorld["gangs"]>[number]): Change[] {
  const changed =
    (change: (one: typeof gang) => typeof gang): Change["apply"] =>
    (world) => ({
      ...world,
      tenants: world.tenants.map((one) =>
        one.gangs ? { ...one, gangs: one.gangs.map((each) => (each.name === gang.name ? change(each) : each)) } : one,
      ),
    });
  const { required, slice } = gang.topology ?? {};
  return [
    ...(required === undefined
      ? []
      : [{ text: `a gang that may span several of ${shortOf(required)}`, apply: changed(({ topology: _, ...one }) => one) }]),
    ...(slice === undefined
      ? []
      : [{ text: `slices that may span several of ${shortOf(slice.level)}`, apply: changed(({ topology: _, ...one }) => one) }]),
    ...MORE.filter((fewer) => fewer < gang.min).map((fewer) => ({
      text: `a gang of at least ${gang.min - fewer} instead of ${gang.min}`,
      family: "gang",
      apply: changed((one) => ({ ...one, min: one.min - fewer })),
    })),
  ];
}

function ofPolicy(world: World, pod: PendingPod, tenants: readonly TenantWorld[]): Change[] {
  const policy = (text: string, change: World["policy"]): Change => ({
    text,
    apply: (one) => ({ ...one, policy: { ...one.policy, ...change } }),
  });
  const onTenant = (text: string, name: string, change: (one: TenantWorld) => TenantWorld): Change => ({
    text,
    apply: (one) => ({ ...one, tenants: one.tenants.map((each) => (each.tenant === name ? change(each) : each)) }),
  });
  const soon = Math.max(0, ...world.machines.flatMap((one) => one.readyInS ?? []));
  return [
    ...(soon > 0 ? [policy(`to wait ${soon} s for servers on their way (policy.waitForWipeS)`, { waitForWipeS: soon })] : []),
    ...(world.policy?.minRuntimeS || world.tenants.some((one) => one.minRuntimeS)
      ? [
          {
            text: "no minimum runtime (policy.minRuntimeS)",
            apply: (one: World) => ({
              ...one,
              policy: { ...one.policy, minRuntimeS: 0 },
              tenants: one.tenants.map(({ minRuntimeS: _, ...each }) => each),
            }),
          },
        ]
      : []),
    ...(pod.priority < (world.policy?.expendableBelow ?? Number.NEGATIVE_INFINITY)
      ? [policy("a priority that is not expendable", { expendableBelow: pod.priority })]
      : []),
    ...tenants.flatMap((one) => [
      ...one.pools.flatMap((pool) => {
        const change = (text: string, to: (each: typeof pool) => typeof pool) =>
          onTenant(text, one.tenant, (each) => ({
            ...each,
            pools: each.pools.map((other) => (other.name === pool.name ? to(other) : other)),
          }));
        return [
          ...(pool.limits.size > 0 ? [change(`higher limits of pool ${pool.name}`, (each) => ({ ...each, limits: new Map() }))] : []),
          ...(pool.plainPodsOnAccelerators
            ? []
            : [change(`plain pods on accelerators in pool ${pool.name}`, (each) => ({ ...each, plainPodsOnAccelerators: true }))]),
          ...(pool.problem === undefined
            ? []
            : [change(`pool ${pool.name} put right (${pool.problem})`, ({ problem: _, ...each }) => each)]),
        ];
      }),
      ...(one.quota?.nominal === undefined
        ? []
        : MORE.map((more) => ({
            family: `quota of ${one.tenant}`,
            ...onTenant(`a nominal quota of ${one.tenant} that is ${more} higher`, one.tenant, (each) => ({
              ...each,
              quota: { ...each.quota, nominal: (each.quota?.nominal ?? 0) + more },
            })),
          }))),
    ]),
    ...(world.windows ?? []).map((window) => ({
      text: `no window ${window.name}`,
      apply: (one: World) => ({ ...one, windows: (one.windows ?? []).filter((each) => each.name !== window.name) }),
    })),
  ];
}

/** Twins of servers there are, one of each type and place. */
function moreServers(world: World): Change[] {
  const examples = new Map(
    world.machines.map((one) => {
      const place = Object.entries(placeOf(one.nodeLabels)).map(([level, value]) => `${level} ${value}`);
      const type = one.nodeLabels["node.kubernetes.io/instance-type"] ?? "its type";
      return [[`free server of type ${type}`, ...place].join(", "), one] as const;
    }),
  );
  return MORE.flatMap((more) =>
    [...examples].map(([what, one]) => ({
      text: `${more} more ${what}`,
      family: what,
      apply(before: World): World {
        const { unavailable: _, readyInS: __, lastTenant: ___, failures: ____, ...free } = one;
        const twins = Array.from({ length: more }, (_, nth) => {
          const name = `${one.name}-more-${nth}`;
          return { ...free, name, nodeLabels: { ...free.nodeLabels, "kubernetes.io/hostname": name } };
        });
        return { ...before, machines: [...before.machines, ...twins] };
      },
    })),
  );
}

function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}
