import { connect } from "node:net";
import type { JsonGeneralName } from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { condition, isTrue } from "../../src/core/conditions.ts";
import { isError } from "../../src/core/errors.ts";
import { NODE_CLAIM, NODE_POOL, VIRTUAL_CLUSTER, type VirtualCluster } from "../../src/core/resources.ts";
import {
  type CertificateSigningRequest,
  CONFIG_MAP,
  CSR,
  connectKube,
  type Kube,
  NAMESPACE,
  NODE,
  SECRET,
  VALIDATING_ADMISSION_POLICY,
} from "../../src/kube/index.ts";
import { encode } from "../../src/tenant/etcd-grpc.ts";
import type { JoinCredential, TenantController } from "../../src/tenant/index.ts";
import { rangeOf } from "../../src/tenant/shard.ts";
import { runningProcesses } from "../processes.ts";
import { etcdCall } from "./etcd-grpc.ts";
import { eventually } from "./eventually.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { inShards, tenantsThings } from "./tenant-things.ts";
import {
  anonymousConfig,
  bundleOf,
  cellsOf,
  controllerOf,
  createTenant,
  decisionOf,
  etcdIdentity,
  kubeconfigText,
  kubeOfPeople,
  newKeys,
  nodeKube,
  pem,
  readyTenant,
  submit,
  tokenKube,
} from "./tenant-world.ts";

const ACME = { namespace: "default", name: "acme" };
const UMBRELLA = { namespace: "default", name: "umbrella" };
const BIOS = { claim: "acme-1", claimUid: "11111111-aaaa", nodeName: "bios-1" };
/** Nothing listens in it: the kernel gives out ephemeral ports from 32768 on. */
const PORTS = { from: 21_443, to: 21_459 };

let host: HostControlPlane;
let tenants: TenantController;
/** acme's node bios-1, by its own certificate. */
let node: Kube;

beforeAll(async () => {
  host = await withHost();
  tenants = newController();
  await tenants.start();
});
afterAll(async () => {
  await tenants?.stop();
  await host?.stop();
});

function newController(): TenantController {
  return controllerOf(host, PORTS, {
    datastore: { tenantsPerShard: 20, quotaBytes: 8 * 2 ** 20 },
    ...cellsOf(host, 2_960_000, PORTS.from - 1),
  });
}

