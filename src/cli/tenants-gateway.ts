/**
 * The tenants' gateway, as the supervisor runs it: people, nodes and egress of all tenants pass here, and go on doing so while the
 * daemon restarts. It loads little, and what it loads it loads before it gives up root, whose home the program may be in.
 */
import { readFileSync } from "node:fs";
import { pino } from "pino";
import { systemClock } from "../core/clock.ts";
import { connectSsh } from "../machine/ssh.ts";
import { parseHostKey } from "../machine/ssh-key.ts";
import type { NodeSession } from "../tenant/gateway/dialer.ts";
import type { SshRoad } from "../tenant/gateway/egress-policy.ts";
import { openGateway } from "../tenant/gateway/gateway.ts";

const [dir, peopleAddress, peoplePort, nodesAddress, wakeSocket, uid, gid] = process.argv.slice(2);
if (!dir || !peopleAddress || !peoplePort || !nodesAddress || !wakeSocket) {
  throw new Error("usage: tenants-gateway.ts DIRECTORY PEOPLE-ADDRESS PEOPLE-PORT NODES-ADDRESS WAKE-SOCKET [UID GID]");
}
process.title = "ironwright-gateway";
// the terminal it was started from may close
process.on("SIGHUP", () => {});
if (uid && gid) becomeUser(Number(uid), Number(gid));

function becomeUser(user: number, group: number): void {
  if (process.getuid?.() === user && process.getgid?.() === group) return;
  process.setgroups?.([]);
  process.setgid?.(group);
  process.setuid?.(user);
  if (process.getuid?.() !== user || process.getgid?.() !== group) throw new Error(`it is not user ${user}`);
}

async function connectNode({ address, port, user, keyFile, hostKey }: SshRoad, signal: AbortSignal): Promise<NodeSession> {
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
