import { execFileSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import dhcpOptions from "dhcp/lib/options.js";
import protocol from "dhcp/lib/protocol.js";
import TftpClient from "tftp/lib/client.js";
import { KINDS, type Kind, type Observation, type ProbePlan } from "./observed.ts";

/**
 * A client of each kind, in a process of its own: what it sends and reads goes through the `dhcp` and `tftp` packages, which know
 * nothing of this project's own codec, and which a foreign packet can kill. The plan is the first argument, the socket on port 68
 * (67 for a relay) of the interface is descriptor 3, each line of standard output is an observation.
 */
const plan = JSON.parse(process.argv[2] ?? "{}") as ProbePlan;

const DISCOVER = 1;
const OFFER = 2;
const REQUEST = 3;
const ACK = 5;
const NAK = 6;
const RELEASE = 7;
const BROADCAST = 0x8000;
const EVERYBODY = "255.255.255.255";
const NOBODY = "0.0.0.0";
/** More than 255, or servers take it for their own time-out in seconds (RFC 2349): the package sends its milliseconds. */
const SHORTEST_TFTP_MS = 300;

// options the package does not know, by the types it has
const table = dhcpOptions as unknown as { addOption(code: number, option: { name: string; type: string; config: string }): void };
table.addOption(77, { name: "User Class", type: "ASCII", config: "userClass" });
table.addOption(93, { name: "Architecture", type: "UInt16s", config: "architecture" });
table.addOption(94, { name: "UNDI", type: "UInt8s", config: "undi" });
table.addOption(97, { name: "Machine Identifier", type: "UInt8s", config: "uuid" });
table.addOption(43, { name: "Vendor Options", type: "UInt8s", config: "vendorOptions" });
table.addOption(82, { name: "Relay Agent", type: "UInt8s", config: "relayAgent" });
table.addOption(175, { name: "iPXE", type: "UInt8s", config: "ipxe" });

const uuid = [0, ...Array.from({ length: 16 }, () => randomInt(256))];
const asked = [1, 3, 6, 12, 43, 54, 60, 66, 67, 97];

/** What makes a client one of its kind: RFC 4578, UEFI's HTTPClient, iPXE's user class. */
const marks: Readonly<Record<Kind, Readonly<Record<number, unknown>>>> = {
  plain: {},
  bios: { 60: "PXEClient:Arch:00000:UNDI:002001", 93: [0], 94: [1, 2, 1], 97: uuid },
  uefi: { 60: "PXEClient:Arch:00007:UNDI:003001", 93: [7], 94: [1, 3, 1], 97: uuid },
  http: { 60: "HTTPClient:Arch:00016:UNDI:003001", 93: [16], 94: [1, 3, 1], 97: uuid },
  // 0x13 iPXE over HTTP, as its ROMs say
  ipxe: { 60: "PXEClient:Arch:00007:UNDI:003010", 77: "iPXE", 93: [7], 94: [1, 3, 10], 97: uuid, 175: [0x13, 1, 1] },
};

interface Reply {
  readonly type: number;
  readonly xid: number;
  readonly from: string;
  readonly port: number;
  readonly address: string;
  readonly server: string;
  readonly nextServer: string;
  readonly file: string;
  readonly vendorClass: string;
  /** Option 1; empty when it was not given. */
  readonly mask: string;
  /** Option 3: the first router. */
  readonly router: string | undefined;
}

/** An OFFER and what the client was that got it. */
interface Offered extends Reply {
  readonly kind: Kind;
}

const listeners = new Set<(reply: Reply) => void>();

function tell(observation: Observation): void {
  process.stdout.write(`${JSON.stringify(observation)}\n`);
}

function onDatagram(datagram: Buffer, peer: RemoteInfo): void {
  let message: ReturnType<typeof protocol.parse>;
  try {
    message = protocol.parse(datagram);
  } catch (error) {
    tell({ saw: "trouble", detail: `a datagram from ${peer.address} was not understood: ${String(error)}` });
    return;
  }
  if (message.op !== 2) return;
  const text = (code: number) => (typeof message.options[code] === "string" ? String(message.options[code]) : "");
  const reply: Reply = {
    type: Number(message.options[53]),
    xid: message.xid,
    from: peer.address,
    port: peer.port,
    address: message.yiaddr,
    server: text(54) || peer.address,
    nextServer: message.siaddr,
    file: text(67) || message.file,
    vendorClass: text(60),
    mask: text(1),
    router: Array.isArray(message.options[3]) ? String(message.options[3][0]) : undefined,
  };
  for (const listener of listeners) listener(reply);
}

/** The replies to one transaction that come within a time, or until one is enough. */
async function replies(xid: number, waitMs: number, isEnough: (reply: Reply) => boolean = () => false): Promise<Reply[]> {
  const found: Reply[] = [];
  const enough = new AbortController();
  const listener = (reply: Reply) => {
    if (reply.xid !== xid) return;
    found.push(reply);
    if (isEnough(reply)) enough.abort();
  };
  listeners.add(listener);
  await wait(waitMs, undefined, { signal: enough.signal }).catch(() => {});
  listeners.delete(listener);
  return found;
}

interface Message {
  readonly type: number;
  readonly xid: number;
  readonly kind: Kind;
  readonly client?: string;
  readonly relay?: string;
  readonly options?: Readonly<Record<number, unknown>>;
}

function send(socket: Socket, to: { readonly address: string; readonly port: number }, message: Message): void {
  const { _data, _w } = protocol.format({
    op: 1,
    htype: 1,
    hlen: 6,
    hops: message.relay ? 1 : 0,
    xid: message.xid,
    secs: 4,
    flags: message.client || message.relay ? 0 : BROADCAST,
    ciaddr: message.client ?? NOBODY,
    yiaddr: NOBODY,
    siaddr: NOBODY,
    giaddr: message.relay ?? NOBODY,
    chaddr: plan.mac,
    sname: "",
    file: "",
    options: { 53: message.type, 55: asked, 57: 1472, ...marks[message.kind], ...message.options },
  });
  socket.send(_data.subarray(0, Math.max(_w, 300)), to.port, to.address, (error) => {
    if (error) tell({ saw: "trouble", detail: `nothing could be sent to ${to.address}: ${error.message}` });
  });
}

const transaction = () => randomInt(1, 0xffffffff);

async function discover(socket: Socket, kind: Kind): Promise<Offered[]> {
  const xid = transaction();
  const started = performance.now();
  const message = { type: DISCOVER, xid, kind };
  const reported = new Set<string>();
  const report = (reply: Reply) => {
    if (reply.xid !== xid || reply.type !== OFFER || reported.has(`${reply.from} ${reply.server}`)) return;
    reported.add(`${reply.from} ${reply.server}`);
    const { from, server, address, nextServer, file, vendorClass } = reply;
    tell({ saw: "offer", kind, from, server, address, nextServer, file, vendorClass, seconds: (performance.now() - started) / 1000 });
  };
  listeners.add(report);
  send(socket, { address: EVERYBODY, port: 67 }, message);
  const first = await replies(xid, plan.waitMs / 2);
  // one packet may be lost, or the switch port may not forward yet
  if (first.length === 0) send(socket, { address: EVERYBODY, port: 67 }, message);
  const second = await replies(xid, plan.waitMs / 2);
  listeners.delete(report);
  return [...first, ...second].filter(({ type }) => type === OFFER).map((reply) => ({ ...reply, kind }));
}

async function boot(socket: Socket): Promise<void> {
  const started = performance.now();
  const offers = await Promise.all(KINDS.map((kind) => discover(socket, kind)));
  tell({ saw: "offers-over", seconds: (performance.now() - started) / 1000 });
  const plain = (offers[0] ?? []).filter(({ address }) => address !== NOBODY);
  const chosen = plain.find(({ server, from }) => server === plan.server || from === plan.server) ?? plain[0];
  if (!chosen) return;
  const leased = await lease(socket, chosen);
  try {
    if (leased && plan.configure) configure(chosen);
    const all = offers.flat();
    const proxies = new Map<string, Offered>();
    for (const one of all)
      if (one.address === NOBODY && one.vendorClass === "PXEClient" && !proxies.has(one.from)) proxies.set(one.from, one);
    for (const one of proxies.values()) await proxy(socket, one, chosen.address);
    const bootServer = plan.server ?? [...proxies.keys()][0] ?? (nonzero(offers[2]?.[0]?.nextServer) || chosen.server);
    if (leased) await transfers(bootServer, all);
  } finally {
    if (leased) release(socket, chosen);
    await wait(100);
  }
}

async function lease(socket: Socket, { server, address }: Reply): Promise<boolean> {
  const xid = transaction();
  const answer = replies(xid, plan.waitMs, ({ type, server: by }) => by === server && (type === ACK || type === NAK));
  send(socket, { address: EVERYBODY, port: 67 }, { type: REQUEST, xid, kind: "plain", options: { 50: address, 54: server } });
  const got = (await answer).find(({ type, server: by }) => by === server && (type === ACK || type === NAK));
  tell({ saw: "lease", server, address, got: got === undefined ? "nothing" : got.type === ACK ? "ack" : "nak" });
  return got?.type === ACK;
}

/** Gives back what was leased, so that nothing of the probe stays. */
function release(socket: Socket, { server, address }: Reply): void {
  send(
    socket,
    { address: server, port: 67 },
    { type: RELEASE, xid: transaction(), kind: "plain", client: address, options: { 54: server, 55: null, 57: null } },
  );
}

/** In the probe's own namespace alone. */
function configure({ address, mask, router }: Reply): void {
  const bits = mask === "" ? 32 : mask.split(".").reduce((sum, part) => sum + Number(part).toString(2).replaceAll("0", "").length, 0);
  execFileSync("ip", ["addr", "add", `${address}/${bits}`, "dev", plan.interface]);
  // without a router everything is taken to be on this network
  execFileSync("ip", ["route", "add", "default", ...(router ? ["via", router, "onlink"] : []), "dev", plan.interface]);
}

/** The second phase of ProxyDHCP, as firmware does it: a REQUEST to port 4011 (PXE specification 2.1, §2.4). */
async function proxy(socket: Socket, { from, kind }: Offered, own: string): Promise<void> {
  const xid = transaction();
  const message = { type: REQUEST, xid, kind, client: own } as const;
  const answer = replies(xid, plan.waitMs, ({ type }) => type === ACK);
  send(socket, { address: from, port: 4011 }, message);
  const again = wait(plan.waitMs / 2).then(() => send(socket, { address: from, port: 4011 }, message));
  const got = await answer;
  tell({ saw: "proxy", server: from, answered: got.some(({ type }) => type === ACK) });
  await again;
}

async function transfers(server: string, offers: readonly Reply[]): Promise<void> {
  const named = offers.find(
    ({ file, from, server: by }) => (from === server || by === server) && file !== "" && !file.includes("://"),
  )?.file;
  const names = [...new Set([...(named ? [named] : []), "snponly.efi", "undionly.kpxe"])];
  for (const name of names) {
    const whole = await tftp(server, name, 1468);
    // a server that has no such file answers in small packets: that says nothing of large ones
    if (whole === "refusal") continue;
    if (whole === "nothing") await tftp(server, name, 512);
    break;
  }
  const script = offers.find(({ file, from, server: by }) => (from === server || by === server) && file.startsWith("http://"))?.file;
  await http(script ?? `http://${server}:${plan.httpPort}/exit/unknown.ipxe`);
}

function tftp(server: string, file: string, blockSize: number): Promise<"file" | "refusal" | "nothing"> {
  const directory = mkdtempSync(join(tmpdir(), "ironwright-doctor-"));
  const local = join(directory, "fetched");
  const client = new TftpClient({
    host: server,
    port: 69,
    blockSize,
    windowSize: 1,
    timeout: Math.max(SHORTEST_TFTP_MS, plan.waitMs / 4),
    retries: 3,
  });
  return new Promise((resolve) => {
    client.get(file, local, (error) => {
      const got =
        error === undefined || error === null
          ? "file"
          : /not found|no such|access|violation|illegal|too many/i.test(error.message)
            ? "refusal"
            : "nothing";
      const detail = got === "file" ? `${statSync(local).size} bytes` : (error?.message ?? "");
      rmSync(directory, { recursive: true });
      tell({ saw: "tftp", server, file, blockSize, got, detail });
      resolve(got);
    });
  });
}

async function http(url: string): Promise<void> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(plan.waitMs) });
    await response.text();
    tell({ saw: "http", url, got: "answer", detail: `status ${response.status}` });
  } catch (error) {
    const { message, cause } = error as Error;
    tell({ saw: "http", url, got: "nothing", detail: cause instanceof Error ? cause.message : message });
  }
}

/** Asks as a relay of this network would. */
async function relay(socket: Socket): Promise<void> {
  const { relay: own = NOBODY, server = NOBODY } = plan;
  const xid = transaction();
  const message = { type: DISCOVER, xid, kind: "plain", relay: own } as const;
  const answer = replies(xid, plan.waitMs, ({ type }) => type === OFFER);
  send(socket, { address: server, port: 67 }, message);
  tell({ saw: "relayed", server, relay: own, answered: (await answer).some(({ type }) => type === OFFER) });
}

function nonzero(address: string | undefined): string | undefined {
  return address === undefined || address === NOBODY ? undefined : address;
}

const socket = createSocket("udp4");
await new Promise<void>((resolve, reject) => {
  socket.once("error", reject);
  socket.bind({ fd: 3 }, resolve);
});
socket.setBroadcast(true);
socket.on("message", onDatagram);
await (plan.task === "relay" ? relay(socket) : boot(socket));
// a connection that is still being tried would keep the process for seconds
process.exit(0);
