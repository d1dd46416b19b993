import { spawnSync } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import type { Server } from "node:http";
import { Socket as NetSocket } from "node:net";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { BootConfig, BootInterface } from "./contract.ts";

/** It asks the kernel, and waits for nothing. */
const BOUND_MS = 5_000;

/** Sockets handed over, by name: `dhcp@prov0`, `pxe@prov0`, `probe@prov0`, `tftp@prov0`, `http@prov0`. */
export type Sockets = ReadonlyMap<string, number>;

const FIRST_FD = 3;

/**
 * The sockets systemd or `ironwright-native sockets` opened for this process: sd_listen_fds(3).
 * @param environment the process's; nothing else is read from it
 */
export function inheritedSockets(environment: Readonly<Record<string, string | undefined>>, pid: number): Sockets {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = environment;
  if (LISTEN_PID !== String(pid)) return new Map();
  const count = Number(LISTEN_FDS ?? 0);
  const names = (LISTEN_FDNAMES ?? "").split(":");
  return new Map(Array.from({ length: count }, (_, at) => [names[at] ?? `fd${at}`, FIRST_FD + at]));
}

/** The arguments by which `ironwright-native sockets` opens what {@link inheritedSockets} takes over. */
export function socketArguments(boot: Pick<BootConfig, "interfaces" | "httpPort" | "https">): readonly string[] {
  return boot.interfaces
    .filter((at) => at.mode !== "off")
    .flatMap(({ name, address, mode, conflictProbe }) => {
      const own = address.split("/")[0];
      // broadcasts reach no socket that is bound to an address
      const dhcp = ["--udp", `dhcp@${name}=0.0.0.0:67@${name}`];
      const boots = mode === "reservation" ? [] : ["--udp", `pxe@${name}=0.0.0.0:4011@${name}`];
      const probe = conflictProbe && mode === "reservation" ? ["--probe", `probe@${name}=${name}`] : [];
      return [
        ...dhcp,
        ...boots,
        ...probe,
        "--udp",
        `tftp@${name}=${own}:69@${name}`,
        "--tcp",
        `http@${name}=${own}:${boot.httpPort}@${name}`,
        ...(boot.https ? ["--tcp", `https@${name}=${own}:${boot.https.port}@${name}`] : []),
      ];
    });
}

/**
 * Refuses sockets for broadcasts that are not bound to their interface, as a `.socket` unit without BindToDevice= makes them: they would
 * answer DHCP on every network the host is on.
 * @param native path of `ironwright-native`, which is asked: Node has no getsockopt(2)
 * @throws IRW_BOOT_SOCKET
 */
export function checkBound(interfaces: readonly Pick<BootInterface, "name" | "mode">[], sockets: Sockets, native: string): void {
  const asked = interfaces
    .filter(({ mode }) => mode !== "off")
    .flatMap(({ name }) => [`dhcp@${name}`, `pxe@${name}`].map((socket) => ({ socket, name, fd: sockets.get(socket) })))
    .filter(({ fd }) => fd !== undefined);
  const [first] = asked;
  if (!first) return;
  const told = spawnSync(native, ["bound", ...asked.map((_, at) => String(FIRST_FD + at))], {
    stdio: ["ignore", "pipe", "pipe", ...asked.map(({ fd }) => fd)],
    encoding: "utf8",
    timeout: BOUND_MS,
  });
  if (told.status !== 0) {
    const why = told.error ? reasonOf(told.error) : told.stderr.trim();
    throw notListening(first.socket, `which interface it is bound to cannot be told: ${why}`, told.error);
  }
  const devices = told.stdout.split("\n");
  for (const [at, { socket, name }] of asked.entries()) {
    if (devices[at] === name) continue;
    const is = devices[at] ? `it is bound to ${devices[at]}` : "it is bound to no interface and would answer on all of them";
    throw notListening(socket, `${is}: say BindToDevice=${name} in its .socket unit`);
  }
}

/** A UDP socket by its inherited descriptor. */
export async function udpSocket(name: string, fd: number | undefined): Promise<Socket> {
  const inherited = handedOver(name, fd);
  // addresses are all that is ever sent to: nothing to look up, nor to wait for
  const socket = createSocket({ type: "udp4", lookup: (address, _family, callback) => callback(null, address, 4) });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(inherited, resolve);
    });
  } catch (error) {
    socket.close();
    throw notListening(name, reasonOf(error), error);
  }
  socket.removeAllListeners("error");
  return socket;
}

/** A stream that `ironwright-native sockets` opened: systemd has none such. */
export function streamSocket(name: string, fd: number | undefined): NetSocket {
  if (fd === undefined)
    throw notListening(name, "it was not handed over: start the daemon by `ironwright-native sockets`, or switch conflictProbe off");
  return new NetSocket({ fd, readable: true, writable: true });
}

export async function listenHttp(server: Server, name: string, fd: number | undefined): Promise<void> {
  const inherited = handedOver(name, fd);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(inherited, resolve);
    });
  } catch (error) {
    throw notListening(name, reasonOf(error), error);
  }
}

function handedOver(name: string, fd: number | undefined): { readonly fd: number } {
  if (fd !== undefined) return { fd };
  throw notListening(
    name,
    "it was not handed over; Node cannot bind a socket to one interface: start the daemon by systemd or by `ironwright-native sockets`",
  );
}

function notListening(socket: string, reason: string, cause?: unknown): IronwrightError<"IRW_BOOT_SOCKET"> {
  return new IronwrightError("IRW_BOOT_SOCKET", { socket, reason }, cause);
}
