/** `node sender.ts SERVER INPUTS SEED`: bent datagrams to the DHCP, ProxyDHCP and TFTP ports of a server, and to the ports of its transfers. */
import { createSocket, type Socket } from "node:dgram";
import { createBender } from "./boot-input.ts";
import { seeded } from "./random.ts";

const [server = "", inputs = "0", seed = "0"] = process.argv.slice(2);
const random = seeded(Number(seed));
const bender = createBender();
const dhcp = await bound(68);
const tftp = await bound(0);
/** Where transfers to us come from: they are disturbed as well. */
const transfers: number[] = [];
tftp.on("message", (_, { port }) => {
  transfers.push(port);
  if (transfers.length > 16) transfers.shift();
});

for (let sent = 0; sent < Number(inputs); sent++) {
  if (sent % 64 === 0) await send(tftp, Buffer.from("\0\x01snponly.efi\0octet\0blksize\x00512\0", "latin1"), 69);
  // where nobody listens it is the kernel that refuses
  if (random.below(2) === 0) await send(dhcp, bender.dhcp(random), random.below(2) === 0 ? 4011 : 67);
  else
    await send(
      tftp,
      bender.tftp(random),
      transfers.length > 0 && random.below(2) === 0 ? (transfers[random.below(transfers.length)] ?? 69) : 69,
    );
}
dhcp.close();
tftp.close();

async function bound(port: number): Promise<Socket> {
  const socket = createSocket("udp4");
  // a port that was closed meanwhile answers by ICMP: no matter
  socket.on("error", () => {});
  await new Promise<void>((resolve) => socket.bind(port, resolve));
  return socket;
}

function send(socket: Socket, datagram: Uint8Array, port: number): Promise<void> {
  return new Promise((resolve) => socket.send(datagram, port, server, () => resolve()));
}
