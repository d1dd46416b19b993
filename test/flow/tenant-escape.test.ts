import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { condition } from "../../src/core/conditions.ts";
import { isError, reasonOf } from "../../src/core/errors.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../../src/core/resources.ts";
import type { SleepSpec } from "../../src/core/virtual-clusters.ts";
import { CONFIG_MAP, CSR, connectKube, type Kube, NAMESPACE, NODE, POD, SECRET } from "../../src/kube/index.ts";
import { gatewayClient, gatewayDir, gatewaySocket } from "../../src/tenant/gateway/client.ts";
import type { JoinCredential, TenantController } from "../../src/tenant/index.ts";
import { eventually } from "./eventually.ts";
import { type Forgery, forgeries } from "./forged-requests.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { type Outside, outside } from "./outside.ts";
import {
  bundleOf,
  cellsOf,
  configOf,
  controllerOf,
  createTenant,
  firstCertificate,
  kubeconfigText,
  kubeOfPeople,
  newKeys,
  nodeConfig,
  pem,
  readyTenant,
  submit,
  tokenKube,
} from "./tenant-world.ts";

const ACME = { namespace: "default", name: "acme" };
const UMBRELLA = { namespace: "default", name: "umbrella" };
const PORTS = { from: 21_495, to: 21_499 };
const FRONT_DOOR = PORTS.from - 1;
const isRoot = process.getuid?.() === 0;

let host: HostControlPlane;
let tenants: TenantController;
let people: Kube;
let world: Outside;
/** Somebody on the host's loopback, and the host's Redis as if it were on TCP. */
let bystander: Listener;
let redis: Listener;

beforeAll(async () => {
  if (!isRoot) return;
  host = await withHost({ logLevel: "error" });
  [world, bystander, redis] = await Promise.all([outside(), listener(), listener(host.redis.path)]);
  tenants = newController();
  await tenants.start();
  await Promise.all([createTenant(host, ACME.name), createTenant(host, UMBRELLA.name)]);
  await readyTenant(host, ACME);
  await readyTenant(host, UMBRELLA);
  people = await kubeOfPeople(host, ACME);
}, 120_000);
afterAll(async () => {
  await people?.close();
  await tenants?.stop();
  await host?.stop();
  await world?.remove();
  for (const one of [bystander, redis]) one?.server.close();
});

function newController(): TenantController {
  return controllerOf(host, PORTS, cellsOf(host, 2_964_000, FRONT_DOOR, 1536 * 2 ** 20));
}

