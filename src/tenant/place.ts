import { dirname, join } from "node:path";
import { IronwrightError } from "../core/errors.ts";
import { fitsSocket, LONGEST_SOCKET_PATH } from "../core/unix-socket.ts";
import type { CellMount, CellPlace, ChildSpec, ReadyProbe } from "../supervise/index.ts";
import { gatewayUser, type Isolation } from "./isolation.ts";
import type { ControlPlane, Dial } from "./runtime.ts";

/** Where the processes of a control plane run, and by which paths and addresses they know what is theirs. */
export interface Place {
  /** Where the apiserver listens, and its own clients dial. */
  readonly api: { readonly address: string; readonly port: number };
  readonly etcd: string;
  pki(file: string): string;
  config(file: string): string;
  program(name: string): string;
  /** Through which the apiserver dials webhooks, kubelets, pods and services; without it, by the host's network. */
  readonly egressSocket?: string;
  /** What makes a child one of this place. */
  around(mounts?: readonly CellMount[]): Pick<ChildSpec, "cwd" | "cell">;
  /** Where the daemon dials the apiserver. */
  readonly dial: Dial;
  /** How whoever is outside asks the apiserver. */
  asks(path: string, files: Readonly<Record<string, string>>): ReadyProbe;
  /** What is started first, and carries bytes in and out. */
  readonly door?: ChildSpec;
}

/** Inside a cell. */
const CELL = {
  api: { address: "127.0.0.1", port: 6443 },
  etcd: { address: "127.0.0.1", port: 2379 },
  bin: "/opt/kube",
  native: "/opt/ironwright-native",
  pki: "/tenant/pki",
  config: "/tenant/config",
  etcdDir: "/run/etcd",
  egressDir: "/run/egress",
} as const;

export function cellName(id: string): string {
  return `tenant-${id}`;
}

export function idOfCell(name: string): string {
  return name.replace(/^tenant-/, "");
}

/** Of a tenant's home, by paths of the host. */
export function doorSocket(home: string): string {
  return join(home, "door", "api.sock");
}

export function egressSocket(home: string): string {
  return join(home, "egress", "egress.sock");
}

/** As the host's other processes: the same user, network and files. */
export function openPlace({ port, datastore }: ControlPlane, home: string, kubeBin: string): Place {
  return {
    api: { address: "0.0.0.0", port },
    etcd: datastore.endpoint,
    pki: (file) => join(home, "pki", file),
    config: (file) => join(home, "config", file),
    program: (name) => join(kubeBin, name),
    around: () => ({ cwd: home }),
    dial: { server: hostServer(port) },
    asks: (path, files) => ({ http: { url: `${hostServer(port)}${path}`, ...files } }),
  };
}

/** Apart from the host and from other tenants. @throws IRW_ISOLATION */
export function cellPlace(plane: ControlPlane, home: string, kubeBin: string, isolation: Isolation): Place {
  const { id, user, datastore } = plane;
  if (user === undefined) throw new IronwrightError("IRW_ISOLATION", { reason: `${id} has no user of its own` });
  const sockets = [doorSocket(home), egressSocket(home)];
  const long = sockets.find((path) => !fitsSocket(path));
  if (long)
    throw new IronwrightError("IRW_ISOLATION", { reason: `${long} is longer than the ${LONGEST_SOCKET_PATH} bytes of a socket's path` });

  /** Root's to write, the tenant's to read. */
  const readable = { uid: 0, gid: user };
  const place = (holder: boolean, mounts: readonly CellMount[]): CellPlace => ({
    name: cellName(id),
    native: isolation.native,
    uid: user,
    gid: user,
    holder,
    limits: { ...isolation.limits, ...plane.spec.limits },
    mounts,
  });
  const files: readonly CellMount[] = [
    { source: kubeBin, target: CELL.bin },
    { source: join(home, "pki"), target: CELL.pki, owner: readable },
    { source: join(home, "config"), target: CELL.config, owner: readable },
  ];
  const door = [
    ...["--api-listen", "fd:3", "--api", addressOf(CELL.api)],
    ...["--etcd-listen", addressOf(CELL.etcd), "--etcd", `${CELL.etcdDir}/client.sock`],
  ];
  return {
    api: CELL.api,
    etcd: `https://${addressOf(CELL.etcd)}`,
    pki: (file) => `${CELL.pki}/${file}`,
    config: (file) => `${CELL.config}/${file}`,
    program: (name) => `${CELL.bin}/${name}`,
    egressSocket: `${CELL.egressDir}/egress.sock`,
    around: (mounts = []) => ({ cwd: "/tmp", cell: place(false, [...files, ...mounts]) }),
    dial: { server: hostServer(plane.port), socketPath: doorSocket(home) },
    asks: (path, tls) => ({ http: { url: `https://${addressOf(CELL.api)}${path}`, socketPath: doorSocket(home), ...tls } }),
    door: {
      name: `${cellName(id)}-door`,
      command: [CELL.native, "door", ...door],
      cwd: "/tmp",
      logFile: join(home, "log", "door.log"),
      ready: { unix: doorSocket(home) },
      stopTimeoutS: 2,
      cell: {
        ...place(true, [
          { source: isolation.native, target: CELL.native },
          { source: dirname(datastore.socket), target: CELL.etcdDir },
        ]),
        // the gateway's group may connect; in the cell nobody sees where
        listen: { socket: doorSocket(home), gid: gatewayUser(isolation) },
      },
    },
  };
}

/** The gateway makes the socket, and the tenant's group may connect to it. */
export function egressMount(home: string, user: number, isolation: Isolation): CellMount {
  return { source: dirname(egressSocket(home)), target: CELL.egressDir, owner: { uid: gatewayUser(isolation), gid: user } };
}

/** As its certificate has it. */
function hostServer(port: number): string {
  return `https://127.0.0.1:${port}`;
}

function addressOf({ address, port }: { readonly address: string; readonly port: number }): string {
  return `${address}:${port}`;
}
