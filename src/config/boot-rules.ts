import { ipv4Text, isOn, type Network, parseIpv4, parseNetwork, prefixLength } from "../wire/index.ts";

/** What is wrong, and where: `[0, "subnets", 1, "pool"]` is `boot.interfaces[0].subnets[1].pool`. */
export interface BootProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

interface Range {
  readonly from: string;
  readonly to: string;
}

interface Reservation {
  readonly mac?: string | undefined;
  readonly clientId?: string | undefined;
  readonly uuid?: string | undefined;
  readonly circuitId?: string | undefined;
  readonly remoteId?: string | undefined;
  readonly address?: string | undefined;
}

interface Served {
  readonly pool?: Range | readonly Range[] | undefined;
  readonly router?: string | undefined;
  readonly routes: readonly { readonly to: string; readonly via: string }[];
  readonly bmc?: { readonly pool: Range | readonly Range[] } | undefined;
  readonly reservations: readonly Reservation[];
}

interface Interface extends Served {
  readonly name: string;
  readonly address: string;
  readonly mode: string;
  readonly subnets: readonly (Served & { readonly network: string; readonly relays: readonly string[] })[];
}

type Path = readonly (string | number)[];

/** One network of the configuration, with its place in it. */
interface Place {
  readonly path: Path;
  /** Where its address or network is written. */
  readonly key: "address" | "network";
  readonly network: Network;
  readonly served: Served;
  readonly mode: string;
}

/**
 * What no single field shows: networks that overlap, addresses that are not theirs to give, one client named twice.
 * @param interfaces as the schema read them; a field that is wrong by itself is passed over here
 */
export function bootProblems(interfaces: readonly Interface[]): readonly BootProblem[] {
  const problems: BootProblem[] = [];
  const say = (path: Path, message: string) => void problems.push({ path, message });
  interfaces.forEach(({ name }, at) => {
    const first = interfaces.findIndex((one) => one.name === name);
    if (first < at) say([at, "name"], `${name} is configured already, as interfaces[${first}]`);
  });
  const places = interfaces.flatMap(placesOf);
  const own = new Set(interfaces.flatMap(({ address }) => parseNetwork(address)?.own ?? []));
  places.forEach((place, at) => {
    const { path, key, network, mode } = place;
    const where = [...path, key];
    const kind = key === "address" ? addressProblem(network) : networkProblem(network);
    if (kind) say(where, kind);
    if (mode === "off") return;
    const other = places.slice(0, at).find((one) => one.mode !== "off" && overlap(one.network, network));
    if (other) say(where, `overlaps ${textOf(other.network)} of ${pathText([...other.path, other.key])}`);
    servedProblems(place, own, say);
  });
  relayProblems(interfaces, say);
  return problems;
}

type Say = (path: Path, message: string) => void;

function placesOf(at: Interface, index: number): Place[] {
  const place = (path: Path, key: "address" | "network", text: string, served: Served): Place[] => {
    const network = parseNetwork(text);
    return network ? [{ path, key, network, served, mode: at.mode }] : [];
  };
  return [
    ...place([index], "address", at.address, at),
    ...at.subnets.flatMap((subnet, inner) => place([index, "subnets", inner], "network", subnet.network, subnet)),
  ];
}

function servedProblems(place: Place, own: ReadonlySet<number>, say: Say): void {
  const { path, served, network, mode } = place;
  const isProxy = mode === "proxy" || mode === "auto-proxy";
  const taken: { from: number; to: number; path: Path }[] = [];
  for (const [key, given] of [
    [["pool"], served.pool],
    [["bmc", "pool"], served.bmc?.pool],
  ] as const) {
    if (given === undefined) continue;
    if (isProxy) {
      say([...path, ...key], `mode ${mode} gives no addresses: the site's own DHCP server does; remove it`);
      continue;
    }
    const list = Array.isArray(given) ? (given as readonly Range[]) : [given as Range];
    list.forEach((range, at) => {
      const where = Array.isArray(given) ? [...path, ...key, at] : [...path, ...key];
      const [from, to] = [parseIpv4(range.from), parseIpv4(range.to)];
      if (from === undefined || to === undefined) return;
      const other = taken.find((one) => one.from <= to && from <= one.to);
      const wrong = rangeProblem(network, from, to, own) ?? (other && `overlaps ${pathText(other.path)}`);
      if (wrong) say(where, wrong);
      else taken.push({ from, to, path: where });
    });
  }
  if (!isProxy && served.pool === undefined && served.bmc === undefined && !served.reservations.some((one) => one.address !== undefined)) {
    say([...path, "pool"], "is missing: without it and without reserved addresses nobody gets one");
  }
  const router = parseIpv4(served.router ?? "");
  if (router !== undefined && !isOn(network, router)) say([...path, "router"], `lies outside ${textOf(network)}: no machine can reach it`);
  served.routes.forEach(({ via }, at) => {
    const hop = parseIpv4(via);
    if (hop !== undefined && !isOn(network, hop))
      say([...path, "routes", at, "via"], `lies outside ${textOf(network)}: no machine can reach it`);
  });
  reservationProblems(place, own, isProxy, say);
}