describe.skipIf(!isRoot)("a tenant's administrator who tries to leave", () => {
  test("reaches nothing of the host, of another tenant or of the site by any road, and each try is in the gateway's log", async () => {
    await tenants.admit(UMBRELLA, { claim: "u-1", claimUid: "u-1", nodeName: "umbrella-1", addresses: [world.other] });
    const umbrellas = (await readyTenant(host, UMBRELLA)).status?.port ?? 0;
    const childPort = async (name: string, flag: string) => {
      const pid = (await host.supervisor.list()).find((one) => one.name === name)?.pid;
      return Number(new RegExp(`${flag}=\\S*?:(\\d+)`).exec(readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " "))?.[1]);
    };
    const etcd = await childPort("host-etcd", "--listen-client-urls");
    const shard = Number(readFileSync(join(host.dir, "datastore", "shard-0", "port"), "utf8"));
    const apiserver = Number(new URL(/server: (\S+)/.exec(readFileSync(host.kubeconfig, "utf8"))?.[1] ?? "").port);
    const before = await trafficOf(UMBRELLA.name);

    const everywhere: [what: string, address: string, port: number][] = [
      ["somebody on the host's loopback", "127.0.0.1", bystander.port],
      ["the host's Redis", "127.0.0.1", redis.port],
      ["the host's etcd", "127.0.0.1", etcd],
      ["the tenants' etcd", "127.0.0.1", shard],
      ["the host's apiserver", "127.0.0.1", apiserver],
      ["the other tenant's port", "127.0.0.1", umbrellas],
      ["the other tenant's port, from outside", world.host, umbrellas],
      ["its front door", "127.0.0.1", FRONT_DOOR],
      ["the other tenant's node", world.other, 10250],
      ["the cloud's metadata", "169.254.169.254", 80],
      ["a BMC", world.bmc, 443],
      ["a BMC's IPMI over LAN", world.bmc, 623],
    ];
    const spellings: [string, string, number][] = [
      ["IPv6", "[::1]", bystander.port],
      ["IPv4 in IPv6", "[::ffff:127.0.0.1]", bystander.port],
      ["the same in hexadecimal", "[::ffff:7f00:1]", bystander.port],
      ["NAT64", "[64:ff9b::7f00:1]", bystander.port],
      ["one number", "2130706433", bystander.port],
      ["octal", "0177.0.0.1", bystander.port],
      ["hexadecimal", "0x7f.0.0.1", bystander.port],
      ["short", "127.1", bystander.port],
      ["nobody's", "0.0.0.0", bystander.port],
      ["a name", "localhost", bystander.port],
      ["a name with a dot at its end", "localhost.", bystander.port],
    ];
    const byWebhook = [...everywhere, ...spellings];
    await people.raw("POST", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", webhooks(byWebhook));
    const tryHook = (at: number) => failure(people.raw("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", labelled(at)));
    await eventually("webhooks are asked", async () => expect(await tryHook(0)).toContain("failed calling webhook"));
    const said = await Promise.all(byWebhook.map((_, at) => tryHook(at)));
    for (const [at, [what, address, port]] of byWebhook.entries()) {
      expect(said[at], what).toContain(`egress.sock while dialing ${address}:${port}, code 403`);
      await isLogged(`a webhook: ${what}`, 0, `${address}:${port}`, () => tryHook(at));
    }
    await people.raw("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/out");

    // a Node, its Pod and a Service; whose address and port they have is the tenant's to write
    await Promise.all(everywhere.map(([, address, port], at) => forgeNode(`liar-${at}`, address, port)));
    const aims = everywhere.map(([what, address, port], at) => ({ what, address, port, at, target: `${address}:${port}` }));
    const [routed, special] = [
      aims.filter(({ address }) => address.startsWith("10.")),
      aims.filter(({ address }) => !address.startsWith("10.")),
    ];
    await eventually("Services have their endpoints", async () => {
      for (const { at } of routed) {
        const { subsets } = (await people.raw("GET", `/api/v1/namespaces/default/endpoints/liar-${at}`)) as { subsets?: unknown[] };
        expect(subsets?.length).toBe(1);
      }
    });
    // upstream lets nobody write endpoints of the others
    for (const { what, address, port } of special) {
      const answer = await failure(people.raw("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice(address, port)));
      expect(answer, what).toMatch(/may not be in the (loopback|link-local) range/);
    }
    type Aim = (typeof aims)[number];
    const roads: readonly [road: string, to: readonly Aim[], path: (aim: Aim) => string][] = [
      ["a node", aims, ({ at, port }) => `/api/v1/nodes/https:liar-${at}:${port}/proxy/pods`],
      ["a pod's log", aims, ({ at }) => `/api/v1/namespaces/default/pods/liar-${at}/log`],
      ["a pod", aims, ({ at, port }) => `/api/v1/namespaces/default/pods/https:liar-${at}:${port}/proxy/`],
      ["a service", routed, ({ at }) => `/api/v1/namespaces/default/services/https:liar-${at}:https/proxy/`],
    ];
    for (const [road, to, path] of roads) {
      const since = gatewayLog().length;
      const asked = await Promise.all(to.map(async (aim) => ({ aim, answer: await failure(people.raw("GET", path(aim))) })));
      for (const { aim, answer } of asked) {
        // upstream itself turns away what is loopback or link-local, by some of these roads
        expect(answer, `${road}: ${aim.what}`).toMatch(/code 403|address not allowed|not allowed/);
        expect(answer, `${road}: ${aim.what}`).not.toMatch(/answered|connection refused|i\/o timeout|EOF|certificate signed/);
      }
      const dialled = asked.filter(({ answer }) => answer.includes("code 403")).map(({ aim }) => aim);
      expect(dialled.map(({ at }) => at)).toEqual(expect.arrayContaining(routed.map(({ at }) => at)));
      for (const aim of dialled) await isLogged(`${road}: ${aim.what}`, since, aim.target, () => failure(people.raw("GET", path(aim))));
    }

    for (const { what, at, port, target } of routed) {
      const since = gatewayLog().length;
      await people.raw("POST", APISERVICES, apiService(`out-${at}`, `liar-${at}`, port));
      const look = async () => {
        const { status } = (await people.raw("GET", `${APISERVICES}/v1.out-${at}.test.dev`)) as {
          status?: { conditions?: { status: string; message: string }[] };
        };
        expect(status?.conditions?.[0]).toMatchObject({
          status: "False",
          message: expect.stringContaining(`egress.sock while dialing ${target}, code 403`),
        });
      };
      await eventually(`an APIService leads nowhere: ${what}`, look);
      await isLogged(`an APIService: ${what}`, since, target, look);
      await people.raw("DELETE", `${APISERVICES}/v1.out-${at}.test.dev`);
    }

    expect([bystander.seen(), redis.seen(), world.seen()]).toEqual([0, 0, 0]);
    expect(await trafficOf(UMBRELLA.name)).toMatchObject({ people: before.people, nodes: { accepted: before.nodes.accepted } });
    const mine = await trafficOf(ACME.name);
    expect(mine.egress.refused).toEqual({ "not allowed": expect.any(Number) });
    expect(mine.egress.refused["not allowed"]).toBeGreaterThanOrEqual(byWebhook.length + everywhere.length);
    expect(gatewayLog().filter((line) => line.includes("egress: no way to it"))).toEqual([]);
  });

  test("is nobody at the other tenant: not with his certificate, not as a node, not with what his own authority signed", async () => {
    const umbrellas = await kubeconfigText(host, UMBRELLA);
    const there = {
      server: /server: (\S+)/.exec(umbrellas)?.[1] ?? "",
      ca: (await bundleOf(host, UMBRELLA))["ca.crt"] ?? "",
      serverName: "umbrella.default.tenants.ironwright.internal",
    };
    const mine = await kubeconfigText(host, ACME);
    const own = (field: string) => new RegExp(`${field}: (\\S+)`).exec(mine)?.[1] ?? "";
    const admin = { "client-certificate-data": own("client-certificate-data"), "client-key-data": own("client-key-data") };
    // he approves for himself what he likes, and his own control plane signs it
    const keys = await newKeys();
    await submit(people, "umbrellas-node", await pem(keys, "umbrella-1"), "other");
    await people.patch(
      CSR,
      "umbrellas-node",
      undefined,
      { status: { conditions: [{ type: "Approved", status: "True", reason: "Mine", message: "" }] } },
      { subresource: "approval" },
    );
    const signed = await eventually("his request is signed", async () => {
      const csr = await people.get(CSR, "umbrellas-node");
      if (!csr?.status?.certificate) throw new Error(JSON.stringify(csr?.status));
      return csr;
    });
    const asNode = (await nodeConfig({ server: there.server, ca: there.ca }, signed, keys)) as { users: { user: object }[] };
    for (const user of [admin, { ...admin, as: "system:node:umbrella-1", "as-groups": ["system:nodes"] }, asNode.users[0]?.user ?? {}]) {
      const file = join(host.dir, "stray.kubeconfig");
      writeFileSync(file, JSON.stringify(configOf(there.server, there.ca, user, there.serverName)), { mode: 0o600 });
      for (const what of [
        ["get", "secrets", "-A"],
        ["get", "nodes"],
        ["get", "--raw", "/version"],
      ]) {
        await expect(kubectl(file, what), JSON.stringify(Object.keys(user))).rejects.toThrow(/Unauthorized|must be logged in|[Ff]orbidden/);
      }
    }
    // at home a node's name by itself is no claim
    const home = join(host.dir, "acme.kubeconfig");
    writeFileSync(home, mine, { mode: 0o600 });
    const impersonated = ["--as=system:node:umbrella-1", "--as-group=system:nodes", "create", "namespace", "x"];
    await expect(kubectl(home, impersonated)).rejects.toThrow(/forbidden|no live claim/);
    await people.delete(CSR, "umbrellas-node");
  });
});

describe.skipIf(!isRoot)("forged requests for certificates", () => {
  test("a thousand of them, none approved", async () => {
    const claim = (n: number) => ({ claim: `c-${n}`, claimUid: `c-${n}`, nodeName: `machine-${n}`, addresses: [`10.77.0.${n}`] });
    const [live, other, revoked] = await Promise.all([1, 2, 3].map((n) => tenants.admit(ACME, claim(n))));
    if (!live || !other || !revoked) throw new Error("not admitted");
    await tenants.revoke(ACME, claim(3));
    const who: Record<Forgery["by"], Kube> = {
      people,
      live: tokenKube(live),
      other: tokenKube(other),
      revoked: tokenKube(revoked),
    };
    const all = await forgeries(1_000);
    const outcomes = { created: 0, refused: 0 };
    await inBatches(all, 40, async ({ by, request }) => {
      try {
        await who[by].create(CSR, request);
        outcomes.created += 1;
      } catch (error) {
        if (!isError(error, "IRW_KUBE_REFUSED")) throw error;
        outcomes.refused += 1;
      }
    });
    // what upstream's own admission refuses is never judged
    expect(outcomes.created + outcomes.refused).toBe(1_000);
    expect(outcomes.created).toBeGreaterThan(700);
    const made = await eventually("each is decided", async () => {
      const { items } = await people.list(CSR);
      const open = items.filter((csr) => !csr.status?.conditions?.length && OURS.includes(csr.spec.signerName));
      expect(open.map((csr) => csr.metadata.name)).toEqual([]);
      return items;
    });
    expect(made.length).toBe(outcomes.created);
    expect(made.filter((csr) => csr.status?.certificate || csr.status?.conditions?.some((one) => one.type !== "Denied"))).toEqual([]);
    const reasons = new Set(made.map((csr) => csr.status?.conditions?.[0]?.reason ?? "not ours"));
    for (const reason of ["SubjectNotAdmitted", "UsagesNotExact", "ExtensionsNotAllowed", "RequestorNotTheClaims", "MalformedRequest"])
      expect(reasons).toContain(reason);
    for (const kube of [who.live, who.other, who.revoked]) await kube.close();
  }, 120_000);
});

describe.skipIf(!isRoot)("a tenant that slept while the rules changed", () => {
  const A = { claim: "node-a", claimUid: "node-a", nodeName: "node-a" };
  const B = { claim: "node-b", claimUid: "node-b", nodeName: "node-b" };

  beforeAll(async () => {
    for (const node of [A, B]) {
      const credential = await tenants.admit(ACME, { ...node, addresses: [world.node] });
      writeFileSync(fileOf(node), await joined(credential, node.nodeName), { mode: 0o600 });
    }
    await eventually("they may write", async () => {
      for (const node of [A, B]) await asNode(node);
    });
  });

  test("a node revoked meanwhile is out when that is done, and its tenant was woken for it", async () => {
    await sleep({ state: "Asleep", nodes: "keep" });
    await eventually("revoked", () => tenants.revoke(ACME, A));
    expect((await policyOf(ACME.name)).map(({ name }) => name)).toContain(B.nodeName);
    expect((await policyOf(ACME.name)).map(({ name }) => name)).not.toContain(A.nodeName);
    expect(await people.get(NODE, A.nodeName)).toBeUndefined();
    await eventually("nodes come in again", () => asNode(B));
    await expect(asNode(A)).rejects.toThrow(/no live claim/);
  });

  test("whoever wakes it while the daemon is away wakes it for people alone; nodes come in by the list of today", async () => {
    await sleep({ state: "Asleep", nodes: "keep" });
    await tenants.stop();
    // a daemon that was killed right after it wrote the revocation down
    await host.kube.patch(SECRET, "acme-nodes", "default", { data: { [B.nodeName]: null } });
    await people.list(NAMESPACE);
    expect(await trafficOf(ACME.name)).toMatchObject({ state: "opening", woken: true });
    await expect(asNode(B)).rejects.toThrow(/reset|EOF|refused/);
    await people.create(CONFIG_MAP, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "woken", namespace: "default" } });
    tenants = newController();
    await tenants.start();
    await eventually("it opens", async () => expect(await trafficOf(ACME.name)).toMatchObject({ state: "awake" }));
    await expect(asNode(B)).rejects.toThrow(/no live claim/);
    expect((await policyOf(ACME.name)).map(({ name }) => name)).not.toContain(B.nodeName);
  });

  function fileOf({ nodeName }: typeof A): string {
    return join(host.dir, `${nodeName}.kubeconfig`);
  }

  /** A node's first certificate by its token, and a kubeconfig that is for outside the host. */
  async function joined(credential: JoinCredential, nodeName: string): Promise<string> {
    const keys = await newKeys();
    const csr = await firstCertificate(credential, keys, people);
    const server = credential.server.replace("127.0.0.1", world.host);
    const text = JSON.stringify(await nodeConfig({ server, ca: credential.ca }, csr, keys, "localhost"));
    const kube = connectKube(text);
    await kube.create(NODE, { apiVersion: "v1", kind: "Node", metadata: { name: nodeName }, spec: {} });
    await kube.close();
    return text;
  }

  /** It renews its lease, from where nodes are. */
  function asNode(node: typeof A): Promise<string> {
    const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: node.nodeName, namespace: "kube-node-lease" } };
    const file = join(host.dir, `${node.nodeName}.json`);
    writeFileSync(file, JSON.stringify(lease));
    const path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases?dryRun=All";
    return world.run(join(host.artifacts.kube.bin, "kubectl"), [
      ...["--kubeconfig", fileOf(node), "--request-timeout=5s"],
      ...["create", "--raw", path, "-f", file],
    ]);
  }

  async function sleep(spec: SleepSpec): Promise<void> {
    // an order is of the moment it is first seen: whoever was woken since waits for one that is new
    await host.kube.patch(VIRTUAL_CLUSTER, ACME.name, ACME.namespace, { spec: { sleep: { state: "Auto", nodes: "keep" } } });
    await eventually("the order is gone", async () => expect((await acme()).status?.sleep?.orderedAt).toBeUndefined());
    await host.kube.patch(VIRTUAL_CLUSTER, ACME.name, ACME.namespace, { spec: { sleep: spec } });
    await eventually("it sleeps", async () => expect((await acme()).status?.sleep?.state).toMatch(/hibernated|stopped/));
    expect(condition((await acme()).status?.conditions, "Ready")?.reason).toBe("Asleep");
  }
});