describe("a VirtualCluster becomes a control plane", () => {
  test("acme is Ready, and its people reach it", async () => {
    await createTenant(host, ACME.name);
    const acme = await readyTenant(host, ACME);
    expect(acme.status).toMatchObject({
      phase: "Ready",
      port: PORTS.from,
      endpoint: `https://127.0.0.1:${PORTS.from - 1}`,
      nodeEndpoint: `https://127.0.0.1:${PORTS.from}`,
      version: host.artifacts.kube.version,
    });
    const isolated = process.getuid?.() === 0 ? ["Isolated"] : [];
    for (const type of [...isolated, "DatastoreReady", "ControlPlaneReady", "AdmissionReady", "Ready"])
      expect(isTrue(acme.status?.conditions, type)).toBe(true);
    expect(tenants.list()).toEqual([ACME]);

    const people = await kubeOfPeople(host, ACME);
    await people.create(CONFIG_MAP, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "mine", namespace: "default" },
      data: { a: "b" },
    });
    expect((await people.get(CONFIG_MAP, "mine", "default"))?.data).toEqual({ a: "b" });
    await eventually("the service account of a namespace", async () => {
      const accounts = (await people.raw("GET", "/api/v1/namespaces/default/serviceaccounts")) as { items: unknown[] };
      expect(accounts.items.length).toBe(1);
    });
    await people.close();
  });

  test("it is cheap to look again: nothing restarts", async () => {
    const before = await processes();
    await restartController();
    await eventually("acme is Ready again", () => expect(tenants.list()).toEqual([ACME]));
    expect(await processes()).toEqual(before);
  });

  test("a program of it that is killed starts anew, and why is a condition, with its last lines", async () => {
    const name = `tenant-${(await get(ACME))?.metadata.uid}-kube-apiserver`;
    const apiserver = async () => (await host.supervisor.list([name]))[0];
    const before = (await apiserver())?.pid;
    process.kill(before ?? 0, "SIGKILL");
    await eventually("it is said", async () => {
      const said = condition((await get(ACME))?.status?.conditions, "ControlPlaneReady");
      expect(said).toMatchObject({ status: "True", reason: "Restarted" });
      expect(said?.message).toMatch(/^kube-apiserver ended lately and was started anew: .*SIGKILL.*; its last lines:\n\S/);
    });
    const after = await apiserver();
    expect(after).toMatchObject({ state: "running", ready: true });
    expect(after?.pid).not.toBe(before);
    await readyTenant(host, ACME);
    expect(await tenants.kube(ACME).get(CONFIG_MAP, "mine", "default")).toBeDefined();
  });

  test.each([
    ["an unknown version", { version: "1.20" }, "VersionUnsupported", "there is v1"],
    ["overlapping networks", { podCIDR: "10.96.0.0/16" }, "ResourceInvalid", "spec.podCIDR: 10.96.0.0/16 overlaps spec.serviceCIDR"],
  ])("%s starts nothing and says why", async (_, spec, reason, says) => {
    const before = (await host.supervisor.list()).length;
    await createTenant(host, "broken", spec);
    await eventually("it says why", async () => {
      const found = condition((await get({ ...ACME, name: "broken" }))?.status?.conditions, "Ready");
      expect(found).toMatchObject({ status: "False", reason });
      expect(found?.message).toContain(says);
    });
    expect((await host.supervisor.list()).length).toBe(before);
    await host.kube.delete(VIRTUAL_CLUSTER, "broken", { namespace: "default" });
    await gone("broken");
  });

  test("secrets of the tenant are encrypted in its datastore", async () => {
    const kube = tenants.kube(ACME);
    await kube.create(SECRET, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "s", namespace: "default" },
      stringData: { a: "plain-as-day" },
    });
    const { identity, uid } = await etcdIdentity(host, ACME);
    const answer = await etcdCall(identity, "KV/Range", encode([1, `/${uid}/secrets/default/s`]));
    expect(answer.status).toBe(0);
    expect(answer.body.includes("k8s:enc:secretbox:v1:")).toBe(true);
    expect(answer.body.includes("plain-as-day")).toBe(false);
  });

  test("whoever says nothing of himself may ask for health alone", async () => {
    const anonymous = connectKube(JSON.stringify(await anonymousConfig(host, `https://127.0.0.1:${PORTS.from}`, ACME)));
    expect(await anonymous.raw("GET", "/readyz")).toBe("ok");
    await expect(anonymous.raw("GET", "/api/v1/namespaces")).rejects.toMatchObject({ code: "IRW_KUBE_REFUSED" });
    await expect(anonymous.raw("GET", "/version")).rejects.toMatchObject({ code: "IRW_KUBE_REFUSED" });
    await anonymous.close();
  });
});

