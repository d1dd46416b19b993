import { type ChildProcess, execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { readIndex } from "../../src/config/artifacts.ts";
import { reasonOf } from "../../src/core/errors.ts";
import {
  type ChildSpec,
  connectSupervisor,
  createCa,
  createSigningKeys,
  issue,
  type KeyedCertificate,
  type Supervisor,
} from "../../src/supervise/index.ts";
import {
  type GatewayClient,
  gatewayChild,
  gatewayClient,
  gatewayDir,
  gatewaySocket,
  prepareGatewayDir,
} from "../../src/tenant/gateway/client.ts";
import type { RouteInput } from "../../src/tenant/gateway/route.ts";
import { createTestNetwork } from "./boot-network.ts";
import { eventually } from "./eventually.ts";
import type { Standing } from "./gateway-node.ts";
import { standingCommand, untilStanding } from "./standing.ts";

export const HOST = "10.178.0.1";
export const NODE = "10.178.0.11";
export const OTHER = "10.178.0.12";
export const POD = "10.244.1.5";
export const SERVICE = "10.96.0.50";
export const NAME = "acme.default.tenants.ironwright.internal";
const GATEWAY_UID = 2_100_001;
const TENANT_UID = 2_100_002;
const NODE_PORT = 21_640;

/**
 * A host in a namespace of its own, with a real etcd, the gateway and what a host has besides; a tenant's cell with a real apiserver and
 * a loopback alone; the tenant's node with SSH, a pod and a service; another tenant's node.
 */
export interface GatewayWorld {
  readonly dir: string;
  /** The native helper. */
  readonly native: string;
  readonly supervisor: Supervisor;
  readonly client: GatewayClient;
  readonly route: RouteInput;
  readonly peoplePort: number;
  readonly nodePort: number;
  readonly ca: KeyedCertificate;
  /** Connections seen by name. */
  readonly seen: ReadonlyMap<string, number>;
  readonly gatewayLog: () => string;
  readonly wakes: string[];
  kubectl(by: "people" | "nodes", ...args: string[]): Promise<string>;
  /** What kubectl complains of. */
  refused(...args: string[]): Promise<string>;
  apply(object: object): Promise<string>;
  /** Runs a script in the host's namespace; returns what it writes. */
  onHost(script: string, ...args: string[]): Promise<string>;
  freeze(): Promise<void>;
  stopCell(): Promise<void>;
  stop(): Promise<void>;
}

export async function gatewayWorld(): Promise<GatewayWorld> {
  const undo: (() => Promise<void> | void)[] = [];
  const stop = async () => {
    for (const one of undo.reverse()) await one();
  };
  try {
    return await build(undo, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function build(undo: (() => Promise<void> | void)[], stop: () => Promise<void>): Promise<GatewayWorld> {
  const { kube, native } = readIndex(join(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"), "artifacts.json"));
  const dir = mkdtempSync(join(tmpdir(), "iw-g-"));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  chmodSync(dir, 0o711);
  const file = (name: string, text: string): string => {
    const path = join(dir, name);
    writeFileSync(path, text);
    return path;
  };
  const network = createTestNetwork("gw");
  undo.push(() => network.remove());
  network.bridge("br0", `${HOST}/24`);
  const node = network.plug("node", [{ name: "eth0", bridge: "br0", address: `${NODE}/24` }]);
  const other = network.plug("other", [{ name: "eth0", bridge: "br0", address: `${OTHER}/24` }]);
  const cell = network.plug("cell", []);
  network.sync(node, ["ip", "addr", "add", `${POD}/32`, "dev", "lo"]);
  network.sync(node, ["ip", "addr", "add", `${SERVICE}/32`, "dev", "lo"]);

  // ── keys
  const ca = await createCa("tenant");
  const certificate = (
    commonName: string,
    usages: ("server" | "client")[],
    sans: readonly string[] = [],
    organizations: readonly string[] = [],
  ) => issue({ ca, commonName, usages, sans, organizations, days: 1 });
  const [apiserver, admin, etcd, etcdClient, nodeLeaf, hostLeaf] = await Promise.all([
    certificate("kube-apiserver", ["server"], [NAME, "127.0.0.1"]),
    certificate("admin", ["client"], [], ["system:masters"]),
    certificate("", ["server", "client"], ["127.0.0.1"]),
    certificate("acme", ["client"]),
    certificate("node", ["server"], [NODE, POD, SERVICE, "hook.default.svc"]),
    certificate("host", ["server"], [HOST, "127.0.0.1", "localhost", OTHER, "169.254.169.254"]),
  ]);
  const accounts = await createSigningKeys();
  const files: Record<string, string> = {
    "ca.crt": ca.certificate,
    "apiserver.crt": apiserver.certificate,
    "apiserver.key": apiserver.key,
    "admin.crt": admin.certificate,
    "admin.key": admin.key,
    "etcd.crt": etcd.certificate,
    "etcd.key": etcd.key,
    "client.crt": etcdClient.certificate,
    "client.key": etcdClient.key,
    "sa.key": accounts.privateKey,
    "sa.pub": accounts.publicKey,
  };
  for (const [name, text] of Object.entries(files)) file(name, text);
  const at = (name: string) => join(dir, name);
  for (const name of [
    "ca.crt",
    "apiserver.crt",
    "apiserver.key",
    "admin.crt",
    "admin.key",
    "client.crt",
    "client.key",
    "sa.key",
    "sa.pub",
  ]) {
    chownSync(at(name), TENANT_UID, TENANT_UID);
  }

  // ── who stands about
  const tls = (leaf: KeyedCertificate) => ({ cert: leaf.certificate, key: leaf.key });
  const seen = new Map<string, number>();
  const standing: ChildProcess[] = [];
  async function stand(there: string, all: readonly Standing[]): Promise<void> {
    const child = network.start(there, standingCommand(all));
    standing.push(child);
    await untilStanding(child, seen);
  }
  const kubelet = { name: "kubelet", address: NODE, port: 10250, tls: tls(nodeLeaf) };
  const webhook = { name: "webhook", address: NODE, port: 30443, tls: tls(nodeLeaf) };
  const service = { name: "service", address: SERVICE, port: 443, tls: tls(nodeLeaf) };
  const pod = { name: "pod", address: POD, port: 8080 };
  await Promise.all([
    stand(node, [kubelet, webhook, service, pod]),
    stand(other, [{ name: "other's kubelet", address: OTHER, port: 10250, tls: tls(hostLeaf) }]),
    stand(network.namespace, [
      { name: "the host's Redis", address: "127.0.0.1", port: 6379 },
      { name: "the host's etcd", address: "127.0.0.1", port: 2379, tls: tls(hostLeaf) },
      { name: "the host's address", address: HOST, port: 10250, tls: tls(hostLeaf) },
      { name: "a BMC", address: HOST, port: 8443, tls: tls(hostLeaf) },
    ]),
  ]);

  // ── SSH to the node
  mkdirSync(at("ssh"));
  const [clientKey, hostKeyFile] = [at("ssh/id"), at("ssh/host")];
  const { daemonKey, parseHostKey } = await import("../../src/machine/ssh-key.ts");
  const key = await daemonKey(at("ssh"));
  writeFileSync(clientKey, key.privateKey, { mode: 0o600 });
  chmodSync(at("ssh"), 0o711);
  chownSync(clientKey, GATEWAY_UID, GATEWAY_UID);
  writeFileSync(at("ssh/authorized_keys"), `no-pty,no-X11-forwarding,no-agent-forwarding ${key.publicKey}\n`);
  const told = execFileSync("dropbearkey", ["-t", "ed25519", "-f", hostKeyFile], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const hostKey = parseHostKey(/^ssh-ed25519 \S+/m.exec(told)?.[0] ?? "");
  if (!hostKey) throw new Error(`dropbearkey made no key: ${told}`);
  const enter =
    'mount -t tmpfs -o mode=700 tmpfs /root && mkdir -m 700 /root/.ssh && cp "$1/authorized_keys" /root/.ssh/ && exec dropbear -F -s -P "" -r "$1/host" -p "$2"';
  network.start(node, ["sh", "-c", enter, "sh", at("ssh"), `${NODE}:22`]);

  // ── the supervisor, and its children
  const socket = at("run/supervisor.sock");
  mkdirSync(at("run"), { mode: 0o711 });
  network.start(network.namespace, [
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    join(import.meta.dirname, "../../src/supervise/detached.ts"),
    dir,
    socket,
  ]);
  const supervisor = connectSupervisor(socket);
  await eventually("the supervisor answers", () => supervisor.list());
  undo.push(() => supervisor.shutdown());
  chmodSync(at("run"), 0o711);

  mkdirSync(at("door"));
  chownSync(at("door"), TENANT_UID, GATEWAY_UID);
  chmodSync(at("door"), 0o2770);
  mkdirSync(at("egress"));
  chownSync(at("egress"), GATEWAY_UID, TENANT_UID);
  chmodSync(at("egress"), 0o2750);
  mkdirSync(at("shard"), { mode: 0o711 });
  mkdirSync(at("shard/data"), { mode: 0o700 });
  const etcdSocket = at("shard/etcd.sock");
  // the programs may be in a home that only root enters: a mount view of its own has them, as a cell's does
  const view = 'mount --bind "$1" "$2/kube" && mount --bind "$3" "$2/native" && shift 3 && exec "$@"';
  mkdirSync(at("programs/kube"), { recursive: true });
  mkdirSync(at("programs/native"));
  const programs = { kube: at("programs/kube"), native: at("programs/native/ironwright-native") };
  const inCell = (command: readonly string[]): string[] => [
    "/usr/bin/unshare",
    "--mount",
    "/bin/sh",
    "-c",
    view,
    "sh",
    kube.bin,
    at("programs"),
    dirname(native),
    "/usr/bin/nsenter",
    `--net=/run/netns/${cell}`,
    "/usr/bin/setpriv",
    `--reuid=${TENANT_UID}`,
    `--regid=${TENANT_UID}`,
    "--clear-groups",
    ...command,
  ];
  const etcdChild: ChildSpec = {
    name: "etcd",
    command: [
      join(kube.bin, "etcd"),
      "--name=e",
      `--data-dir=${at("shard/data")}`,
      `--listen-client-urls=unixs://${etcdSocket}`,
      // nobody reads it, and it has to be one
      "--advertise-client-urls=https://127.0.0.1:2378",
      "--listen-peer-urls=unix://peer:0",
      "--initial-advertise-peer-urls=unix://peer:0",
      "--initial-cluster=e=unix://peer:0",
      `--cert-file=${at("etcd.crt")}`,
      `--key-file=${at("etcd.key")}`,
      `--trusted-ca-file=${at("ca.crt")}`,
      "--client-cert-auth",
      "--log-level=warn",
      "--unsafe-no-fsync",
    ],
    cwd: at("shard"),
    logFile: at("etcd.log"),
    ready: { unix: etcdSocket },
  };
  const doorFlags = [
    "--api-listen",
    at("door/api.sock"),
    "--api",
    "127.0.0.1:6443",
    "--etcd-listen",
    "127.0.0.1:2379",
    "--etcd",
    etcdSocket,
  ];
  const door: ChildSpec = {
    name: "door",
    command: inCell([programs.native, "door", ...doorFlags]),
    logFile: at("door.log"),
    ready: { unix: at("door/api.sock") },
  };
  const selection = (name: string) => ({
    name,
    connection: { proxyProtocol: "HTTPConnect", transport: { uds: { udsName: at("egress/egress.sock") } } },
  });
  file(
    "egress.yaml",
    stringify({
      apiVersion: "apiserver.k8s.io/v1beta1",
      kind: "EgressSelectorConfiguration",
      egressSelections: [selection("cluster"), selection("controlplane"), { name: "etcd", connection: { proxyProtocol: "Direct" } }],
    }),
  );
  const api: ChildSpec = {
    name: "apiserver",
    command: inCell([
      join(programs.kube, "kube-apiserver"),
      "--bind-address=127.0.0.1",
      "--secure-port=6443",
      `--advertise-address=${HOST}`,
      "--endpoint-reconciler-type=none",
      `--tls-cert-file=${at("apiserver.crt")}`,
      `--tls-private-key-file=${at("apiserver.key")}`,
      "--etcd-servers=https://127.0.0.1:2379",
      `--etcd-cafile=${at("ca.crt")}`,
      `--etcd-certfile=${at("client.crt")}`,
      `--etcd-keyfile=${at("client.key")}`,
      `--client-ca-file=${at("ca.crt")}`,
      "--authorization-mode=RBAC",
      "--disable-admission-plugins=ServiceAccount",
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${at("sa.pub")}`,
      `--service-account-signing-key-file=${at("sa.key")}`,
      "--service-cluster-ip-range=10.96.0.0/16",
      `--egress-selector-config-file=${at("egress.yaml")}`,
      `--kubelet-certificate-authority=${at("ca.crt")}`,
      `--kubelet-client-certificate=${at("admin.crt")}`,
      `--kubelet-client-key=${at("admin.key")}`,
      "--kubelet-preferred-address-types=InternalIP,Hostname",
      "--profiling=false",
    ]),
    env: { GOGC: "50" },
    cwd: "/",
    logFile: at("apiserver.log"),
  };

  // ── who wakes, as the supervisor will
  const wakes: string[] = [];
  let wakeUp: () => Promise<void> = async () => {};
  const waking: Server = createServer((request, response) => {
    wakes.push(request.url ?? "");
    wakeUp().then(
      () => response.end("{}"),
      (error: unknown) => response.writeHead(500).end(JSON.stringify({ message: reasonOf(error) })),
    );
  });
  await new Promise<void>((resolve) => waking.listen(at("run/waking.sock"), resolve));
  chmodSync(at("run/waking.sock"), 0o666);
  undo.push(async () => {
    waking.closeAllConnections();
    await new Promise((resolve) => waking.close(resolve));
  });

  const gatewayHome = gatewayDir(dir);
  prepareGatewayDir(gatewayHome, GATEWAY_UID);
  const gateway = gatewayChild({
    dir: gatewayHome,
    people: { address: "0.0.0.0", port: 16_442 },
    nodesAddress: "0.0.0.0",
    wakeSocket: at("run/waking.sock"),
    logFile: at("gateway.log"),
    uid: GATEWAY_UID,
  });
  const client = gatewayClient(gatewaySocket(gatewayHome));
  const route: RouteInput = {
    id: "acme",
    ref: { namespace: "default", name: "acme" },
    state: "awake",
    api: at("door/api.sock"),
    cell: "acme",
    port: NODE_PORT,
    names: [NAME],
    egress: {
      socket: at("egress/egress.sock"),
      nodes: [{ name: "node-1", addresses: [NODE], podCIDR: "10.244.1.0/24", ssh: { address: NODE, keyFile: clientKey, hostKey } }],
      podCIDR: "10.244.0.0/16",
      serviceCIDR: "10.96.0.0/16",
      fences: [{ network: `${HOST}/32`, whose: "a BMC's" }],
    },
  };
  const readiness = async () => {
    const answered = await kubectl("nodes", "get", "--raw", "/readyz");
    if (answered !== "ok") throw new Error(answered);
  };

  const kubeconfig = (by: "people" | "nodes") =>
    file(
      `${by}.kubeconfig`,
      stringify({
        apiVersion: "v1",
        kind: "Config",
        clusters: [
          {
            name: "t",
            cluster: {
              server: `https://127.0.0.1:${by === "people" ? 16_442 : NODE_PORT}`,
              "certificate-authority": at("ca.crt"),
              ...(by === "people" ? { "tls-server-name": NAME } : {}),
            },
          },
        ],
        users: [{ name: "u", user: { "client-certificate": at("admin.crt"), "client-key": at("admin.key") } }],
        contexts: [{ name: "c", context: { cluster: "t", user: "u" } }],
        "current-context": "c",
      }),
    );
  const configs = { people: kubeconfig("people"), nodes: kubeconfig("nodes") };
  const kubectl = (by: "people" | "nodes", ...args: string[]) =>
    network.run(network.namespace, [join(kube.bin, "kubectl"), `--kubeconfig=${configs[by]}`, `--cache-dir=${at("cache")}`, ...args], {
      timeoutMs: 60_000,
    });

  await supervisor.ensure(etcdChild);
  await supervisor.ensure(gateway);
  await supervisor.waitReady("etcd", { timeoutMs: 30_000 });
  chmodSync(etcdSocket, 0o666);
  await supervisor.ensure(door);
  await supervisor.ensure(api);
  for (const name of [gateway.name, door.name]) await supervisor.waitReady(name, { timeoutMs: 30_000 });
  await client.put(route);
  await eventually("the apiserver answers", readiness);

  const pidOf = async (name: string) => {
    const pid = (await supervisor.list()).find((one) => one.name === name)?.pid;
    if (pid === undefined) throw new Error(`${name} does not run`);
    return pid;
  };
  let objects = 0;
  return {
    dir,
    native,
    supervisor,
    client,
    route,
    peoplePort: 16_442,
    nodePort: NODE_PORT,
    ca,
    seen,
    gatewayLog: () => readFileSync(at("gateway.log"), "utf8"),
    wakes,
    kubectl,
    refused: async (...args) =>
      kubectl("people", ...args).then(
        (output) => Promise.reject(new Error(`kubectl was not refused: ${output}`)),
        (error: { stderr?: string }) => error.stderr ?? String(error),
      ),
    apply(object) {
      objects += 1;
      return kubectl("people", "apply", "--server-side", "--validate=false", "-f", file(`object-${objects}.yaml`, stringify(object)));
    },
    onHost: (script, ...args) => network.run(network.namespace, [process.execPath, "--input-type=module", "-e", script, ...args]),
    async freeze() {
      const [apiPid, doorPid] = [await pidOf("apiserver"), await pidOf("door")];
      process.kill(apiPid, "SIGSTOP");
      process.kill(doorPid, "SIGUSR1");
      await eventually("the door is shut", () => {
        if (readFileSync(`/proc/${doorPid}/comm`, "utf8").trim() !== "door-shut") throw new Error("open");
      });
      process.kill(doorPid, "SIGSTOP");
      wakeUp = async () => {
        process.kill(doorPid, "SIGCONT");
        process.kill(doorPid, "SIGUSR2");
        process.kill(apiPid, "SIGCONT");
        // the supervisor's own probe is a consistent read by the socket; the node's port is shut to a sleeper
        await eventually("it reads", () => network.run(network.namespace, consistentRead(at)));
      };
    },
    async stopCell() {
      await supervisor.stop("apiserver");
      await supervisor.stop("door");
      wakeUp = async () => {
        await supervisor.ensure(door);
        await supervisor.ensure(api);
        await eventually("it reads", () => network.run(network.namespace, consistentRead(at)));
      };
    },
    stop,
  };
}

function consistentRead(at: (name: string) => string): string[] {
  const curl = ["curl", "--silent", "--fail", "--max-time", "2", "--unix-socket", at("door/api.sock"), "--cacert", at("ca.crt")];
  return [...curl, "--cert", at("admin.crt"), "--key", at("admin.key"), "https://127.0.0.1/api/v1/namespaces?limit=1"];
}
