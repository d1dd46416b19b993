import type { Resources } from "../../core/quantity.ts";
import { contradiction, type Requirements, requirementsOf } from "../../core/requirements.ts";
import { OWN_NAME } from "./terms.ts";
import type { PodNeeds } from "./world.ts";

/** A pod's needs made ready, once for all pods of all tenants that need the same. */
export interface Needs {
  /** Counts up from 0 within a plan. */
  readonly id: number;
  /** The same for needs that differ only in what they want of their neighbours and would rather have. */
  readonly place: number;
  readonly source: PodNeeds;
  /** Node selector and affinity: one of them must hold. Those that contradict themselves are left out. */
  readonly terms: readonly Requirements[];
  /** Of each volume one must hold. */
  readonly volumes: readonly (readonly Requirements[])[];
  /** The heaviest first. */
  readonly preferred: readonly { readonly weight: number; readonly term: Requirements }[];
  /** Why no node could ever do. */
  readonly problem?: string;
  /** What it wants of resources only some machines have. */
  readonly accelerators: number;
  /** Some term names a node: places that are equal otherwise are not equal for it. */
  readonly byName: boolean;
}

const PLAIN: ReadonlySet<string> = new Set(["cpu", "memory", "ephemeral-storage", "pods"]);

/** Whether nodes have a resource only because of special hardware. */
export function isAccelerator(name: string): boolean {
  return !PLAIN.has(name) && name.includes("/");
}

export function acceleratorsIn(resources: Resources): number {
  let sum = 0;
  for (const [name, amount] of resources) if (amount > 0n && isAccelerator(name)) sum += Number(amount) / 1e9;
  return sum;
}

/** Numbers needs by what they say. Equal objects are told apart at once, equal contents by their text. */
export class NeedsTable {
  readonly all: Needs[] = [];
  private readonly byObject = new Map<PodNeeds, Needs>();
  private readonly byText = new Map<string, Needs>();
  private readonly places = new Map<string, number>();

  of(source: PodNeeds): Needs {
    const known = this.byObject.get(source);
    if (known) return known;
    const place = placeText(source);
    const text = `${place}${wishText(source)}`;
    let needs = this.byText.get(text);
    if (!needs) {
      const number = this.places.get(place) ?? this.places.size;
      this.places.set(place, number);
      needs = ready(source, this.all.length, number);
      this.all.push(needs);
      this.byText.set(text, needs);
    }
    this.byObject.set(source, needs);
    return needs;
  }
}

function placeText({ requests, terms, tolerations, hostPorts, volumes, unsupported }: PodNeeds): string {
  const amounts = [...requests].map(([name, amount]) => `${name}=${amount}`).sort();
  return JSON.stringify([amounts, terms, tolerations, hostPorts, volumes, unsupported]);
}

function wishText(needs: PodNeeds): string {
  const { preferred, spread, affinity, antiAffinity, preferredAffinity, preferredAntiAffinity } = needs;
  if (!(preferred ?? spread ?? affinity ?? antiAffinity ?? preferredAffinity ?? preferredAntiAffinity)) return "";
  return JSON.stringify([preferred, spread, affinity, antiAffinity, preferredAffinity, preferredAntiAffinity]);
}

function ready(source: PodNeeds, id: number, place: number): Needs {
  const all = source.terms.map((term) => requirementsOf(term));
  const terms = all.filter((term) => contradiction(term) === undefined);
  const volumes = (source.volumes ?? []).map((alternatives) => alternatives.map((term) => requirementsOf(term)));
  const preferred = (source.preferred ?? []).map(({ weight, term }) => ({ weight, term: requirementsOf(term) }));
  const problem = source.unsupported ?? (terms.length > 0 ? undefined : contradictionText(all));
  const named = (term: Requirements) => [...term.keys()].some((key) => OWN_NAME.has(key));
  return {
    id,
    place,
    source,
    terms,
    volumes,
    preferred: preferred.sort((a, b) => b.weight - a.weight),
    ...(problem === undefined ? {} : { problem }),
    accelerators: acceleratorsIn(source.requests),
    byName: terms.some(named) || volumes.flat().some(named) || preferred.some(({ term }) => named(term)),
  };
}

function contradictionText(terms: readonly Requirements[]): string {
  const keys = terms.map((term) => contradiction(term)).filter((key) => key !== undefined);
  return keys.length > 0
    ? `its node selector and affinity contradict each other on ${[...new Set(keys)].join(", ")}`
    : "its node affinity matches no node";
}