const OURS = ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"];

interface Listener {
  readonly port: number;
  readonly server: Server;
  seen(): number;
}

/** On the host's loopback; what comes is passed on to a Unix socket. */
async function listener(behind?: string): Promise<Listener> {
  let seen = 0;
  const server = createServer((socket) => {
    seen += 1;
    socket.on("error", () => {});
    if (behind) socket.pipe(connect(behind)).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { port: address.port, server, seen: () => seen };
}

/** One webhook a target, each for config maps of a label of its own. */
function webhooks(targets: readonly (readonly [string, string, number])[]): object {
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: "out" },
    webhooks: targets.map(([, address, port], at) => ({
      name: `to-${at}.test.dev`,
      admissionReviewVersions: ["v1"],
      sideEffects: "None",
      failurePolicy: "Fail",
      timeoutSeconds: 10,
      clientConfig: { url: `https://${address}:${port}/` },
      objectSelector: { matchLabels: { "test.dev/to": String(at) } },
      rules: [{ apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"], operations: ["CREATE"] }],
    })),
  };
}

function labelled(at: number): object {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name: `to-${at}`, labels: { "test.dev/to": String(at) } } };
}

/** A Node, a Pod on it and a Service of that Pod, which all say that they are at this address. */
async function forgeNode(name: string, address: string, port: number): Promise<void> {
  await people.create(NODE, { apiVersion: "v1", kind: "Node", metadata: { name }, spec: {} });
  const status = { addresses: [{ type: "InternalIP", address }], daemonEndpoints: { kubeletEndpoint: { Port: port } } };
  await people.patch(NODE, name, undefined, { status }, { subresource: "status" });
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { liar: name } },
    spec: { nodeName: name, containers: [{ name: "c", image: "i", ports: [{ name: "https", containerPort: port }] }] },
  };
  await people.raw("POST", "/api/v1/namespaces/default/pods", pod);
  const running = { phase: "Running", podIP: address, podIPs: [{ ip: address }], conditions: [{ type: "Ready", status: "True" }] };
  await people.patch(POD, name, "default", { status: running }, { subresource: "status" });
  await people.raw("POST", "/api/v1/namespaces/default/services", {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: { selector: { liar: name }, ports: [{ name: "https", port, targetPort: port }] },
  });
}

