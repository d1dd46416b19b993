import fc from "fast-check";
import type { Plan } from "./answer.ts";
import type { Gang, NodeSupply, PendingPod, Quota, RunningPod, TenantWorld, World } from "./world.ts";
import { carriedOut, machine, needs, node, pod, tenant } from "./worlds.fixture.ts";

const BOX = { cpu: 64, memory: 512, gpu: 8 };
export const RACK = "topology.ironwright.dev/rack";

interface Seat {
  readonly rack: string;
  readonly holder: string | undefined;
  readonly priority: number;
  readonly ageS: number;
  readonly idle: boolean;
}

interface Wish {
  readonly gpu: number;
  readonly count: number;
  readonly priority: number;
  readonly gang: { readonly min: number; readonly required: boolean; readonly preferred: boolean } | undefined;
  readonly maxRuntimeS: number | undefined;
}

const seats = fc.array(
  fc.record<Seat>({
    rack: fc.constantFrom("r1", "r2", "r3"),
    holder: fc.constantFrom(undefined, undefined, "a", "b"),
    priority: fc.constantFrom(0, 0, 10),
    ageS: fc.integer({ min: 0, max: 5_000 }),
    idle: fc.boolean(),
  }),
  { maxLength: 9 },
);

const wishes = fc.array(
  fc.record<Wish>({
    gpu: fc.constantFrom(2, 8),
    count: fc.integer({ min: 1, max: 4 }),
    priority: fc.constantFrom(0, 0, 100),
    gang: fc.option(fc.record({ min: fc.integer({ min: 1, max: 4 }), required: fc.boolean(), preferred: fc.boolean() }), {
      nil: undefined,
    }),
    maxRuntimeS: fc.option(fc.constantFrom(100, 5_000), { nil: undefined }),
  }),
  { maxLength: 3 },
);

const quotas = fc.option(
  fc.record<Quota>(
    {
      nominal: fc.integer({ min: 0, max: 4 }),
      borrow: fc.integer({ min: 0, max: 3 }),
      lend: fc.integer({ min: 0, max: 4 }),
      weight: fc.integer({ min: 1, max: 3 }),
    },
    { requiredKeys: [] },
  ),
  { nil: undefined },
);

function tenantOf(name: string, quota: Quota | undefined, list: readonly Wish[], seated: readonly Seat[]): TenantWorld {
  const nodes = seated.flatMap((seat, n): NodeSupply[] => {
    if (seat.holder !== name) return [];
    const running: RunningPod[] = seat.idle ? [] : [{ ...asRunning(pod(`r${n}`, { gpu: 8 })), priority: seat.priority, ageS: seat.ageS }];
    return [
      node(`m${n}`, BOX, {
        pool: "p",
        machine: `m${n}`,
        labels: { "kubernetes.io/hostname": `m${n}`, [RACK]: seat.rack },
        ageS: seat.ageS,
        pods: running,
        used: running.length > 0 ? needs({ gpu: 8 }).requests : new Map(),
        ...(seat.idle ? { emptyForS: seat.ageS } : {}),
      }),
    ];
  });
  const pods = list.flatMap((wish, k): PendingPod[] =>
    Array.from({ length: wish.count }, (_, n) => ({
      ...pod(`${name}${k}-${n}`, { gpu: wish.gpu }),
      priority: wish.priority,
      ...(wish.gang ? { gang: `${name}${k}` } : {}),
      ...(wish.maxRuntimeS === undefined ? {} : { maxRuntimeS: wish.maxRuntimeS }),
    })),
  );
  const gangs = list.flatMap((wish, k): Gang[] => {
    if (!wish.gang) return [];
    const topology = { ...(wish.gang.required ? { required: RACK } : {}), ...(wish.gang.preferred ? { preferred: RACK } : {}) };
    const min = Math.min(wish.gang.min, wish.count);
    return [{ name: `${name}${k}`, min, size: wish.count, ...(wish.gang.required || wish.gang.preferred ? { topology } : {}) }];
  });
  return tenant(name, { nodes, pods, gangs, ...(quota === undefined ? {} : { quota }) });
}

