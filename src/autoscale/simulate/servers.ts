import { LABEL_HOSTNAME, LABEL_INSTANCE_TYPE } from "../../core/names.ts";
import type { MachineSupply, Window } from "../plan/index.ts";
import type { Host, Type } from "./form.ts";
import { labelOf } from "./labels.ts";
import { offerOf } from "./needs.ts";
import type { Given, Node, Problem } from "./read.ts";

/** A server of a scenario beside the entry it comes from. */
export interface Server {
  readonly machine: MachineSupply;
  readonly entry: string;
  readonly type: string;
  readonly state: string;
  /** The tenant it is kept for. */
  readonly keptFor?: string;
}

const PLACES = ["zone", "region", "block", "rack", "leaf", "nvl"] as const;
type Placed = Partial<Record<(typeof PLACES)[number] | "site", string | undefined>>;

/** The labels of a place, and the place of labels. */
export function placeLabels(at: Placed): Record<string, string> {
  const named = PLACES.map((level) => [labelOf(level), level === "zone" ? (at.zone ?? at.site) : at[level]] as const);
  return Object.fromEntries(named.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

export function placeOf(labels: Readonly<Record<string, string>>): Record<string, string> {
  const named = PLACES.map((level) => [level, labels[labelOf(level)]] as const);
  return Object.fromEntries(named.filter((entry): entry is [(typeof PLACES)[number], string] => entry[1] !== undefined));
}

/** What every server of a type says of itself as a node. */
export function typeLabels(name: string, type: Type): Record<string, string> {
  return {
    "kubernetes.io/arch": "amd64",
    "kubernetes.io/os": "linux",
    "karpenter.sh/capacity-type": "on-demand",
    ...type.labels,
    [LABEL_INSTANCE_TYPE]: name,
  };
}

function machineOf(
  name: string,
  typeName: string,
  type: Type,
  labels: Readonly<Record<string, string>>,
  rest: Partial<MachineSupply>,
): MachineSupply {
  const offer = offerOf(type);
  return {
    name,
    labels: { [LABEL_INSTANCE_TYPE]: typeName },
    nodeLabels: { ...typeLabels(typeName, type), ...labels, [LABEL_HOSTNAME]: name },
    capacity: offer,
    allocatable: offer,
    gpus: [],
    disks: [{ name: "nvme0n1", serial: name, model: "disk", sizeBytes: 2 ** 40 }],
    ...rest,
  };
}

const FREE: ReadonlySet<string> = new Set(["free", "available", "dirty"]);
/** Who wrote to a dirty server, where nobody says. */
const SOMEBODY = "somebody else";
/** States that end by themselves, some day. */
const PASSING: ReadonlySet<string> = new Set(["wiping", "releasing", "leaving", "draining", "reclaiming", "inspecting", "installing"]);

/** The servers nobody has. Entries without an id are named by type and place; `n` of one entry are `ID-0`, `ID-1` … */
export function serversOf(given: Given): Server[] {
  const taken = new Set(given.nodes.map((node) => node.name));
  return (given.hosts ?? []).flatMap((host) => {
    const type = given.types.get(host.type);
    if (!type) return [];
    const own = host.id ?? host.name;
    const entry = own ?? [host.type, ...Object.values(placeOf(placeLabels(host)))].join("-");
    return Array.from({ length: host.n }, (_, nth) => {
      const name = own !== undefined && host.n === 1 && !taken.has(own) ? own : unused(entry, nth, taken);
      taken.add(name);
      return serverOf(name, entry, host, type);
    });
  });
}

function unused(entry: string, from: number, taken: ReadonlySet<string>): string {
  for (let nth = from; ; nth += 1) if (!taken.has(`${entry}-${nth}`)) return `${entry}-${nth}`;
}

function serverOf(name: string, entry: string, host: Host, type: Type): Server {
  const state = host.state ?? host.phase ?? "free";
  const passes = PASSING.has(state) && host.readyInS !== undefined;
  const soon = passes || (FREE.has(state) && host.readyInS !== undefined && host.readyInS > 0);
  const unavailable = FREE.has(state) || passes ? undefined : PASSING.has(state) ? `being ${state}` : state;
  const failed = host.fails !== undefined || host.lastFailS !== undefined;
  const cost = host.cost ?? type.cost;
  return {
    entry,
    type: host.type,
    state: state === "available" ? "free" : state,
    ...(host.tenant === undefined ? {} : { keptFor: host.tenant }),
    machine: machineOf(
      name,
      host.type,
      type,
      { ...placeLabels(host), ...host.labels },
      {
        cost,
        ...(unavailable === undefined ? {} : { unavailable: unavailable === "inuse" ? "in use" : unavailable }),
        ...(soon && host.readyInS !== undefined ? { readyInS: host.readyInS } : {}),
        ...lastTenantOf(host, state),
        ...(host.image === undefined ? {} : { imageSha256: host.image }),
        ...(failed ? { failures: { count: host.fails ?? 1, sinceS: host.lastFailS ?? 0 } } : {}),
      },
    ),
  };
}

function lastTenantOf({ lastTenant, wiped }: Host, state: string): Pick<MachineSupply, "lastTenant"> {
  if (state === "dirty") return { lastTenant: lastTenant ?? SOMEBODY };
  return lastTenant === undefined || wiped === true ? {} : { lastTenant };
}

/** The server a node is made of: in use, and there again when the node is gone. */
export function serverUnder(node: Node, type: Type): Server {
  return {
    entry: node.entry,
    type: node.type,
    state: "in use",
    machine: machineOf(
      node.name,
      node.type,
      type,
      { ...placeLabels(node), ...node.labels },
      {
        unavailable: "in use",
        cost: node.cost ?? type.cost,
        ...(node.image === undefined ? {} : { imageSha256: node.image }),
      },
    ),
  };
}

/** Without hosts there are servers of every type without end, in every zone the scenario knows. */
export function catalogOf(given: Given): Server[] {
  if (given.hosts !== undefined) return [];
  const zones = zonesOf(given);
  return [...given.types].flatMap(([name, type]) => {
    const own = type.zones ?? (type.labels[labelOf("zone")] === undefined ? zones : []);
    const at: (string | undefined)[] = own.length > 0 ? [...own] : [undefined];
    return at.map((zone): Server => {
      const entry = zone === undefined ? name : `${name}-${zone}`;
      return { entry, type: name, state: "free", machine: machineOf(entry, name, type, placeLabels({ zone }), { cost: type.cost }) };
    });
  });
}

/** Zones of pools and nodes; where these name none, those pods ask for: an endless catalog has them. */
function zonesOf(given: Given): string[] {
  const zone = labelOf("zone");
  const asked = (list: readonly { readonly key: string; readonly operator: string; readonly values?: readonly string[] }[]) =>
    list.flatMap((one) => (one.key === zone && one.operator === "In" ? (one.values ?? []) : []));
  const known = [
    ...given.pools.flatMap((pool) => [...asked(pool.req), ...(pool.labels[zone] === undefined ? [] : [pool.labels[zone]])]),
    ...given.nodes.flatMap((node) => Object.values(placeLabels({ zone: node.zone ?? node.site }))),
  ];
  if (known.length > 0) return [...new Set(known)].sort();
  const pods = [...given.pods, ...given.gangs.map((gang) => gang.pod)];
  const wanted = pods.flatMap((pod) => [...(pod.req ?? []).flatMap(asked), ...(pod.sel?.[zone] === undefined ? [] : [pod.sel[zone]])]);
  return [...new Set(wanted)].sort();
}

/** Windows, and servers that are kept for one tenant for good. A server nobody knows refuses that part of a window. */
export function windowsOf(given: Given, servers: readonly Server[], refused: Problem[]): Window[] {
  const windows = given.windows.flatMap((one, nth): Window[] => {
    const { path, tenant, type, hosts, startsInS, endsInS } = one;
    if (endsInS <= 0) return [];
    const name = one.name ?? `window ${nth + 1}`;
    const selector = type === undefined ? {} : { [LABEL_INSTANCE_TYPE]: type };
    if (typeof hosts === "number") return [{ name, tenant, selector, count: hosts, startsInS, endsInS }];
    return hosts.flatMap((host) => {
      const named = servers.filter(({ machine, entry }) => machine.name === host || entry === host);
      if (named.length === 0) refused.push({ path: `${path}.hosts`, reason: `there is no server ${host}` });
      return named.map(({ machine }) => ({ name, tenant, selector: only(machine), count: 1, startsInS, endsInS }));
    });
  });
  const kept = servers.flatMap(({ machine, keptFor }): Window[] => {
    if (keptFor === undefined) return [];
    const name = `${machine.name} is kept for ${keptFor}`;
    return [{ name, tenant: keptFor, selector: only(machine), count: 1, startsInS: 0, endsInS: Number.POSITIVE_INFINITY }];
  });
  return [...windows, ...kept];
}

function only({ name }: MachineSupply): Record<string, string> {
  return { [LABEL_HOSTNAME]: name };
}