function rangeProblem(network: Network, from: number, to: number, own: ReadonlySet<number>): string | undefined {
  if (!isOn(network, from) || !isOn(network, to)) return `lies outside ${textOf(network)}: it would hand out another network's addresses`;
  if (from > to) return "from is greater than to";
  const mine = [...own].find((address) => from <= address && address <= to);
  if (mine !== undefined) return `holds the daemon's own address ${ipv4Text(mine)}`;
  const unusable = unusableOf(network).find((address) => from <= address && address <= to);
  return unusable === undefined ? undefined : `holds ${ipv4Text(unusable)}, which is no host's: the network or its broadcast address`;
}

function reservationProblems(place: Place, own: ReadonlySet<number>, isProxy: boolean, say: Say): void {
  const identities = new Map<string, number>();
  const addresses = new Map<string, number>();
  place.served.reservations.forEach((one, at) => {
    const where = [...place.path, "reservations", at];
    for (const [key, identity] of identitiesOf(one)) {
      const first = identities.get(identity);
      if (first !== undefined) say([...where, key], `is that of reservations[${first}] as well`);
      else identities.set(identity, at);
    }
    const address = parseIpv4(one.address ?? "");
    if (one.address === undefined || address === undefined) return;
    const first = addresses.get(one.address);
    if (isProxy) say([...where, "address"], `mode ${place.mode} gives no addresses; remove it`);
    else if (!isOn(place.network, address)) say([...where, "address"], `lies outside ${textOf(place.network)}`);
    else if (own.has(address)) say([...where, "address"], "is the daemon's own");
    else if (one.address === place.served.router) say([...where, "address"], "is the router's");
    else if (unusableOf(place.network).includes(address)) say([...where, "address"], "is no host's: the network or its broadcast address");
    else if (first !== undefined) say([...where, "address"], `is that of reservations[${first}] as well`);
    addresses.set(one.address, first ?? at);
  });
}

/** What names a client: each alone, but a circuit and the switch it is on together. */
function identitiesOf(one: Reservation): [key: string, identity: string][] {
  const plain = (["mac", "uuid"] as const).flatMap((key): [string, string][] =>
    one[key] ? [[key, `${key} ${one[key].toLowerCase()}`]] : [],
  );
  const clientId = one.clientId?.toLowerCase().replace(/^0x|:/g, "");
  const agent = JSON.stringify([one.circuitId, one.remoteId]);
  const relayed: [string, string][] =
    one.circuitId !== undefined || one.remoteId !== undefined ? [[one.circuitId === undefined ? "remoteId" : "circuitId", agent]] : [];
  return [...plain, ...(clientId ? [["clientId", `clientId ${clientId}`] as [string, string]] : []), ...relayed];
}

/** A relay outside its networks says by link selection (RFC 3527) which one it means: it may be listed for several. */
function relayProblems(interfaces: readonly Interface[], say: Say): void {
  interfaces.forEach((at, index) => {
    at.subnets.forEach((subnet, inner) => {
      subnet.relays.forEach((relay, place) => {
        const address = parseIpv4(relay);
        if (address === parseNetwork(at.address)?.own) say([index, "subnets", inner, "relays", place], "is the daemon's own address");
      });
    });
  });
}

function addressProblem(network: Network): string | undefined {
  return (
    networkProblem(network) ??
    (unusableOf(network).includes(network.own) ? "is the network's own or its broadcast address, not a host's" : undefined)
  );
}

function networkProblem({ own, mask }: Network): string | undefined {
  const first = own >>> 24;
  if (first === 0 || first === 127 || first >= 224) return "is no network that machines are on";
  return mask >>> 0 < 0xff000000 ? "is wider than a /8: it would hand out other networks' addresses" : undefined;
}

/** The network's own address and its broadcast address; none on a /31 or /32 (RFC 3021). */
function unusableOf({ own, mask }: Network): readonly number[] {
  if (mask >>> 0 >= 0xfffffffe) return [];
  return [(own & mask) >>> 0, (own | ~mask) >>> 0];
}

function overlap(a: Network, b: Network): boolean {
  const mask = (a.mask & b.mask) >>> 0;
  return (a.own & mask) >>> 0 === (b.own & mask) >>> 0;
}

function textOf(network: Network): string {
  return `${ipv4Text((network.own & network.mask) >>> 0)}/${prefixLength(network)}`;
}

function pathText(path: Path): string {
  return path
    .map((part, at) => (typeof part === "number" ? `[${part}]` : at === 0 ? part : `.${part}`))
    .join("")
    .replace(/^/, "interfaces");
}
