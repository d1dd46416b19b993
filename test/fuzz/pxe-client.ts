/** `node pxe-client.ts SERVER ADDRESS MAC`: asks port 4011 for a boot file as x64 UEFI firmware does, and prints what it is told. */
import { createSocket } from "node:dgram";
import { setTimeout as wait } from "node:timers/promises";
import { edk2Discover } from "../../src/wire/golden.fixture.ts";
import { encodeFrame, ipv4Text, MESSAGE, OPTION, parseFrame, parseIpv4 } from "../../src/wire/index.ts";

const [server = "", address = "", mac = ""] = process.argv.slice(2);
const asked = parseFrame(edk2Discover);
if (typeof asked === "string") throw new Error(asked);
const { bytes } = encodeFrame({
  ...asked,
  clientAddress: parseIpv4(address) ?? 0,
  hardwareAddress: Buffer.from(mac.replaceAll(":", ""), "hex"),
  options: new Map([...asked.options, [OPTION.messageType, Uint8Array.of(MESSAGE.request)]]),
});
const socket = createSocket("udp4");
await new Promise<void>((resolve) => socket.bind(68, address, resolve));
socket.on("message", (datagram, from) => {
  const answer = parseFrame(datagram);
  if (typeof answer === "string") throw new Error(answer);
  const type = answer.options.get(OPTION.messageType)?.[0];
  const given = {
    type,
    file: Buffer.from(answer.file).toString(),
    next: ipv4Text(answer.serverAddress),
    yours: ipv4Text(answer.yourAddress),
  };
  process.stdout.write(JSON.stringify({ ...given, from: `${from.address}:${from.port}` }));
  process.exit(0);
});
// it is a datagram: it may be lost
for (let time = 0; time < 20; time++) {
  socket.send(bytes, 4011, server, () => {});
  await wait(500);
}
process.exit(1);
