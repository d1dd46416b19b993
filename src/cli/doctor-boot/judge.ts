import { KINDS, kindNames, type Observation, type Offer } from "./observed.ts";

/** One thing looked at: fine, or what is wrong with the mend. */
export interface Finding {
  readonly what: string;
  readonly wrong?: string;
  readonly mend?: string;
  /** A daemon runs without it. */
  readonly optional?: boolean;
}

/** What is known besides what was seen. */
export interface Setting {
  /** The boot plane's addresses, where they are known. */
  readonly servers: readonly string[];
  /** It runs in mode proxy and was asked as an unknown machine: then its silence is right. */
  readonly isQuietProxy: boolean;
}

type Of<S extends Observation["saw"]> = Extract<Observation, { readonly saw: S }>;

/** What is right and wrong with a network, from what clients of each kind saw of it; pure. */
export function judge(seen: readonly Observation[], setting: Setting): readonly Finding[] {
  const of = <S extends Observation["saw"]>(saw: S) => seen.filter((one): one is Of<S> => one.saw === saw);
  const offers = of("offer");
  const ours = boardOf(offers, setting.servers);
  const trouble = of("trouble").map(({ detail }) => ({
    what: "the probe",
    wrong: detail,
    mend: "foreign packets can end it: run it again",
  }));
  if (offers.length === 0) return [...silence(of("relayed"), setting), ...trouble];
  return [
    ...kinds(offers),
    ...absence(offers, setting),
    ...others(offers, ours),
    ...of("lease").map(leaseFinding),
    ...of("proxy").map(proxyFinding),
    ...tftp(of("tftp")),
    ...of("http").map(httpFinding),
    ...trouble,
  ];
}

