import { createSocket, type Socket } from "node:dgram";
import type { Server } from "node:http";
import { Socket as NetSocket } from "node:net";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { BootConfig } from "./contract.ts";

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

/** A UDP socket by its inherited descriptor, or bound here where no device needs to be named. */
export async function udpSocket(
  name: string,
  from: number | { readonly address: string; readonly port: number } | undefined,
): Promise<Socket> {
  if (from === undefined) {
    throw new IronwrightError("IRW_BOOT_SOCKET", {
      socket: name,
      reason:
        "it was not handed over; Node cannot bind a socket to one interface: start the daemon by systemd or by `ironwright-native sockets`",
    });
  }
  // addresses are all that is ever sent to: nothing to look up, nor to wait for
  const socket = createSocket({ type: "udp4", lookup: (address, _family, callback) => callback(null, address, 4) });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(typeof from === "number" ? { fd: from } : from, resolve);
    });
  } catch (error) {
    socket.close();
    throw new IronwrightError("IRW_BOOT_SOCKET", { socket: name, reason: reasonOf(error) }, error);
  }
  socket.removeAllListeners("error");
  return socket;
}

/** A stream that `ironwright-native sockets` opened: systemd has none such. */
export function streamSocket(name: string, fd: number | undefined): NetSocket {
  if (fd === undefined) {
    throw new IronwrightError("IRW_BOOT_SOCKET", {
      socket: name,
      reason: "it was not handed over: start the daemon by `ironwright-native sockets`, or switch conflictProbe off",
    });
  }
  return new NetSocket({ fd, readable: true, writable: true });
}

export async function listenHttp(
  server: Server,
  name: string,
  from: number | { readonly address: string; readonly port: number },
): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(typeof from === "number" ? { fd: from } : { host: from.address, port: from.port }, resolve);
    });
  } catch (error) {
    throw new IronwrightError("IRW_BOOT_SOCKET", { socket: name, reason: reasonOf(error) }, error);
  }
}
