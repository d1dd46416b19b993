import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import { encodeTftp, parseTftp, type TftpPacket } from "../wire/index.ts";
import { createBootFiles } from "./boot-files.ts";
import { startCarrier } from "./carrier.ts";
import { createRefusals, type Refusals } from "./refusals.ts";
import { serveTftp } from "./tftp-server.ts";

const content = Buffer.alloc(1200, "ironwright");
const SERVER = "127.0.0.2";

let directory: string;
let listening: Socket;
let refusals: Refusals;
let ends: string[];
let server: ReturnType<typeof serveTftp>;
let client: Client;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-tftp-"));
  writeFileSync(join(directory, "snponly.efi"), content);
  listening = await bound(SERVER);
  refusals = createRefusals(pino({ level: "silent" }), systemClock);
  ends = [];
  const programs = new Map([["snponly.efi", join(directory, "snponly.efi")]]);
  server = serveTftp({
    socket: listening,
    address: SERVER,
    programs,
    grub: (name, peer) => (name === "grub/grub.cfg" ? { name: "grub.cfg", content: Buffer.from(`echo ${peer}`) } : undefined),
    files: createBootFiles(),
    carrier: await startCarrier({ native: undefined, clock: systemClock, log: pino({ level: "silent" }) }),
    mtu: () => 1500,
    clock: systemClock,
    refusals,
    transfers: 10,
    onEnd: ({ end }) => void ends.push(end),
  });
  client = await createClient();
});
afterEach(() => {
  server.stop();
  listening.close();
  client.socket.close();
  rmSync(directory, { recursive: true });
});

test("what is made for a client is fetched like a file", async () => {
  request("/grub/grub.cfg", {});
  const { packet } = await client.next();
  expect(packet).toEqual({ kind: "data", block: 1, data: Buffer.from("echo 127.0.0.1") });
});

test("a file is fetched, from the address that was asked", async () => {
  request("/snponly.efi", { BLKSIZE: "1000", tsize: "0" });
  const { packet, from } = await client.next();
  expect(packet).toEqual({
    kind: "optionAck",
    options: new Map([
      ["blksize", "1000"],
      ["tsize", "1200"],
    ]),
  });
  expect(from.address).toBe(SERVER);
  const parts: Uint8Array[] = [];
  for (let block = 0; block < 2; block++) {
    client.send({ kind: "ack", block }, from);
    const { packet: data } = await client.next();
    if (data.kind === "data") parts.push(data.data);
  }
  client.send({ kind: "ack", block: 2 }, from);
  expect(Buffer.concat(parts).equals(content)).toBe(true);
  await expect.poll(() => ends).toEqual(["done"]);
});

test("strangers and broken datagrams disturb no transfer", async () => {
  request("snponly.efi", {});
  const { from } = await client.next();
  const stranger = await createClient();
  // an error is not answered, by nothing
  stranger.send({ kind: "error", code: 0, message: "stop" }, from);
  stranger.send({ kind: "ack", block: 1 }, from);
  expect((await stranger.next()).packet).toMatchObject({ kind: "error", code: 5 });
  stranger.socket.close();
  client.socket.send(Uint8Array.of(4), from.port, from.address);
  client.socket.send(Uint8Array.of(0, 9, 1, 1), from.port, from.address);
  listeningSend(Uint8Array.of(1));
  client.send({ kind: "ack", block: 1 }, from);
  expect((await client.next()).packet).toMatchObject({ kind: "data", block: 2 });
  client.send({ kind: "ack", block: 2 }, from);
  client.send({ kind: "ack", block: 3 }, from);
  await expect.poll(() => ends).toEqual(["done"]);
  expect(refusals.all()).toMatchObject({
    "tftp: truncated": 1,
    "tftp: strangers in a transfer": 1,
    "tftp: malformed in a transfer": 1,
  });
});

test.each([
  ["../../etc/passwd", 1],
  ["/etc/passwd", 1],
  ["", 1],
])("%j is not served", async (file, code) => {
  request(file, {});
  expect((await client.next()).packet).toMatchObject({ kind: "error", code });
});