describe("two tenants", () => {
  test("one's certificate opens no key of the other, however one asks", async () => {
    await createTenant(host, UMBRELLA.name);
    const umbrella = await readyTenant(host, UMBRELLA);
    expect(umbrella.status?.port).toBe(PORTS.from + 1);
    const thief = (await etcdIdentity(host, ACME)).identity;
    const own = `/${(await etcdIdentity(host, ACME)).uid}/`;
    const victim = `/${(await etcdIdentity(host, UMBRELLA)).uid}/`;
    const end = `${victim.slice(0, -1)}0`;

    const range = (first: string, last?: string) => encode([1, first], ...(last ? ([[2, last]] as const) : []));
    const put = (key: string) => encode([1, key], [2, "x"]);
    const nested = (op: Buffer) => encode([2, encode([4, encode([2, op])])]);
    const tries: [string, string, Buffer][] = [
      ["read", "KV/Range", range(victim, end)],
      ["read one key", "KV/Range", range(`${victim}namespaces/default`)],
      ["read everything", "KV/Range", range("\0", "\0")],
      ["read on from one's own, open ended", "KV/Range", range(own, "\0")],
      ["read one's own and the next byte", "KV/Range", range(own, `${own.slice(0, -1)}1`)],
      ["a neighbour by spelling", "KV/Range", range(`${own.slice(0, -1)}-/x`)],
      ["a neighbour by a longer name", "KV/Range", range(`${own.slice(0, -1)}a/x`)],
      ["the key at the end of one's range", "KV/Range", range(`${own.slice(0, -1)}0`)],
      ["write", "KV/Put", put(`${victim}x`)],
      ["write the compaction's key", "KV/Put", put("compact_rev_key")],
      ["delete", "KV/DeleteRange", range(victim, end)],
      ["read in a transaction", "KV/Txn", encode([2, encode([1, range(victim, end)])])],
      ["read in a nested transaction", "KV/Txn", nested(encode([1, range(victim, end)]))],
      ["write in a nested transaction", "KV/Txn", nested(encode([2, put(`${victim}x`)]))],
      ["delete in a nested transaction", "KV/Txn", nested(encode([3, range(victim, end)]))],
      ["compare", "KV/Txn", encode([1, encode([3, `${victim}namespaces/default`])])],
      ["watch", "Watch/Watch", encode([1, encode([1, victim], [2, end])])],
      ["watch, open ended", "Watch/Watch", encode([1, encode([1, own], [2, "\0"])])],
      ["compact", "KV/Compact", encode([1, 2])],
      ["make a user", "Auth/UserAdd", encode([1, "mallory"], [2, "x"])],
      ["grant itself root", "Auth/UserGrantRole", encode([1, own.slice(1, -1)], [2, "root"])],
      ["turn authentication off", "Auth/AuthDisable", encode()],
      ["take a snapshot", "Maintenance/Snapshot", encode()],
    ];
    expect((await etcdCall(thief, "KV/Range", range(`${own}namespaces/default`))).status).toBe(0);
    for (const [name, method, request] of tries) {
      const answer = await etcdCall(thief, method, request);
      const said = `${answer.message} ${answer.body.toString("latin1")}`;
      expect(said, name).toMatch(/permission denied/);
    }
  }, 180_000);

  test("they share nothing one can see", async () => {
    expect(await tenants.kube(UMBRELLA).get(CONFIG_MAP, "mine", "default")).toBeUndefined();
    const [acme, umbrella] = [await bundleOf(host, ACME), await bundleOf(host, UMBRELLA)];
    for (const file of ["ca.crt", "encryption-key", "service-account.key"]) expect(acme[file]).not.toBe(umbrella[file]);
    // acme's administrator is nobody at umbrella's
    const config = await kubeconfigText(host, ACME);
    const stray = connectKube(config.replaceAll("acme.default.", "umbrella.default."));
    await expect(stray.list(NAMESPACE)).rejects.toMatchObject({ code: "IRW_KUBE_UNREACHABLE" });
    await stray.close();
  });
});

