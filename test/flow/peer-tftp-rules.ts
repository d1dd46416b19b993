/**
 * `node peer-tftp-rules.ts HOST FILE`: asks for the file's size alone, as firmware does, then for the file, says each acknowledgement three
 * times and gives up after four blocks. Prints the size it was told, and the blocks as they came.
 */
import { createSocket, type RemoteInfo } from "node:dgram";
import { on } from "node:events";
import { encodeTftp, parseTftp, type TftpPacket } from "../../src/wire/index.ts";

const [host = "", file = ""] = process.argv.slice(2);

const probe = await ask();
await probe.answer({ kind: "error", code: 8, message: "the size is enough" });
probe.end();

const { next, answer, end } = await ask();
const blocks: number[] = [];
for (let block = 0; block < 4; block++) {
  for (let time = 0; time < 3; time++) await answer({ kind: "ack", block });
  const packet = await next();
  if (packet.kind === "data") blocks.push(packet.block);
}
await answer({ kind: "error", code: 0, message: "enough" });
end();
console.log(JSON.stringify({ size: probe.size, blocks }));

async function ask() {
  const socket = createSocket("udp4");
  const came = on(socket, "message", { signal: AbortSignal.timeout(10_000) });
  let from = 69;
  const answer = (packet: TftpPacket) => new Promise((resolve) => socket.send(encodeTftp(packet), from, host, resolve));
  async function next(): Promise<TftpPacket> {
    const { value } = await came.next();
    const [datagram, peer] = value as [Buffer, RemoteInfo];
    from = peer.port;
    const packet = parseTftp(datagram);
    if (typeof packet === "string") throw new Error(packet);
    return packet;
  }
  // nothing shall be sent again because this machine is busy
  const options = new Map([
    ["tsize", "0"],
    ["timeout", "60"],
  ]);
  await answer({ kind: "read", file, mode: "octet", options });
  const granted = await next();
  const size = granted.kind === "optionAck" ? granted.options.get("tsize") : undefined;
  return { size, next, answer, end: () => socket.close() };
}
