import type { Requirements } from "../../core/requirements.ts";
import type { PodKind } from "./kinds.ts";
import { NO_RULES, type SpreadRule, type TermRule } from "./topology.ts";
import type { Policy } from "./world.ts";

/** What pods of a kind insist on at one try; later stages insist on less. */
export interface Stage {
  /** Whether a machine may be claimed for it. */
  readonly opens: boolean;
  readonly affinity: readonly TermRule[];
  readonly anti: readonly TermRule[];
  readonly spread: readonly SpreadRule[];
  /** The preferred node term that is treated as hard. */
  readonly prefers?: Requirements;
  /** Whether taints that only steer away keep it out. */
  readonly avoids: boolean;
  /** Spread over hosts counts from the emptiest there is, because no further host can be had. */
  readonly hostsAreAll: boolean;
}

const PLAIN: readonly Stage[] = [{ opens: true, affinity: [], anti: [], spread: [], avoids: false, hostsAreAll: false }];

/**
 * All that a pod wishes at first; then one wish less at a time, as Karpenter relaxes them: preferred pod affinity,
 * preferred pod anti-affinity, preferred node affinity (each the heaviest first), soft spread, taints that steer away.
 * `rank` tries all of that on places there are, and claims a machine only when no wish is left to give up.
 */
export function stagesOf(kind: PodKind, preferences: NonNullable<Policy["preferences"]>, steering: boolean): readonly Stage[] {
  const { rules, needs } = kind;
  if (rules === NO_RULES && needs.preferred.length === 0 && !steering) return PLAIN;
  const wishes = preferences !== "ignore";
  const affinity = wishes ? rules.softAffinity : [];
  const anti = wishes ? rules.softAnti : [];
  const preferred = wishes ? needs.preferred : [];
  const spread = wishes ? rules.softSpread : [];
  const steps = affinity.length + anti.length + preferred.length + spread.length + (steering ? 1 : 0);
  const dropped = (step: number, before: number, length: number) => Math.min(length, Math.max(0, step - before));
  const stages: Stage[] = [];
  for (let step = 0; step <= steps; step += 1) {
    let before = 0;
    const rest = <T>(list: readonly T[]): readonly T[] => {
      const left = list.slice(dropped(step, before, list.length));
      before += list.length;
      return left;
    };
    const soft = { affinity: rest(affinity), anti: rest(anti), preferred: rest(preferred), spread: rest(spread) };
    const prefers = soft.preferred[0]?.term;
    stages.push({
      opens: preferences !== "rank" || step === steps,
      affinity: [...rules.affinity, ...soft.affinity],
      anti: [...rules.anti, ...soft.anti],
      spread: [...rules.spread, ...soft.spread],
      ...(prefers ? { prefers } : {}),
      avoids: steering && step < steps,
      hostsAreAll: false,
    });
  }
  const last = stages[stages.length - 1];
  if (last?.spread.some((rule) => rule.counter.level < 0)) stages.push({ ...last, hostsAreAll: true });
  return stages;
}
