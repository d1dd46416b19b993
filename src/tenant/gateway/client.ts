import { chmodSync, chownSync, lchownSync, mkdirSync, readdirSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { IronwrightError } from "../../core/errors.ts";
import { callJson } from "../../ipc/index.ts";
import type { ChildSpec } from "../../supervise/index.ts";
import type { GatewayState } from "./gateway.ts";
import type { RouteInput } from "./route.ts";
import type { TenantTraffic } from "./tenant.ts";

/** The gateway, seen through its socket. Every call throws IRW_GATEWAY_UNREACHABLE when nobody answers. */
export interface GatewayClient {
  state(): Promise<GatewayState>;
  /** Of all, or of the one that has this id. */
  list(id?: string): Promise<readonly TenantTraffic[]>;
  /** Resolves when it serves so. Idempotent. @throws IRW_GATEWAY_ROUTE naming the field, or what cannot be listened on */
  put(route: RouteInput): Promise<TenantTraffic>;
  /** Resolves when its connections are closed and its port is free. What nobody knows is success. */
  remove(id: string): Promise<void>;
  /** Resolves when this node is dialled no more. What nobody knows is success. */
  dropNode(id: string, node: string): Promise<void>;
}

export function gatewayClient(socket: string): GatewayClient {
  const unreachable = (reason: string, cause: unknown) => new IronwrightError("IRW_GATEWAY_UNREACHABLE", { socket, reason }, cause);
  const call = <T>(method: string, path: string, body?: unknown) =>
    callJson<T>(socket, method, path, { unreachable, ...(body === undefined ? {} : { body }) });
  const pathOf = (id: string) => `/tenants/${encodeURIComponent(id)}`;
  return {
    state: () => call("GET", "/"),
    async list(id) {
      if (id === undefined) return call("GET", "/tenants");
      const found = await call<readonly TenantTraffic[]>("GET", `/tenants?id=${encodeURIComponent(id)}`);
      // a gateway of an older version tells of all
      return found.filter((one) => one.id === id);
    },
    put: (route) => call("PUT", pathOf(route.id), route),
    remove: (id) => call("DELETE", pathOf(id)),
    dropNode: (id, node) => call("DELETE", `${pathOf(id)}/nodes/${encodeURIComponent(node)}`),
  };
}

export const GATEWAY_CHILD = "tenants-gateway";

export interface GatewayChildOptions {
  /** {@link gatewayDir}, or another directory that is the gateway's alone. */
  readonly dir: string;
  readonly people: { readonly address: string; readonly port: number };
  /** Where ports of tenants are listened on: 0.0.0.0, say. */
  readonly nodesAddress: string;
  readonly wakeSocket: string;
  readonly logFile: string;
  /** What it becomes once its program is read, which may be in root's own home; without it, it stays what the supervisor is. */
  readonly uid?: number;
  readonly gid?: number;
}

export function gatewayDir(dataDir: string): string {
  return join(dataDir, "gateway");
}

export function gatewaySocket(dir: string): string {
  return join(dir, "gateway.sock");
}

/** The gateway as a child of the supervisor. Its directory must be there: {@link prepareGatewayDir}. */
export function gatewayChild({ dir, people, nodesAddress, wakeSocket, logFile, uid, gid }: GatewayChildOptions): ChildSpec {
  // published, this file is JavaScript, and so is that program
  const program = fileURLToPath(new URL(`../../cli/tenants-gateway${extname(import.meta.url)}`, import.meta.url));
  const user = uid === undefined ? [] : [String(uid), String(gid ?? uid)];
  return {
    name: GATEWAY_CHILD,
    command: [
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      program,
      dir,
      people.address,
      String(people.port),
      nodesAddress,
      wakeSocket,
      ...user,
    ],
    cwd: dir,
    logFile,
    ready: { unix: gatewaySocket(dir) },
    stopTimeoutS: 5,
    ...(uid === undefined ? {} : { uid, gid: gid ?? uid, becomesUser: true }),
  };
}

/** The gateway's own directory: its user writes in it, and the group of whoever calls this, which is the daemon, calls it there. */
export function prepareGatewayDir(dir: string, uid?: number): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (uid === undefined) return;
  const gid = process.getgid?.() ?? 0;
  // it may have run as somebody else before; links are not followed
  for (const inside of readdirSync(dir, { recursive: true, encoding: "utf8" })) lchownSync(join(dir, inside), uid, gid);
  chownSync(dir, uid, gid);
  // what is made in it has the directory's group
  chmodSync(dir, 0o2750);
}
