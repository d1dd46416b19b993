import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";

/** Asks for a file, has another port speak into the transfer, and goes on: prints the blocks it got and the stranger's error code. */
const [host = "", file = ""] = process.argv.slice(2);
const client = createSocket("udp4");
const stranger = createSocket("udp4");
const ack = (block: number) => Uint8Array.of(0, 4, 0, block);

client.send(Buffer.from(`\0\x01${file}\0octet\0`, "latin1"), 69, host);
const first = await next(client);
stranger.send(ack(1), first.from.port, host);
const refusal = await next(stranger);
client.send(ack(1), first.from.port, host);
const second = await next(client);
client.send(Uint8Array.of(0, 5, 0, 0, 0), first.from.port, host);
console.log(JSON.stringify({ blocks: [first.data.readUInt16BE(2), second.data.readUInt16BE(2)], stranger: refusal.data.readUInt16BE(2) }));
client.close();
stranger.close();

async function next(socket: Socket): Promise<{ data: Buffer; from: RemoteInfo }> {
  const [data, from] = await once(socket, "message", { signal: AbortSignal.timeout(10_000) });
  return { data, from };
}