/** The boot plane among those that answered: the configured one, else the one whose script is ours, else the only one. */
function boardOf(offers: readonly Offer[], servers: readonly string[]): string | undefined {
  const known = offers.find(({ server, from }) => servers.includes(server) || servers.includes(from));
  if (known || servers.length > 0) return known?.server;
  const script = offers.find(({ file }) => /^https?:\/\/[^/]+\/(exit|boot)\//.test(file));
  if (script) return script.server;
  const all = new Set(offers.map(({ server }) => server));
  return all.size === 1 ? offers[0]?.server : undefined;
}

function silence(relayed: readonly Of<"relayed">[], { servers }: Setting): readonly Finding[] {
  const [asked] = relayed;
  const what = "DHCP";
  if (asked?.answered)
    return [
      {
        what: "relay",
        wrong: `nobody answers broadcasts here, but ${asked.server} answers when it is asked through a relay (giaddr ${asked.relay})`,
        mend: `nothing relays on this network: set the router's DHCP relay (ip helper-address) to ${asked.server}`,
      },
    ];
  if (asked)
    return [
      {
        what,
        wrong: `nobody answers broadcasts here, and ${asked.server} does not answer through a relay (giaddr ${asked.relay}) either`,
        mend: `is ${asked.server} up, is this network one of its boot.interfaces[].subnets, and does UDP 67 pass between here and there?`,
      },
    ];
  const where = servers.length > 0 ? ` of ${servers.join(", ")}` : "";
  return [
    {
      what,
      wrong: "nobody answers DHCP here: not to a plain client, nor to PXE, HTTP Boot or iPXE",
      mend: `is this port in the provisioning VLAN${where}? On another network a relay is missing; --server ADDRESS asks as one would`,
    },
  ];
}

function kinds(offers: readonly Offer[]): readonly Finding[] {
  const isProxied = offers.every(({ address }) => address === "0.0.0.0");
  return KINDS.map((kind) => {
    const own = offers.filter((offer) => offer.kind === kind);
    const what = kindNames[kind];
    if (own.length === 0 && isProxied) {
      return {
        what,
        wrong: "got no offer: the boot plane is a ProxyDHCP here, and no DHCP server gives addresses",
        mend: "bring the site's own DHCP server up on this network, or set this interface's mode to reservation",
      };
    }
    if (own.length === 0) {
      return {
        what,
        wrong: "got no offer, while others did",
        mend: "a DHCP server or snooping switch here drops requests with its vendor class (option 60); allow it",
      };
    }
    return { what: `${what}: ${own.map(offerText).join("; ")}` };
  });
}

/** Others answer, and the boot plane does not. */
function absence(offers: readonly Offer[], { servers, isQuietProxy }: Setting): readonly Finding[] {
  if (servers.length === 0 || offers.some(({ server, from }) => servers.includes(server) || servers.includes(from))) return [];
  const others = [...new Set(offers.map(({ server }) => server))].join(", ");
  if (isQuietProxy)
    return [{ what: `addresses come from ${others}; the boot plane (mode proxy) is silent to machines it does not know, as it should be` }];
  return [
    {
      what: "boot plane",
      wrong: `${servers.join(", ")} answers none of them, while ${others} does`,
      mend: "is it up, and on this network? In mode proxy it answers the machines it knows alone: ask as one that is off and waits to boot, with --mac",
    },
  ];
}

function offerText({ server, from, address, file, seconds }: Offer): string {
  const what = address === "0.0.0.0" ? "no address (ProxyDHCP)" : `offered ${address}`;
  const by = server === from || from === "0.0.0.0" ? server : `${server} through ${from}`;
  return `${what} by ${by} in ${seconds.toFixed(seconds < 0.1 ? 3 : 1)} s${file ? `, boots ${file}` : ""}`;
}

function others(offers: readonly Offer[], ours: string | undefined): readonly Finding[] {
  const givers = [...new Set(offers.filter(({ address }) => address !== "0.0.0.0").map(({ server }) => server))];
  const proxies = offers.some(({ server, address }) => server === ours && address === "0.0.0.0");
  const findings: Finding[] = [];
  const strangers = givers.filter((server) => server !== ours);
  if (proxies && givers.length === 1) findings.push({ what: `addresses come from ${givers[0]}, boot programs from ${ours} (ProxyDHCP)` });
  else if (givers.length > 1 || (strangers.length > 0 && ours !== undefined))
    findings.push(
      ...strangers.map((server) => ({
        what: "another DHCP server",
        wrong: `${server} answers here too: it offers ${firstAddress(offers, server)}, and a machine takes whichever is first`,
        mend: "switch it off on this network, or keep it and set this interface's mode to proxy",
      })),
    );
  const booters = [
    ...new Set(offers.filter(({ server, file, kind }) => server !== ours && file !== "" && kind !== "plain").map(({ server }) => server)),
  ];
  findings.push(
    ...booters
      .filter(() => ours !== undefined)
      .map((server) => ({
        what: "another boot server",
        wrong: `${server} tells machines to boot ${offers.find((offer) => offer.server === server && offer.file !== "")?.file}`,
        mend: "take its options 66, 67 and next-server away: a machine boots whatever it hears first",
      })),
  );
  return findings;
}

function firstAddress(offers: readonly Offer[], server: string): string {
  return offers.find((offer) => offer.server === server && offer.address !== "0.0.0.0")?.address ?? "an address";
}

function leaseFinding({ server, address, got }: Of<"lease">): Finding {
  if (got === "ack") return { what: `lease of ${address} from ${server}, released again` };
  return got === "nak"
    ? {
        what: "lease",
        wrong: `${server} offered ${address} and then refused it`,
        mend: `two servers share that address: see the leases of ${server}`,
      }
    : {
        what: "lease",
        wrong: `${server} offered ${address} and does not answer the request for it`,
        mend: "packets are lost, or its disk is too slow to write leases: see its log",
      };
}

function proxyFinding({ server, answered }: Of<"proxy">): Finding {
  return answered
    ? { what: `ProxyDHCP on UDP 4011 of ${server}` }
    : {
        what: "ProxyDHCP",
        wrong: `${server} offers to boot machines and does not answer on UDP 4011, where their firmware asks next`,
        mend: `UDP 4011 is filtered between here and ${server}: open it both ways`,
      };
}

function tftp(tries: readonly Of<"tftp">[]): readonly Finding[] {
  const small = tries.find(({ blockSize, got }) => blockSize === 512 && got !== "refusal");
  const large = tries.find(({ blockSize, got }) => blockSize !== 512 && got !== "refusal");
  const [first] = tries;
  if (!first) return [];
  if (!large) {
    return [
      {
        what: "TFTP",
        wrong: `${first.server} answers, and has no boot program of the usual names: ${first.detail}`,
        mend: "`npm run setup` fetches them; the daemon's setting artifacts says where they are",
      },
    ];
  }
  if (large.got === "file")
    return [{ what: `TFTP: ${large.file} from ${large.server} in blocks of ${large.blockSize} bytes, ${large.detail}` }];
  if (small?.got === "file") {
    return [
      {
        what: "MTU",
        wrong: `${large.file} comes from ${large.server} in blocks of 512 bytes, and is lost in blocks of ${large.blockSize}, which firmware asks for`,
        mend: "a link on the way carries less than 1500 bytes: make the MTU 1500 everywhere on this network",
      },
    ];
  }
  return [
    {
      what: "TFTP",
      wrong: `${large.file} does not come from ${large.server}: ${large.detail}`,
      mend: `UDP 69 and the high ports ${large.server} answers from are filtered: open them`,
    },
  ];
}

function httpFinding({ url, got, detail }: Of<"http">): Finding {
  if (got === "answer") return { what: `HTTP: ${url} (${detail})` };
  const { host } = new URL(url);
  return { what: "HTTP", wrong: `${url} does not come: ${detail}`, mend: `TCP to ${host} is filtered: open it` };
}

/** Findings as people read them. */
export function findingLines(findings: readonly Finding[]): readonly string[] {
  return findings.map(({ what, wrong, mend, optional }) =>
    wrong === undefined ? `✓ ${what}` : `${optional ? "–" : "✗"} ${what}: ${wrong}\n    ${mend ?? ""}`,
  );
}
