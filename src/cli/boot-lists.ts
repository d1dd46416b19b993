import { stringify } from "yaml";
import type { LeasesAnswer, RefusalsAnswer } from "../api/index.ts";
import type { LeaseView } from "../boot/index.ts";
import { ask } from "./daemon.ts";
import type { GlobalOptions } from "./options.ts";
import { age, span, table } from "./print.ts";

/** What `get` lists of the daemon itself, besides the objects of the host control plane. */
export const bootLists = ["leases", "refusals"] as const;
export type BootList = (typeof bootLists)[number];

export async function renderedList(global: GlobalOptions, list: BootList, form: string | undefined): Promise<string> {
  const answer = list === "leases" ? await allLeases(global) : await ask<RefusalsAnswer>(global, "/v1/boot/refusals");
  if (form === "json") return JSON.stringify(answer, null, 2);
  if (form === "yaml") return stringify(answer).trimEnd();
  if (form !== undefined && form !== "wide") throw new Error(`-o ${form}: there are wide, json and yaml`);
  return list === "leases"
    ? leaseTable(answer as LeasesAnswer, new Date(), form === "wide")
    : refusalTable(answer as RefusalsAnswer, new Date(), form === "wide");
}

async function allLeases(global: GlobalOptions): Promise<LeasesAnswer> {
  const items: LeaseView[] = [];
  for (let from: number | undefined = 0; from !== undefined; ) {
    const part: LeasesAnswer = await ask(global, `/v1/leases?from=${from}`);
    items.push(...part.items);
    from = part.next;
  }
  return { items };
}

export function leaseTable({ items }: LeasesAnswer, now: Date, wide: boolean): string {
  if (items.length === 0) return "There are no leases.";
  const rows = [...items]
    .sort((a, b) => a.interface.localeCompare(b.interface) || numbered(a.address) - numbered(b.address))
    .map((lease) => {
      const left = (Date.parse(lease.expires) - now.getTime()) / 1000;
      const until = left > 0 ? `in ${span(left)}` : `${span(-left)} ago`;
      const common = [lease.address, lease.mac, lease.machine ?? "-", lease.state, until];
      return wide ? [...common, lease.interface, lease.client] : common;
    });
  const head = ["ADDRESS", "MAC", "MACHINE", "STATE", "EXPIRES"];
  return table(wide ? [...head, "INTERFACE", "CLIENT"] : head, rows);
}

export function refusalTable({ items }: RefusalsAnswer, now: Date, wide: boolean): string {
  if (items.length === 0) return "Nothing was refused.";
  const rows = [...items]
    .sort((a, b) => b.count - a.count)
    .map(({ reason, count, lastAt, last }) => [reason, String(count), age(lastAt, now), ...(wide ? [factsText(last)] : [])]);
  return table(wide ? ["REASON", "COUNT", "LAST", "THE LAST ONE"] : ["REASON", "COUNT", "LAST"], rows);
}

function factsText(facts: Readonly<Record<string, unknown>>): string {
  return Object.entries(facts)
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}

function numbered(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}
