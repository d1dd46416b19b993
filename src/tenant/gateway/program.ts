/**
 * The gateway, as the supervisor runs it: people, nodes and egress of all tenants pass here, and go on doing so while the daemon
 * restarts.
 */
import { readFileSync } from "node:fs";
import { pino } from "pino";
import { systemClock } from "../../core/clock.ts";
import type { NodeSession } from "./dialer.ts";
import type { SshRoad } from "./egress-policy.ts";
import { openGateway } from "./gateway.ts";

const [dir, peopleAddress, peoplePort, nodesAddress, wakeSocket] = process.argv.slice(2);
if (!dir || !peopleAddress || !peoplePort || !nodesAddress || !wakeSocket) {
  throw new Error("usage: program.ts DIRECTORY PEOPLE-ADDRESS PEOPLE-PORT NODES-ADDRESS WAKE-SOCKET");
}
process.title = "ironwright-gateway";
// the terminal it was started from may close
process.on("SIGHUP", () => {});

/** Loaded when the first pod is dialled: most gateways never need it. */
async function connectNode({ address, port, user, keyFile, hostKey }: SshRoad, signal: AbortSignal): Promise<NodeSession> {
  const { connectSsh, parseHostKey } = await import("../../machine/index.ts");
  const pinned = parseHostKey(hostKey);
  if (!pinned) throw new Error(`the host key of ${address} is no ed25519 key`);
  return connectSsh({ address, port, user, hostKey: pinned, key: { privateKey: readFileSync(keyFile, "utf8") }, signal });
}

const gateway = await openGateway({
  dir,
  people: { address: peopleAddress, port: Number(peoplePort) },
  nodesAddress,
  wakeSocket,
  connectNode,
  clock: systemClock,
  log: pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }).child({ part: "gateway" }),
});
const leave = () => void gateway.stop().then(() => process.exit(0));
process.once("SIGTERM", leave);
process.once("SIGINT", leave);