describe("a node joins for its claim, and not otherwise", () => {
  let credential: JoinCredential;

  test("the admitted token gets its one certificate, and with it the node registers", async () => {
    credential = await tenants.admit(ACME, { ...BIOS, addresses: ["10.77.0.11"] });
    expect(credential).toMatchObject({ server: `https://127.0.0.1:${PORTS.from}`, nodeName: "bios-1", podCIDR: "10.244.0.0/16" });
    const minutes = (Date.parse(credential.expires) - Date.now()) / 60_000;
    expect(minutes).toBeGreaterThan(9);
    expect(minutes).toBeLessThanOrEqual(10);

    const keys = await newKeys();
    const csr = await submit(tokenKube(credential), "first", await pem(keys, "bios-1"));
    const issued = await decided(csr);
    expect(decisionOf(issued)).toBe("Approved ClaimIsLive");
    node = await nodeKube(credential, issued, keys);
    await node.create(NODE, { apiVersion: "v1", kind: "Node", metadata: { name: "bios-1" }, spec: {} });
  });

  test("the token ends with its first certificate", async () => {
    await eventually("the token is gone", async () => {
      const { items } = await tenants
        .kube(ACME)
        .list(SECRET, { namespace: "kube-system", fieldSelector: "type=bootstrap.kubernetes.io/token" });
      expect(items).toEqual([]);
    });
    expect(await outcome(tokenKube(credential), "again", await pem(await newKeys(), "bios-1"))).toMatch(/^(refused|Denied)/);
    await eventually("it counts as joined", async () => expect((await get(ACME))?.status?.nodes).toBe(1));
  });

  test("the node renews its own certificate, and gets one to serve with", async () => {
    const renewal = await submit(node, "renewal", await pem(await newKeys(), "bios-1"));
    expect(decisionOf(await decided(renewal))).toBe("Approved ClaimIsLive");
    const names: JsonGeneralName[] = [
      { type: "dns", value: "bios-1" },
      { type: "ip", value: "10.77.0.11" },
    ];
    const serving = await submit(node, "serving", await pem(await newKeys(), "bios-1", names), "serving");
    expect(decisionOf(await decided(serving))).toBe("Approved ClaimIsLive");
  });

  test("it gets nothing in another's name, and no address that is not its own", async () => {
    // upstream's NodeRestriction is the first to say no
    expect(await outcome(node, "other", await pem(await newKeys(), "uefi-1"))).toBe("refused");
    const names: JsonGeneralName[] = [
      { type: "dns", value: "bios-1" },
      { type: "ip", value: "127.0.0.1" },
    ];
    const serving = await submit(node, "loopback", await pem(await newKeys(), "bios-1", names), "serving");
    expect(decisionOf(await decided(serving))).toBe("Denied AddressesNotExact");
    await expect(node.create(NODE, { apiVersion: "v1", kind: "Node", metadata: { name: "uefi-1" }, spec: {} })).rejects.toMatchObject({
      code: "IRW_KUBE_REFUSED",
    });
  });

  test("another claim's token is denied this node's name, and a second key is denied to any token", async () => {
    const uefi = await tenants.admit(ACME, { claim: "acme-2", claimUid: "2222", nodeName: "uefi-1", addresses: ["10.77.0.12"] });
    const stranger = await submit(tokenKube(uefi), "stranger", await pem(await newKeys(), "bios-1"));
    expect(decisionOf(await decided(stranger))).toBe("Denied RequestorNotTheClaims");
    await tenants.revoke(ACME, { claim: "acme-2", claimUid: "2222", nodeName: "uefi-1" });
    expect(await outcome(tokenKube(uefi), "late", await pem(await newKeys(), "uefi-1"))).toMatch(/^(refused|Denied)/);
  });

  test("what the daemon keeps in the tenant is put back", async () => {
    const kube = tenants.kube(ACME);
    await kube.delete(VALIDATING_ADMISSION_POLICY, "ironwright-admitted-nodes");
    await kube.patch(SECRET, "ironwright-admitted-nodes", "kube-system", { data: { "evil-1": "eA==" } });
    await eventually("both are as they were", async () => {
      expect(await kube.get(VALIDATING_ADMISSION_POLICY, "ironwright-admitted-nodes")).toBeDefined();
      expect((await kube.get(SECRET, "ironwright-admitted-nodes", "kube-system"))?.data).toEqual({ "bios-1": base64(BIOS.claimUid) });
    });
  });

  test("a daemon that starts again knows who is admitted, and approves; a gate that was gone for a while is no weaker", async () => {
    await tenants.stop();
    const people = await kubeOfPeople(host, ACME);
    const register = () => node.raw("POST", "/api/v1/nodes?dryRun=All", { apiVersion: "v1", kind: "Node", metadata: { name: "bios-1" } });
    await people.patch(SECRET, "ironwright-admitted-nodes", "kube-system", { data: { "bios-1": null } });
    await eventually("the gate reads its list", () => expect(register()).rejects.toThrow(/no live claim/));
    await people.delete(VALIDATING_ADMISSION_POLICY, "ironwright-admitted-nodes");
    // the Node is there already: whoever hears that has passed the gate
    await eventually("the apiserver has forgotten the gate", () => expect(register()).rejects.toMatchObject({ code: "IRW_KUBE_CONFLICT" }));
    await people.close();
    tenants = newController();
    await tenants.start();
    await eventually("acme is Ready again", () => expect(tenants.list()).toContainEqual(ACME));
    const renewal = await submit(node, "renewal-2", await pem(await newKeys(), "bios-1"));
    expect(decisionOf(await decided(renewal))).toBe("Approved ClaimIsLive");
  });

  test("a revoked node is refused, with a certificate that is still good, whoever crowds the port of nodes", async () => {
    const leave = await crowd((await get(ACME))?.status?.port ?? 0);
    await tenants.revoke(ACME, BIOS);
    leave();
    await tenants.revoke(ACME, BIOS);
    expect(await tenants.kube(ACME).get(NODE, "bios-1")).toBeUndefined();
    const register = node.create(NODE, { apiVersion: "v1", kind: "Node", metadata: { name: "bios-1" }, spec: {} });
    await expect(register).rejects.toThrow(/bios-1 has no live claim/);
    await expect(submit(node, "renewal-3", await pem(await newKeys(), "bios-1"))).rejects.toThrow(/no live claim/);
    const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "bios-1", namespace: "kube-node-lease" } };
    await expect(node.raw("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lease)).rejects.toThrow(
      /no live claim/,
    );
    await node.close();
  });
});