test("writing is refused", async () => {
  listeningSend(encodeTftp({ kind: "write", file: "snponly.efi", mode: "octet", options: new Map() }));
  expect((await client.next()).packet).toMatchObject({ kind: "error", code: 2 });
});

test("a lost packet is sent again", async () => {
  request("snponly.efi", {});
  expect((await client.next()).packet).toMatchObject({ kind: "data", block: 1 });
  expect((await client.next()).packet).toMatchObject({ kind: "data", block: 1 });
});

test("a request that comes again is counted, and begins no second transfer", async () => {
  request("snponly.efi", {});
  const { from } = await client.next();
  request("snponly.efi", {});
  await expect.poll(() => refusals.all()).toEqual({ "tftp: a request that was answered already": 1 });
  expect(server.active).toBe(1);
  client.send({ kind: "ack", block: 1 }, from);
  expect((await client.next()).packet).toMatchObject({ kind: "data", block: 2 });
});

test("a client has eight transfers: the ninth is an error and counted, another client is served", async () => {
  const read = encodeTftp({ kind: "read", file: "snponly.efi", mode: "octet", options: new Map() });
  const ask = (one: Client) => one.socket.send(read, listening.address().port, SERVER);
  const greedy: Client[] = [];
  const other = await createClient("127.0.0.3");
  try {
    for (let transfer = 0; transfer < 8; transfer++) {
      const one = await createClient();
      greedy.push(one);
      ask(one);
      expect((await one.next()).packet).toMatchObject({ kind: "data", block: 1 });
    }
    request("snponly.efi", {});
    expect((await client.next()).packet).toMatchObject({ kind: "error", code: 0, message: "too many transfers at once" });
    expect(refusals.all()).toEqual({ "tftp: too many transfers at once": 1 });
    ask(other);
    expect((await other.next()).packet).toMatchObject({ kind: "data", block: 1 });
    expect(server.active).toBe(9);

    // ten in all: who comes then hears nothing, for an error would end its boot, and asks again
    const late = [await createClient("127.0.0.4"), await createClient("127.0.0.5")];
    greedy.push(...late);
    for (const one of late) ask(one);
    await expect.poll(() => refusals.all()["tftp: all transfers are taken"]).toBe(1);
    expect(server.active).toBe(10);
    const [first, second] = late;
    const answered = await Promise.race(late.map((one, at) => one.next().then(({ packet, from }) => ({ at, packet, from }))));
    expect(answered).toMatchObject({ at: 0, packet: { kind: "data", block: 1 } });
    for (const block of [1, 2, 3]) first?.send({ kind: "ack", block }, answered.from);
    await expect.poll(() => server.active).toBe(9);
    if (second) ask(second);
    await expect.poll(() => server.active).toBe(10);
  } finally {
    for (const one of [...greedy, other]) one.socket.close();
  }
});

function request(file: string, options: Record<string, string>): void {
  listeningSend(encodeTftp({ kind: "read", file, mode: "octet", options: new Map(Object.entries(options)) }));
}

function listeningSend(datagram: Uint8Array): void {
  client.socket.send(datagram, listening.address().port, SERVER);
}

interface Client {
  readonly socket: Socket;
  next(): Promise<{ packet: TftpPacket; from: RemoteInfo }>;
  send(packet: TftpPacket, to: RemoteInfo): void;
}

async function bound(address: string): Promise<Socket> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, address, resolve));
  return socket;
}

async function createClient(address = "127.0.0.1"): Promise<Client> {
  const socket = await bound(address);
  const came: { packet: TftpPacket; from: RemoteInfo }[] = [];
  let taker: (() => void) | undefined;
  socket.on("message", (datagram, from) => {
    const packet = parseTftp(datagram);
    if (typeof packet !== "string") came.push({ packet, from });
    taker?.();
  });
  return {
    socket,
    async next() {
      while (came.length === 0) {
        await new Promise<void>((resolve) => {
          taker = resolve;
        });
      }
      const first = came.shift();
      if (!first) throw new Error("nothing came");
      return first;
    },
    send: (packet, to) => socket.send(encodeTftp(packet), to.port, to.address),
  };
}
