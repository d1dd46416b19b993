import { reasonOf } from "../../core/errors.ts";
import type { World } from "../plan/index.ts";
import { carriedOut } from "./aftermath.ts";
import { decide, outcomeOf } from "./decide.ts";
import { isOpen, judge, type Verdict } from "./judge.ts";
import type { Outcome } from "./outcome.ts";
import type { Names } from "./prose.ts";
import { type Case, type Given, type Problem, type Raw, readGiven } from "./read.ts";
import { retold, shuffled } from "./shuffle.ts";
import { variantsOf } from "./variants.ts";
import { type Setting, settingOf } from "./world.ts";

/** What became of a case. */
export interface Judged {
  readonly id: string;
  readonly title: string;
  readonly verdicts: readonly Verdict[];
  /** Things of it that were left out, and keys nobody knows. */
  readonly refused: readonly Problem[];
  readonly ignored: readonly Problem[];
}

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly unjudged: number;
}

export function tally(results: readonly Judged[]): Tally {
  const count = (verdict: Verdict["verdict"]) => results.flatMap((one) => one.verdicts).filter((one) => one.verdict === verdict).length;
  return { passed: count("passed"), failed: count("failed"), unjudged: count("unjudged") };
}

/** A case runs this often, told in another order each time: the answer must not change. */
const RUNS = 20;
/** Plans that follow one another at most until nothing changes. */
const MOST_PASSES = 10;

/** One scenario, decided. */
export interface Simulation {
  readonly given: Given;
  readonly setting: Setting;
  /** As it was decided on: another case's, after what was decided there, where this one replays it. */
  readonly world: World;
  readonly outcome: Outcome;
  readonly refused: readonly Problem[];
}

/**
 * Decides on what a case gives.
 * @param seed with one, the scenario and then the world read from it are told in another order
 */
export function simulate(raw: Raw, cases: readonly Case[] = [], seed?: number): Simulation {
  if (typeof raw.replay === "string") return simulateAfter(raw, raw.replay, cases, seed);
  const given = readGiven(seed === undefined ? raw : retold(raw, seed));
  const setting = settingOf(given);
  const world = seed === undefined ? setting.world : shuffled(setting.world, seed);
  const outcome = outcomeOf(setting, decide(world, given.disrupt), world);
  return { given, setting, world, outcome, refused: [...given.refused, ...setting.refused] };
}

/** `J02 after its actions completed`: what is decided once that case's decision has been carried out. */
function simulateAfter(raw: Raw, text: string, cases: readonly Case[], seed: number | undefined): Simulation {
  const [id = ""] = text.trim().split(/[\s,:;']/);
  const other = cases.find((one) => one.id === id && one.given !== raw);
  if (!other) throw new RangeError(`given.replay: there is no case ${id}`);
  const before = simulate(
    other.given,
    cases.filter((one) => one !== other),
    seed,
  );
  const given = { ...before.given, disrupt: raw.disrupt === undefined ? before.given.disrupt : raw.disrupt === true };
  const world = carriedOut(before.world, decide(before.world, before.given.disrupt));
  const outcome = outcomeOf(before.setting, decide(world, given.disrupt), world);
  return { given, setting: before.setting, world, outcome, refused: before.refused };
}

/** Runs the cases and judges what they expect. */
export function replay(
  cases: readonly Case[],
  which: (one: Case) => boolean = () => true,
  runs = RUNS,
  answer: typeof simulate = simulate,
): Judged[] {
  return cases.filter(which).map((one) => replayCase(one, (given, seed) => answer(given, cases, seed), runs));
}

function replayCase(one: Case, answer: (given: Raw, seed?: number) => Simulation, runs: number): Judged {
  const { id, title } = one;
  try {
    const run = answer(one.given);
    const verdicts = [
      ...judgeRun(run, one.expect),
      ...(isOpen(one.expect) ? [] : steadiness(run.outcome, (seed) => answer(one.given, seed).outcome, runs)),
    ];
    const variants = variantsOf(one.given, one.expect).flatMap((variant) => {
      if (variant.unknown.length > 0)
        return [{ key: variant.name, verdict: "unjudged" as const, detail: `what ${variant.unknown.join(", ")} changes is not known` }];
      const inner = replayCase({ id, title, given: variant.given, expect: variant.expect, ignored: [] }, answer, runs);
      return inner.verdicts.map((verdict) => ({ ...verdict, key: `${variant.name}: ${verdict.key}` }));
    });
    return { id, title, verdicts: [...verdicts, ...variants], refused: run.refused, ignored: [...one.ignored, ...run.given.ignored] };
  } catch (error) {
    return { id, title, verdicts: [{ key: "run", verdict: "failed", detail: reasonOf(error) }], refused: [], ignored: [] };
  }
}

function judgeRun(run: Simulation, expect: Raw): Verdict[] {
  return judge(expect, run.outcome, {
    refused: run.refused,
    names: namesOf(run),
    passes: () => passesOf(run.world),
    initialised: () => {
      const world = initialised(run.world);
      return outcomeOf(run.setting, decide(world, run.given.disrupt), world);
    },
  });
}

function steadiness(outcome: Outcome, told: (seed: number) => Outcome, runs: number): Verdict[] {
  const first = JSON.stringify(outcome);
  for (let seed = 1; seed < runs; seed += 1) {
    const other = JSON.stringify(told(seed));
    if (other === first) continue;
    return [
      {
        key: "same answer whatever the order",
        verdict: "failed",
        detail: `shuffled with seed ${seed} the answer is another: ${difference(first, other)}`,
      },
    ];
  }
  return [];
}

function difference(a: string, b: string): string {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  return `…${a.slice(Math.max(0, at - 40), at + 60)}… became …${b.slice(Math.max(0, at - 40), at + 60)}…`;
}

function passesOf(world: World): number {
  let now = world;
  for (let pass = 1; pass < MOST_PASSES; pass += 1) {
    now = carriedOut(now, decide(now, false));
    const { plan } = decide(now, false);
    if (plan.claims.length === 0 && (plan.actions ?? []).length === 0) return pass;
  }
  return MOST_PASSES;
}

function initialised(world: World): World {
  return {
    ...world,
    tenants: world.tenants.map((tenant) => ({ ...tenant, nodes: tenant.nodes.map((node) => ({ ...node, initialized: true })) })),
  };
}

function namesOf({ given, setting, world }: Simulation): Names {
  const pods = [...setting.pods.values()].flatMap((pod) => [pod.pod, pod.id, ...(pod.gang === undefined ? [] : [pod.gang])]);
  const nodes = world.tenants.flatMap((tenant) => tenant.nodes.map((node) => node.name));
  return {
    hosts: new Map([...setting.servers].map(([name, { type, state }]) => [name, { type, state }])),
    types: new Set(given.types.keys()),
    pools: new Set(given.pools.map((pool) => pool.name)),
    pods: new Set(pods),
    nodes: new Set(nodes),
    gangs: new Map(given.gangs.map((gang) => [gang.id, { min: gang.min }])),
  };
}