describe("a tenant whose datastore is full", () => {
  const bulk = (index: number) => ({
    apiVersion: "v1" as const,
    kind: "ConfigMap" as const,
    metadata: { name: `bulk-${index}`, namespace: "default" },
    data: { bulk: "x".repeat(1_000_000) },
  });
  const full = async () => condition((await get(UMBRELLA))?.status?.conditions, "DatastoreFull");
  const dryRun = (people: Kube) => people.raw("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", bulk(100));

  test("creates nothing new, changes and deletes, and creates again; its neighbour notices nothing", async () => {
    const people = await kubeOfPeople(host, UMBRELLA);
    for (let index = 0; index < 9; index += 1) await people.create(CONFIG_MAP, bulk(index));
    await eventually("it is said", async () => expect(await full()).toMatchObject({ status: "True", reason: "Full" }));
    expect((await full())?.message).toMatch(/it holds 8\.\d MiB of 8\.0 MiB in \d+ keys.*delete objects/);
    await eventually("it is refused", () => expect(dryRun(people)).rejects.toThrow(/the datastore of this control plane is full/));
    await people.patch(CONFIG_MAP, "bulk-0", "default", { metadata: { labels: { a: "b" } } });
    const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "beat", namespace: "default" } };
    await people.raw("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", lease);
    const neighbour = await kubeOfPeople(host, ACME);
    await neighbour.create(CONFIG_MAP, { ...bulk(0), data: { small: "x" } });
    await neighbour.close();

    for (let index = 0; index < 9; index += 1) await people.delete(CONFIG_MAP, `bulk-${index}`, { namespace: "default" });
    await eventually("it has room", async () => expect(await full()).toMatchObject({ status: "False", reason: "HasRoom" }));
    await eventually("it creates", () => dryRun(people));
    await people.close();
  });
});

describe("a deleted VirtualCluster", () => {
  test("waits for its machines, then leaves no key, process, file or secret", async () => {
    const acme = await readyTenant(host, ACME);
    const before = Object.entries(await thingsOf(acme));
    // what is nothing afterwards was something before
    if (process.getuid?.() === 0) for (const [what, count] of before) expect(count, what).toBeGreaterThan(0);
    await host.kube.create(NODE_CLAIM, {
      apiVersion: "karpenter.sh/v1",
      kind: "NodeClaim",
      metadata: { name: "acme-9", labels: { "ironwright.dev/tenant": "default.acme" }, finalizers: ["karpenter.sh/termination"] },
      spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "gpu" }, requirements: [] },
    });
    await host.kube.delete(VIRTUAL_CLUSTER, ACME.name, { namespace: "default" });
    await eventually("it says what it waits for", async () => {
      const message = condition((await get(ACME))?.status?.conditions, "Ready")?.message;
      expect(message).toContain("NodeClaim acme-9");
      expect((await host.kube.get(NODE_CLAIM, "acme-9"))?.metadata.deletionTimestamp).toBeDefined();
    });
    // still there for the drain
    await restartController();
    await eventually("it answers", async () => expect(await tenants.kube(ACME).list(NODE)).toBeDefined());
    await expect(tenants.admit(ACME, { ...BIOS, addresses: [] })).rejects.toMatchObject({ code: "IRW_TENANT_NOT_READY" });

    await keepNodes(tenants.kube(ACME), "stubborn-1");
    await tenants.revoke(ACME, { claim: "stubborn", claimUid: "stubborn", nodeName: "stubborn-1" });

    await host.kube.patch(NODE_CLAIM, "acme-9", undefined, { metadata: { finalizers: null } });
    await gone(ACME.name);
    expect(tenants.list()).not.toContainEqual(ACME);
    for (const [what, count] of Object.entries(await thingsOf(acme))) expect(count, what).toBe(0);
    const secrets = await host.kube.list(SECRET, { namespace: "default" });
    expect(secrets.items.filter((one) => one.metadata.name.startsWith("acme-"))).toEqual([]);
    expect((await host.kube.list(NODE_POOL)).items).toEqual([]);
    await tenants.revoke(ACME, BIOS);
    // its neighbour did not notice
    expect((await tenants.kube(UMBRELLA).list(NAMESPACE)).items.length).toBeGreaterThan(3);
  });
});

