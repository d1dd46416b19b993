import type { Mentioned } from "./fleet.ts";
import { LEVELS } from "./gang-domains.ts";
import { OWN_NAME } from "./terms.ts";
import type { PodNeeds, World } from "./world.ts";

/** The labels of machines and nodes that anything in a world asks for: two machines that differ in no other are alike. */
export function mentionedIn(world: World): Mentioned {
  const labels = new Set<string>();
  let disksByName = false;
  const seen = new Set<PodNeeds>();
  const needs = (one: PodNeeds) => {
    if (seen.has(one)) return;
    seen.add(one);
    const lists = [...one.terms, ...(one.volumes ?? []).flat(), ...(one.preferred ?? []).map((each) => each.term)];
    for (const list of lists) for (const { key } of list) labels.add(key);
    const topology = [one.spread, one.affinity, one.antiAffinity, one.preferredAffinity, one.preferredAntiAffinity];
    for (const list of topology) for (const { key } of list ?? []) labels.add(key);
  };
  for (const tenant of world.tenants) {
    for (const pod of tenant.pods) needs(pod.needs);
    for (const daemon of tenant.daemons) needs(daemon.needs);
    for (const node of tenant.nodes) for (const pod of node.pods ?? []) needs(pod.needs);
    for (const gang of tenant.gangs ?? []) {
      if (gang.topology) for (const level of LEVELS) labels.add(level);
      for (const level of [gang.topology?.required, gang.topology?.preferred, gang.topology?.slice?.level]) if (level) labels.add(level);
    }
    for (const { requirements, machineClass } of tenant.pools) {
      for (const { key } of requirements) labels.add(key);
      for (const key in machineClass.selector) labels.add(key);
      disksByName ||= [machineClass.rootDevice?.serial, machineClass.rootDevice?.wwn, machineClass.rootDevice?.name].some(Boolean);
    }
  }
  const names = new Set<string>();
  for (const { selector } of [...(world.windows ?? []), ...(world.floors ?? [])]) {
    for (const [key, value] of Object.entries(selector)) {
      labels.add(key);
      if (OWN_NAME.has(key)) names.add(value);
    }
  }
  return { labels, names, disksByName };
}
