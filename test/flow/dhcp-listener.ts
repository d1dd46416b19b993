/** A DHCP client on `eth0` that broadcasts a DISCOVER for each line `{xid}` and prints a line for each datagram that comes. */
import { createSocket } from "node:dgram";
import { createInterface } from "node:readline";
import { discoverFrom, edit } from "../../src/boot/dhcp.fixture.ts";
import { ipv4Text, OPTION, parseFrame } from "../../src/wire/index.ts";

const socket = createSocket({ type: "udp4", reuseAddr: true });
socket.on("message", (datagram) => {
  const frame = parseFrame(datagram);
  if (typeof frame === "string") throw new Error(frame);
  const server = Buffer.from(frame.options.get(OPTION.serverIdentifier) ?? []).readUInt32BE();
  process.stdout.write(`${JSON.stringify({ xid: frame.transactionId, server: ipv4Text(server) })}\n`);
});
await new Promise<void>((resolve) => socket.bind(68, "0.0.0.0", resolve));
socket.setBroadcast(true);
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { xid, seed } = JSON.parse(line) as { xid: number; seed: number };
  const mac = `52:54:00:77:0b:${seed.toString(16).padStart(2, "0")}`;
  socket.send(edit(discoverFrom(mac), {}, { transactionId: xid }), 67, "255.255.255.255");
}