/** Where a Service leads, written by hand. */
function slice(address: string, port: number): object {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "by-hand", labels: { "kubernetes.io/service-name": "by-hand" } },
    addressType: "IPv4",
    endpoints: [{ addresses: [address] }],
    ports: [{ name: "https", port }],
  };
}

const APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices";

/** An API behind a Service, whose endpoints the apiserver dials. */
function apiService(name: string, service: string, port: number): object {
  return {
    apiVersion: "apiregistration.k8s.io/v1",
    kind: "APIService",
    metadata: { name: `v1.${name}.test.dev` },
    spec: {
      group: `${name}.test.dev`,
      version: "v1",
      groupPriorityMinimum: 100,
      versionPriority: 100,
      insecureSkipTLSVerify: true,
      service: { name: service, namespace: "default", port },
    },
  };
}

function gatewayLog(): readonly string[] {
  return readFileSync(join(host.dir, "logs", "tenants-gateway.log"), "utf8")
    .trimEnd()
    .split("\n");
}

/** A tenant has five lines a second there, and a burst: what has none yet is tried again. */
async function isLogged(what: string, since: number, target: string, tryAgain: () => Promise<unknown>): Promise<void> {
  const look = async () => {
    const line = gatewayLog()
      .slice(since)
      .find((one) => one.includes("egress refused") && one.includes(`"target":"${target}"`));
    if (!line) await tryAgain();
    expect(line).toContain('"tenant":"default.acme"');
  };
  await eventually(`${what} is in the gateway's log`, look, 60_000, 200);
}