function asRunning({ key, labels, priority, needs: wants }: PendingPod): RunningPod {
  return { key, labels, priority, needs: wants };
}

/** Two tenants, what they have and want, on up to nine machines. */
export const worlds = fc
  .record({ seats, a: wishes, b: wishes, qa: quotas, qb: quotas, minRuntimeS: fc.constantFrom(0, 1_000), window: fc.boolean() })
  .map(
    ({ seats: list, a, b, qa, qb, minRuntimeS, window }): World => ({
      machines: list.map(({ rack, holder }, n) =>
        machine(`m${n}`, BOX, {
          nodeLabels: { "kubernetes.io/hostname": `m${n}`, [RACK]: rack },
          ...(holder === undefined ? {} : { unavailable: "in use" }),
        }),
      ),
      tenants: [tenantOf("a", qa, a, list), tenantOf("b", qb, b, list)],
      policy: { minRuntimeS, turnaroundS: 600 },
      ...(window
        ? { windows: [{ name: "w", tenant: "acme.b", selector: { [RACK]: "r1" }, count: 1, startsInS: 3_600, endsInS: 9_000 }] }
        : {}),
    }),
  );

/** The world once a plan is carried out: what was given away is gone, and its pods wait; what was evicted waits. */
export function onceDone(before: World, planned: Plan): World {
  const actions = planned.actions ?? [];
  const done = carriedOut(before, planned);
  const gone = new Set(actions.filter((one) => one.verb === "drain" || one.verb === "release").map((one) => `${one.from}/${one.node}`));
  const pods = new Set(actions.flatMap((one) => one.pods.map((key) => `${one.from}/${key}`)));
  const placed = new Map(planned.placements.flatMap((one) => one.pods.map((key) => [`${one.tenant}/${key}`, one.node] as const)));
  const released = new Set(actions.filter((one) => one.verb === "release").map((one) => one.machine));
  return {
    ...before,
    ...done,
    machines: done.machines.map(({ unavailable, ...one }) =>
      unavailable === undefined || released.has(one.name) ? one : { ...one, unavailable },
    ),
    tenants: done.tenants.map((one) => {
      const waiting = one.nodes.flatMap((each) => (each.pods ?? []).filter((each1) => pods.has(`${one.tenant}/${each1.key}`)));
      const nodes = one.nodes
        .filter(
          (each) =>
            !gone.has(`${one.tenant}/${each.name}`) ||
            planned.claims.some((claim) => claim.tenant === one.tenant && claim.machine === each.name),
        )
        .map((each) => {
          const staying = (each.pods ?? []).filter((each1) => !pods.has(`${one.tenant}/${each1.key}`));
          const coming = one.pods.filter((each1) => placed.get(`${one.tenant}/${each1.key}`) === each.name);
          const all = [
            ...staying,
            ...coming.map((each1) => ({
              ...asRunning(each1),
              ageS: 0,
              ...(each1.gang === undefined ? {} : { gang: each1.gang }),
              ...(each1.maxRuntimeS === undefined ? {} : { endsInS: each1.maxRuntimeS }),
            })),
          ];
          const used = new Map<string, bigint>();
          for (const each1 of all) for (const [key, amount] of each1.needs.requests) used.set(key, (used.get(key) ?? 0n) + amount);
          return { ...each, pods: all, used, ageS: each.ageS ?? 0, machine: each.machine ?? each.name };
        });
      const left = one.pods.filter((each) => !placed.has(`${one.tenant}/${each.key}`));
      return { ...one, nodes, pods: [...left, ...waiting.map((each) => ({ ...each, since: "2027", priority: each.priority }))] };
    }),
  };
}
