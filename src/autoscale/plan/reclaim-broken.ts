import type { Action } from "./answer.ts";
import { type Candidate, tenantOf } from "./reclaim-candidates.ts";
import type { Victim } from "./reclaim-victims.ts";
import type { Turn } from "./turn.ts";
import type { NodeSupply, RunningPod } from "./world.ts";

/** What is taken already: more actions are added. */
export interface Taken {
  readonly actions: Action[];
  readonly lost: ReadonlyMap<string, string>;
}

/** Where members of a tenant's gangs run, by gang. */
export type Members = ReadonlyMap<string, readonly { readonly node: NodeSupply; readonly here: readonly RunningPod[] }[]>;

export function membersOf(turn: Turn): Members {
  const members = new Map<string, { node: NodeSupply; here: RunningPod[] }[]>();
  for (const { node } of turn.cluster.demand.nodes) {
    for (const pod of node.pods ?? []) {
      if (pod.gang === undefined) continue;
      const list = members.get(pod.gang) ?? [];
      const last = list.at(-1);
      if (last?.node === node) last.here.push(pod);
      else list.push({ node, here: [pod] });
      members.set(pod.gang, list);
    }
  }
  return members;
}

/** What a node costs besides its own pods: gangs that are below their minimum without those of their members that are there. */
export function brokenWithout(
  { cluster }: Turn,
  node: NodeSupply,
  members: Members,
): { readonly breaks: NonNullable<Victim["breaks"]>; readonly priority: number } | undefined {
  const { world } = cluster.demand;
  const names = new Set((node.pods ?? []).flatMap((pod) => pod.gang ?? []));
  const broken = [...names].sort().flatMap((name) => {
    const min = world.gangs?.find((one) => one.name === name)?.min;
    const others = (members.get(name) ?? []).filter((one) => one.node !== node);
    const staying = others.reduce((sum, one) => sum + one.here.length, 0);
    return staying === 0 || staying >= (min ?? staying + 1) ? [] : [{ name, others }];
  });
  if (broken.length === 0) return undefined;
  const others = broken.flatMap((one) => one.others);
  return {
    breaks: {
      gangs: `${world.tenant}/${broken.map((one) => one.name).join()}`,
      ageS: others.reduce((least, one) => Math.min(least, one.node.ageS ?? 0), node.ageS ?? 0),
    },
    priority: others.flatMap((one) => one.here).reduce((most, pod) => Math.max(most, pod.priority), Number.NEGATIVE_INFINITY),
  };
}

/** A gang that lost members below its minimum is given back whole: the others cannot go on. */
export function breakGangs({ turn, supply }: Candidate, pods: readonly RunningPod[], { actions, lost }: Taken): void {
  for (const name of new Set(pods.flatMap((pod) => pod.gang ?? []))) {
    const gang = turn.cluster.demand.world.gangs?.find((one) => one.name === name);
    const members = turn.cluster.demand.nodes.flatMap((ready) => {
      const here = lost.has(`${tenantOf(turn)}/${ready.node.name}`) ? [] : (ready.node.pods ?? []).filter((pod) => pod.gang === name);
      return ready.node === supply || here.length === 0 ? [] : [{ node: ready.node, here }];
    });
    const staying = members.reduce((sum, one) => sum + one.here.length, 0);
    if (staying >= (gang?.min ?? staying + 1)) continue;
    for (const one of members) {
      if (actions.some((action) => action.from === tenantOf(turn) && action.node === one.node.name)) continue;
      const keys = one.here.map((pod) => pod.key);
      actions.push({
        verb: "evict",
        node: one.node.name,
        from: tenantOf(turn),
        to: tenantOf(turn),
        pods: keys,
        reason: `gang ${name} lost members and cannot go on`,
      });
    }
  }
}

/** Members of a gang that is below its minimum and finds no replacement where it must be: their nodes are given back. */
export function giveBackBroken(turn: Turn, { actions, lost }: Taken): void {
  const names = new Set(turn.left.flatMap((one) => (one.from === 0 && one.kind.gang !== undefined ? [one.kind.gang] : [])));
  for (const name of names) {
    const gang = turn.cluster.demand.world.gangs?.find((one) => one.name === name);
    const nodes = turn.cluster.demand.nodes.map(({ node }) => ({ node, here: (node.pods ?? []).filter((pod) => pod.gang === name) }));
    const running = nodes.reduce((sum, one) => sum + one.here.length, 0);
    if (!gang || running === 0 || running >= gang.min) continue;
    for (const { node, here } of nodes) {
      if (here.length === 0 || lost.has(`${tenantOf(turn)}/${node.name}`)) continue;
      const alone = here.length === (node.pods ?? []).length && node.pool !== undefined;
      const common = { node: node.name, from: tenantOf(turn), pods: here.map((pod) => pod.key) };
      const reason = `gang ${name} lost members, and there is no replacement for them where they must be`;
      if (alone) actions.push({ verb: "release", ...common, ...(node.machine === undefined ? {} : { machine: node.machine }), reason });
      else actions.push({ verb: "evict", ...common, to: tenantOf(turn), reason });
    }
  }
}
