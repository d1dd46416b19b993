import { LABEL_HOSTNAME, LABEL_MACHINE } from "../../core/names.ts";
import type { Resources } from "../../core/quantity.ts";
import { FIELD_NAME } from "../../core/requirements.ts";
import { order } from "./order.ts";
import { OWN_NAME } from "./terms.ts";
import type { MachineSupply } from "./world.ts";

/** Machines that differ in nothing a plan looks at but their names. */
export interface Lot {
  readonly id: number;
  /** Any of them. */
  readonly like: MachineSupply;
  /** How many there are, free or not. */
  readonly size: number;
  /** Those that are free, the last name first: the next to be taken is at the end. */
  readonly free: MachineSupply[];
  /** There is always another. */
  readonly endless: boolean;
}

/** What of a machine matters to this plan. */
export interface Mentioned {
  /** Labels some pool, class, pod or window asks for. */
  readonly labels: ReadonlySet<string>;
  /** Machines that a window names: each is like no other. */
  readonly names: ReadonlySet<string>;
  /** Whether some class looks at what only one disk has. */
  readonly disksByName: boolean;
}

/** The inventory by lots: who is free, who was taken. The same for all tenants. */
export class Fleet {
  readonly lots: readonly Lot[];
  /** Changes whenever a machine is taken or given back. */
  version = 0;
  private readonly made = new Map<number, number>();
  private readonly known: ReadonlySet<string>;
  private readonly byName = new Map<string, { readonly lot: Lot; readonly machine: MachineSupply }>();

  /** @param known names that machines of the catalog may not get: nodes have them */
  constructor(
    machines: readonly MachineSupply[],
    catalog: readonly MachineSupply[],
    mentioned: Mentioned,
    known: ReadonlySet<string> = new Set(),
  ) {
    this.known = known;
    const lots = new Map<string, { like: MachineSupply; machines: MachineSupply[]; endless: boolean }>();
    const put = (machine: MachineSupply, endless: boolean) => {
      const text = endless ? `endless ${machine.name}` : lotText(machine, mentioned);
      const lot = lots.get(text);
      if (lot) lot.machines.push(machine);
      else lots.set(text, { like: machine, machines: [machine], endless });
    };
    for (const machine of machines) put(machine, false);
    for (const machine of catalog) put(machine, true);
    const sorted = [...lots.values()].map((lot) => {
      lot.machines.sort((a, b) => order(b.name, a.name));
      return { ...lot, like: lot.machines[lot.machines.length - 1] ?? lot.like };
    });
    sorted.sort((a, b) => order(a.like.name, b.like.name));
    this.lots = sorted.map(({ like, machines: all, endless }, id) => ({
      id,
      like,
      size: all.length,
      free: like.unavailable === undefined && !endless ? all : [],
      endless,
    }));
    for (const [id, { machines: all }] of sorted.entries())
      for (const machine of all) this.byName.set(machine.name, { lot: this.lots[id] as Lot, machine });
  }

  /** A machine of the inventory, free or not. */
  find(name: string): { readonly lot: Lot; readonly machine: MachineSupply } | undefined {
    return this.byName.get(name);
  }

  /** How many of a lot can be had, at most `most`. */
  available(lot: Lot, most: number): number {
    return lot.endless ? most : Math.min(lot.free.length, most);
  }

  /** The next machine of a lot: the one of the first name, or the first that will do. */
  take(lot: Lot, willDo?: (machine: MachineSupply) => boolean): MachineSupply | undefined {
    this.version += 1;
    if (lot.endless) {
      let number = (this.made.get(lot.id) ?? 0) + 1;
      while (this.known.has(`${lot.like.name}-${number}`)) number += 1;
      const machine = numbered(lot.like, number);
      if (willDo && !willDo(machine)) return undefined;
      this.made.set(lot.id, number);
      return machine;
    }
    if (!willDo) return lot.free.pop();
    for (let at = lot.free.length - 1; at >= 0; at -= 1) {
      const machine = lot.free[at];
      if (machine && willDo(machine)) return lot.free.splice(at, 1)[0];
    }
    return undefined;
  }

  /** How many of each endless lot were made so far, to be made again by {@link Fleet.remake}. */
  makes(): ReadonlyMap<number, number> {
    return new Map(this.made);
  }

  /** So many were made: what came after was given back. */
  remake(made: ReadonlyMap<number, number>): void {
    this.made.clear();
    for (const [lot, count] of made) this.made.set(lot, count);
  }

  giveBack(lot: Lot, machine: MachineSupply): void {
    this.version += 1;
    if (lot.endless) return;
    let at = lot.free.length;
    while (at > 0 && order((lot.free[at - 1] as MachineSupply).name, machine.name) < 0) at -= 1;
    lot.free.splice(at, 0, machine);
  }
}

/** One of as many as anybody wants. */
function numbered(like: MachineSupply, number: number): MachineSupply {
  const name = `${like.name}-${number}`;
  return { ...like, name, nodeLabels: { ...like.nodeLabels, [LABEL_HOSTNAME]: name, [LABEL_MACHINE]: name } };
}

/** No name or value holds it. */
const NEXT = "\n";

function lotText(machine: MachineSupply, { labels, names, disksByName }: Mentioned): string {
  let text = `${mentionedText(machine.labels, labels)}${NEXT}${mentionedText(machine.nodeLabels, labels)}${NEXT}${amountsText(machine.capacity)}`;
  if (names.size > 0)
    for (const key of OWN_NAME) if (names.has(machine.nodeLabels[key] ?? "")) text += `${NEXT}${key} ${machine.nodeLabels[key]}`;
  if (machine.allocatable !== machine.capacity) text += `${NEXT}${amountsText(machine.allocatable)}`;
  text += `${NEXT}gpus ${machine.gpus.join()}`;
  for (const { sizeBytes, model, name, serial, wwn } of machine.disks)
    text += disksByName ? JSON.stringify([sizeBytes, model, name, serial, wwn]) : `${NEXT}disk ${sizeBytes} ${model}`;
  const { unavailable, readyInS, lastTenant, imageSha256, failures, cost } = machine;
  if ((unavailable ?? readyInS ?? lastTenant ?? imageSha256 ?? failures ?? cost) === undefined) return text;
  const failed = failures && [failures.count, failures.sinceS];
  return `${text}${NEXT}${JSON.stringify([unavailable, readyInS, lastTenant, imageSha256, failed, cost])}`;
}

function mentionedText(all: Readonly<Record<string, string>>, mentioned: ReadonlySet<string>): string {
  const pairs: string[] = [];
  for (const key in all) if (mentioned.has(key) && !OWN_NAME.has(key) && key !== FIELD_NAME) pairs.push(`${key}=${all[key]}`);
  return pairs.length > 1 ? pairs.sort().join() : (pairs[0] ?? "");
}

const texts = new WeakMap<Resources, string>();

function amountsText(resources: Resources): string {
  let text = texts.get(resources);
  if (text === undefined) {
    text = [...resources]
      .map(([name, amount]) => `${name}=${amount}`)
      .sort()
      .join();
    texts.set(resources, text);
  }
  return text;
}