async function failure(call: Promise<unknown>): Promise<string> {
  try {
    return `answered: ${JSON.stringify(await call)}`;
  } catch (error) {
    return reasonOf(error);
  }
}

async function inBatches<T>(all: readonly T[], size: number, work: (one: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < all.length; at += size) await Promise.all(all.slice(at, at + size).map(work));
}

async function trafficOf(name: string) {
  const found = (await gatewayClient(gatewaySocket(gatewayDir(host.dir))).list()).find((one) => one.ref.name === name);
  if (!found) throw new Error(`nothing is known of ${name}`);
  return found;
}

/** The nodes that the tenant's apiserver may dial, as the gateway has it on disk. */
async function policyOf(name: string): Promise<readonly { name: string }[]> {
  const { id } = await trafficOf(name);
  const text = readFileSync(join(gatewayDir(host.dir), "routes", `${id}.json`), "utf8");
  return (JSON.parse(text) as { route: { egress: { nodes: { name: string }[] } } }).route.egress.nodes;
}

async function acme(): Promise<VirtualCluster> {
  const found = await host.kube.get(VIRTUAL_CLUSTER, ACME.name, ACME.namespace);
  if (!found) throw new Error("it is gone");
  return found;
}

function kubectl(kubeconfig: string, args: readonly string[]): Promise<string> {
  const program = join(host.artifacts.kube.bin, "kubectl");
  return new Promise((resolve, reject) =>
    execFile(program, ["--kubeconfig", kubeconfig, ...args], { timeout: 30_000, env: { HOME: host.dir } }, (error, out, err) =>
      error ? reject(new Error(err)) : resolve(out),
    ),
  );
}
