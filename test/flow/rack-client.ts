/** `node rack-client.ts ADDRESS FINGERPRINT network-boot`: the daemon's own BMC client, run by rack.test.ts inside the rack's namespace. */
import { connectBmc } from "../../src/bmc/index.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createLog } from "../../src/observe/index.ts";

const [address = "", certificateSha256 = "", action] = process.argv.slice(2);
const bmc = connectBmc({
  spec: { address, credentialsSecret: "none", certificateSha256 },
  credentials: { username: "admin", password: "ironwright" },
  clock: systemClock,
  log: createLog("error"),
});
const signal = AbortSignal.timeout(60_000);
if (action === "network-boot") {
  await bmc.bootNext("Pxe", { firmware: "bios" });
  await bmc.setPower("On", signal);
}
const { serial } = await bmc.identity();
process.stdout.write(JSON.stringify({ power: await bmc.power(), serial }));
await bmc.close();
