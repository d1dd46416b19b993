/** A relay agent's client that asks every few milliseconds; each line it prints is an answer after a silence, and how long that was. */
import { createSocket } from "node:dgram";
import { encodeFrame, MESSAGE, OPTION, parseIpv4 } from "../../src/wire/index.ts";

const EVERY_MS = 10;
const SILENCE_MS = 90;
const relay = "10.77.255.254";
const server = "10.77.0.1";
const { bytes } = encodeFrame({
  op: 1,
  hardwareType: 1,
  hardwareAddress: Uint8Array.of(0x52, 0x54, 0, 0x77, 0xff, 1),
  hops: 1,
  transactionId: 0x77,
  seconds: 0,
  flags: 0,
  clientAddress: 0,
  yourAddress: 0,
  serverAddress: 0,
  relayAddress: parseIpv4(relay) ?? 0,
  serverName: new Uint8Array(),
  file: new Uint8Array(),
  options: new Map([[OPTION.messageType, Uint8Array.of(MESSAGE.discover)]]),
});
const socket = createSocket("udp4");
let last = performance.now();
socket.on("message", () => {
  const now = performance.now();
  if (now - last >= SILENCE_MS) process.stdout.write(`${JSON.stringify({ at: Date.now(), gapMs: now - last })}\n`);
  last = now;
});
socket.on("error", () => {}); // nobody is there: the kernel says so by ICMP
await new Promise<void>((resolve) => socket.bind(67, relay, resolve));
setInterval(() => socket.send(bytes, 67, server, () => {}), EVERY_MS);