/** What a tenant may do as its cluster's administrator: a node, and a policy by which nobody deletes nodes. */
async function keepNodes(kube: Kube, nodeName: string): Promise<void> {
  await kube.create(NODE, { apiVersion: "v1", kind: "Node", metadata: { name: nodeName }, spec: {} });
  const admission = { apiVersion: "admissionregistration.k8s.io/v1", metadata: { name: "keep-nodes" } };
  const rules = [{ apiGroups: [""], apiVersions: ["v1"], operations: ["DELETE"], resources: ["nodes"] }];
  await kube.raw("POST", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", {
    ...admission,
    kind: "ValidatingAdmissionPolicy",
    spec: { matchConstraints: { resourceRules: rules }, validations: [{ expression: "false", message: "nodes stay" }] },
  });
  await kube.raw("POST", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", {
    ...admission,
    kind: "ValidatingAdmissionPolicyBinding",
    spec: { policyName: "keep-nodes", validationActions: ["Deny"] },
  });
  await eventually("nodes cannot be deleted", () =>
    expect(kube.raw("DELETE", `/api/v1/nodes/${nodeName}?dryRun=All`)).rejects.toMatchObject({ code: "IRW_KUBE_REFUSED" }),
  );
}

/** How much this host has of a tenant. Its keys are counted by root, who may see them. */
async function thingsOf({ metadata: { uid = "" }, status }: VirtualCluster): Promise<Readonly<Record<string, number>>> {
  const { port = 0, userID } = status ?? {};
  const uids = { from: (userID ?? 0) - 1, to: userID ?? -1 };
  // Secrets bear its name, not its id
  const { Secrets: _, ...things } = await tenantsThings(host, { ports: { from: port, to: port }, uids, ids: [uid] });
  // by its id; processes and ports are numbers, and of its own ranges
  const own = Object.entries(things).map(([what, names]) => [
    what,
    names.filter((name) => name.includes(uid) || /^\d+$/.test(name)).length,
  ]);
  const [keys, etcdUsers] = await Promise.all([
    inShards(host.dir, (etcd) => etcd.count(rangeOf(uid))),
    inShards(host.dir, async (etcd) => Number(await etcd.hasUserOrRole(uid))),
  ]);
  const sum = (counts: readonly number[]) => counts.reduce((one, other) => one + other, 0);
  return {
    ...Object.fromEntries(own),
    "keys of etcd": sum(keys),
    "users and roles of etcd": sum(etcdUsers),
    "processes that name it": runningProcesses().filter(({ command }) => command.includes(uid)).length,
  };
}

function get(ref: { namespace: string; name: string }): Promise<VirtualCluster | undefined> {
  return host.kube.get(VIRTUAL_CLUSTER, ref.name, ref.namespace);
}

/** Holds so many connections to the port of nodes that more are turned away from there. Returns how to let go of them. */
async function crowd(port: number): Promise<() => void> {
  const sockets = Array.from({ length: 300 }, () => connect({ host: "127.0.0.1", port }).on("error", () => {}));
  const isolated = process.getuid?.() === 0;
  await eventually("some are turned away", () => expect(!isolated || sockets.filter((one) => one.destroyed).length > 100).toBe(true));
  return () => {
    for (const one of sockets) one.destroy();
  };
}

async function gone(name: string): Promise<void> {
  await eventually(`${name} is gone`, async () => expect(await get({ namespace: "default", name })).toBeUndefined());
}

async function restartController(): Promise<void> {
  await tenants.stop();
  tenants = newController();
  await tenants.start();
}

async function processes(): Promise<readonly (number | undefined)[]> {
  return (await host.supervisor.list()).map((child) => child.pid);
}

/** Denied, or approved and signed. */
async function decided(name: string): Promise<CertificateSigningRequest> {
  return eventually(`request ${name} is decided`, async () => {
    const csr = await tenants.kube(ACME).get(CSR, name);
    const denied = csr?.status?.conditions?.some((one) => one.type === "Denied");
    if (!csr || (!denied && !csr.status?.certificate)) throw new Error("not yet");
    return csr;
  });
}

/** What came of a request: an apiserver goes on knowing a deleted token for up to ten seconds, and then the approver denies. */
async function outcome(kube: Kube, name: string, text: string): Promise<string> {
  try {
    await submit(kube, name, text);
  } catch (error) {
    if (isError(error, "IRW_KUBE_REFUSED")) return "refused";
    throw error;
  } finally {
    if (kube !== node) await kube.close();
  }
  return decisionOf(await decided(name));
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
