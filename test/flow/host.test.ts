import { readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { systemClock } from "../../src/core/clock.ts";
import { IronwrightError } from "../../src/core/errors.ts";
import { type Kind, MACHINE, type Machine, NODE_CLAIM, OS_IMAGE, type Resource, VIRTUAL_CLUSTER } from "../../src/core/resources.ts";
import {
  CONFIG_MAP,
  CRD,
  type CustomResourceDefinition,
  EVENT,
  eventRecorder,
  installCrds,
  keyOf,
  NAMESPACE,
  PDB,
  POD,
  reflector,
  SECRET,
  SERVICE_ACCOUNT,
} from "../../src/kube/index.ts";
import { startEmbeddedSupervisor } from "../../src/supervise/index.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";

const CRDS = fileURLToPath(new URL("../../deploy/crds", import.meta.url));

let host: HostControlPlane;
beforeAll(async () => {
  host = await withHost();
});
afterAll(() => host?.stop());

/** Polls until it holds. */
async function until<T>(what: string, look: () => Promise<T | undefined | false> | T | undefined | false, timeoutMs = 60_000): Promise<T> {
  const end = Date.now() + timeoutMs;
  while (Date.now() < end) {
    const found = await look();
    if (found) return found;
    await systemClock.sleep(25);
  }
  throw new Error(`${what}: not within ${timeoutMs} ms`);
}

function machine(name: string, spec: object = {}): Machine {
  return {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "Machine",
    metadata: { name },
    spec: { bmc: { address: "redfish://10.77.1.11", credentialsSecret: "rack-bmc" }, bootMAC: "52:54:00:77:00:01", ...spec },
  };
}

async function refusal(call: Promise<unknown>): Promise<IronwrightError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof IronwrightError) return error;
  throw new Error(`expected a coded refusal, got ${String(error)}`);
}

describe("what is refused, and how", () => {
  const bmc = { address: "redfish://10.77.1.11", credentialsSecret: "rack-bmc" };
  const virtualCluster = (name: string, spec: object): Resource & { spec: object } => ({
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "VirtualCluster",
    metadata: { name, namespace: "default" },
    spec,
  });
  const image = (spec: object) => ({
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "OSImage",
    metadata: { name: "x" },
    spec: { url: "file:///x", sha256: "0".repeat(64), format: "ext4+zstd", sizeBytes: 1, ...spec },
  });

  const rows: readonly (readonly [string, Kind, object, RegExp])[] = [
    ["a MAC in capitals", MACHINE, machine("m", { bootMAC: "52:54:00:AB:CD:EF" }), /spec\.bootMAC.*lower case with colons/s],
    ["a MAC with dashes", MACHINE, machine("m", { bootMAC: "52-54-00-77-00-01" }), /spec\.bootMAC.*lower case with colons/s],
    ["a multicast MAC", MACHINE, machine("m", { bootMAC: "01:00:5e:00:00:01" }), /spec\.bootMAC.*multicast/s],
    ["a machine without a BMC", MACHINE, machine("m", { bmc: undefined }), /spec\.bmc: Required/],
    ["a BMC by HTTP", MACHINE, machine("m", { bmc: { ...bmc, address: "http://10.0.0.1" } }), /spec\.bmc\.address.*must be redfish:/s],
    ["a BMC with a password", MACHINE, machine("m", { bmc: { ...bmc, address: "redfish://root:pw@h" } }), /spec\.bmc\.address/],
    [
      "a fingerprint with colons",
      MACHINE,
      machine("m", { bmc: { ...bmc, certificateSha256: "aa:bb" } }),
      /certificateSha256.*64 lower case/s,
    ],
    [
      "a fingerprint and no verification",
      MACHINE,
      machine("m", { bmc: { ...bmc, certificateSha256: "a".repeat(64), insecureSkipVerify: true } }),
      /spec\.bmc.*exclude each other/s,
    ],
    ["a machine's name with a dot", MACHINE, machine("rack1.server2"), /metadata\.name becomes a host name/],
    ["a misspelt field", MACHINE, machine("m", { eraze: true }), /unknown field "spec\.eraze"/],
    ["a root device that says nothing", MACHINE, machine("m", { rootDevice: {} }), /spec\.rootDevice/],
    ["a short digest", OS_IMAGE, image({ sha256: "abc" }), /spec\.sha256.*64 lower case hexadecimal/s],
    ["an image by FTP", OS_IMAGE, image({ url: "ftp://h/x" }), /spec\.url.*must be http/s],
    ["an unknown format", OS_IMAGE, image({ format: "qcow2" }), /spec\.format.*ext4\+zstd/s],
    ["a kernel argument with a blank", OS_IMAGE, image({ kernelArguments: ["a b"] }), /spec\.kernelArguments\[0\].*no blanks/s],
    ["a tenant's name with a dot", VIRTUAL_CLUSTER, virtualCluster("a.b", {}), /metadata\.name becomes a label/],
    [
      "a pod network with host bits",
      VIRTUAL_CLUSTER,
      virtualCluster("a", { podCIDR: "10.244.0.1/16" }),
      /spec\.podCIDR.*without host bits/s,
    ],
    ["a pod network that is none", VIRTUAL_CLUSTER, virtualCluster("a", { podCIDR: "everything" }), /spec\.podCIDR.*IPv4 network/s],
    ["a version that is none", VIRTUAL_CLUSTER, virtualCluster("a", { version: "latest" }), /spec\.version.*1\.36/s],
    ["a mode there is not", VIRTUAL_CLUSTER, virtualCluster("a", { nodeMode: "shared" }), /spec\.nodeMode.*private/s],
  ];
  test.each(rows)("%s", async (_, kind, object, message) => {
    const error = await refusal(host.kube.create(kind, object as Resource));
    expect(error.code).toBe("IRW_KUBE_REFUSED");
    expect(error.message).toMatch(message);
  });

  test("a machine goes from claim to claim only through its release, and keeps its MAC meanwhile", async () => {
    const claim = (uid: string) => ({ claimRef: { name: `claim-${uid}`, uid, tenant: "default.acme" } });
    const free = await host.kube.create(MACHINE, machine("claimed"));
    const held = await host.kube.replace(MACHINE, { ...free, spec: { ...free.spec, ...claim("1") } });
    const other = await refusal(host.kube.replace(MACHINE, { ...held, spec: { ...held.spec, ...claim("2") } }));
    expect(other.message).toMatch(/spec\.claimRef.*only through its release/s);
    const moved = await refusal(host.kube.patch(MACHINE, "claimed", undefined, { spec: { bootMAC: "52:54:00:77:00:09" } }));
    expect(moved.message).toMatch(/spec\.bootMAC.*while a claim holds/s);
    const late = await refusal(host.kube.replace(MACHINE, { ...free, spec: { ...free.spec, erase: true } }));
    expect(late.code).toBe("IRW_KUBE_CONFLICT");
    const { claimRef: _gone, ...spec } = held.spec;
    const released = await host.kube.replace(MACHINE, { ...held, spec });
    await host.kube.replace(MACHINE, { ...released, spec: { ...spec, ...claim("2") } });
    await host.kube.delete(MACHINE, "claimed");
  });

  test("the fence only grows", async () => {
    const created = await host.kube.create(MACHINE, machine("fenced"));
    const operation = {
      kind: "inspect",
      state: "Running",
      done: [],
      startedAt: "2026-01-01T00:00:00Z",
      deadline: "2026-01-01T00:10:00Z",
      attempt: 1,
    } as const;
    const two = await host.kube.replaceStatus(MACHINE, {
      ...created,
      status: { phase: "Inspecting", operation: { ...operation, fence: 2 } },
    });
    const error = await refusal(host.kube.replaceStatus(MACHINE, { ...two, status: { operation: { ...operation, fence: 1 } } }));
    expect(error.message).toMatch(/status\.operation\.fence.*only grows/s);
    await host.kube.delete(MACHINE, "fenced");
  });

  test("a tenant's networks stay", async () => {
    await host.kube.create(VIRTUAL_CLUSTER, virtualCluster("stays", { podCIDR: "10.1.0.0/16" }) as never);
    const error = await refusal(host.kube.patch(VIRTUAL_CLUSTER, "stays", "default", { spec: { podCIDR: "10.2.0.0/16" } }));
    expect(error.message).toMatch(/spec\.podCIDR.*cannot change/s);
    await host.kube.delete(VIRTUAL_CLUSTER, "stays", { namespace: "default" });
  });

  test("what is not there is undefined, what is not served is an error", async () => {
    expect(await host.kube.get(MACHINE, "nobody")).toBeUndefined();
    expect(await host.kube.get(SECRET, "nobody", "nowhere")).toBeUndefined();
    await host.kube.delete(MACHINE, "nobody");
    const unserved: Kind = { group: "ironwright.dev", version: "v9", kind: "Machine", plural: "machines", namespaced: false };
    expect((await refusal(host.kube.get(unserved, "x"))).code).toBe("IRW_KUBE_REFUSED");
    expect((await refusal(host.kube.delete(unserved, "x"))).code).toBe("IRW_KUBE_REFUSED");
  });
});

test("the columns people read", async () => {
  const created = await host.kube.create(MACHINE, machine("shown", { position: { rack: "r1" } }));
  await host.kube.replaceStatus(MACHINE, {
    ...created,
    status: { phase: "Available", power: "Off", summary: { cpu: "2", memory: "1.5Gi", gpus: "2× H100" } },
  });
  const columns = async (path: string) => {
    const table = (await host.kube.raw("GET", path, undefined, { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" })) as {
      columnDefinitions: { name: string; priority: number }[];
      rows: { cells: unknown[] }[];
    };
    return { names: table.columnDefinitions.filter((one) => one.priority === 0).map((one) => one.name), cells: table.rows[0]?.cells };
  };
  const machines = await columns("/apis/ironwright.dev/v1alpha1/machines/shown");
  expect(machines.names).toEqual(["Name", "Phase", "Power", "Rack", "CPU", "Memory", "GPUs", "Claim", "Tenant", "Age"]);
  expect(machines.cells?.slice(0, 7)).toEqual(["shown", "Available", "Off", "r1", "2", "1.5Gi", "2× H100"]);
  expect((await columns("/apis/ironwright.dev/v1alpha1/virtualclusters")).names).toEqual([
    "Name",
    "Phase",
    "Sleep",
    "Nodes",
    "Version",
    "Endpoint",
    "Age",
  ]);
  expect((await columns("/apis/karpenter.sh/v1/nodepools")).names).toEqual(["Name", "NodeClass", "Nodes", "Ready", "Age"]);
  expect((await columns("/apis/karpenter.sh/v1/nodeclaims")).names).toEqual(["Name", "Type", "Capacity", "Zone", "Node", "Ready", "Age"]);
  await host.kube.delete(MACHINE, "shown");
});

test("lists are paged, and selectors select", async () => {
  await host.kube.apply(NAMESPACE, { apiVersion: "v1", kind: "Namespace", metadata: { name: "many" } });
  const names = Array.from({ length: 620 }, (_, at) => `c${String(at).padStart(4, "0")}`);
  for (let at = 0; at < names.length; at += 50) {
    await Promise.all(
      names.slice(at, at + 50).map((name, index) =>
        host.kube.create(CONFIG_MAP, {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name, namespace: "many", labels: { odd: String(index % 2) } },
        }),
      ),
    );
  }
  const { items } = await host.kube.list(CONFIG_MAP, { namespace: "many", labelSelector: "odd" });
  expect(items.map((item) => item.metadata.name)).toEqual(names);
  expect(items[0]).toMatchObject({ apiVersion: "v1", kind: "ConfigMap" });
  expect((await host.kube.list(CONFIG_MAP, { namespace: "many", labelSelector: "odd=1" })).items).toHaveLength(310);
});

test("apply takes our fields back and leaves others'", async () => {
  const at = { namespace: "default", name: "applied" };
  const ours = { apiVersion: "v1", kind: "ConfigMap", metadata: at, data: { ours: "1" } };
  await host.kube.apply(CONFIG_MAP, ours);
  await host.kube.raw(
    "PATCH",
    "/api/v1/namespaces/default/configmaps/applied?fieldManager=somebody",
    { data: { ours: "2", theirs: "3" } },
    { contentType: "application/merge-patch+json" },
  );
  expect((await host.kube.apply(CONFIG_MAP, ours)).data).toEqual({ ours: "1", theirs: "3" });
  await host.kube.delete(CONFIG_MAP, "applied", { namespace: "default" });
});

test("deleting by uid leaves another one of the name alone", async () => {
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "again", namespace: "default" } } as const;
  const first = await host.kube.create(CONFIG_MAP, object);
  expect((await refusal(host.kube.create(CONFIG_MAP, object))).code).toBe("IRW_KUBE_CONFLICT");
  await host.kube.delete(CONFIG_MAP, "again", { namespace: "default", uid: first.metadata.uid ?? "" });
  const second = await host.kube.create(CONFIG_MAP, object);
  await host.kube.delete(CONFIG_MAP, "again", { namespace: "default", uid: first.metadata.uid ?? "" });
  expect((await host.kube.get(CONFIG_MAP, "again", "default"))?.metadata.uid).toBe(second.metadata.uid);
  await host.kube.delete(CONFIG_MAP, "again", { namespace: "default" });
});

test("an eviction is evicted, blocked or gone", async () => {
  await host.kube.create(SERVICE_ACCOUNT, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default", namespace: "default" },
  });
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "default", labels: { app: "p" } },
    spec: { containers: [{ name: "c", image: "i" }] },
  } as const;
  await host.kube.create(POD, pod);
  await host.kube.create(PDB, {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: "b", namespace: "default" },
    spec: { minAvailable: 1, selector: { matchLabels: { app: "p" } } },
  });
  await host.kube.patch(POD, "p", "default", { status: { phase: "Running" } }, { subresource: "status" });
  expect(await host.kube.evict("default", "p")).toBe("blocked");
  await host.kube.delete(PDB, "b", { namespace: "default" });
  expect(await host.kube.evict("default", "p", { uid: "another" })).toBe("gone");
  expect(await host.kube.evict("default", "p", { gracePeriodSeconds: 0 })).toBe("evicted");
  expect(await host.kube.evict("default", "p")).toBe("gone");
});

test("events: equal ones become one with a count, many alike become one", async () => {
  const object = await host.kube.create(MACHINE, machine("eventful"));
  const events = eventRecorder({ kube: host.kube, component: "test", clock: systemClock, log: host.log });
  for (let at = 0; at < 5; at++) events.record(object, "Normal", "PoweredOn", "the BMC says On");
  for (let at = 0; at < 20; at++) events.record(object, "Warning", "StepFailed", `try ${at}`);
  await events.flush();
  events.record(object, "Normal", "PoweredOn", "the BMC says On");
  await events.flush();
  const { items } = await host.kube.list(EVENT, { fieldSelector: `involvedObject.uid=${object.metadata.uid}` });
  const of = (reason: string) => items.filter((event) => event.reason === reason);
  expect(of("PoweredOn")).toMatchObject([{ type: "Normal", count: 6, involvedObject: { kind: "Machine", name: "eventful" } }]);
  expect(of("StepFailed")).toHaveLength(11);
  expect(of("StepFailed").find((event) => event.message?.startsWith("(combined"))).toMatchObject({ count: 10 });
  await host.kube.delete(MACHINE, "eventful");
});

test("Karpenter's definitions are left alone where they are somebody else's, and must be the same", async () => {
  const name = "nodeclaims.karpenter.sh";
  await host.kube.patch(CRD, name, undefined, { metadata: { labels: { "app.kubernetes.io/managed-by": "helm" } } });
  const before = await host.kube.get(CRD, name);
  await installCrds(host.kube, CRDS, host.log);
  expect((await host.kube.get(CRD, name))?.metadata.resourceVersion).toBe(before?.metadata.resourceVersion);

  const ours = parse(readFileSync(join(CRDS, "karpenter.sh_nodeclaims.yaml"), "utf8")) as CustomResourceDefinition;
  const path = "/spec/versions/0/additionalPrinterColumns/0/name";
  await host.kube.patch(CRD, name, undefined, [{ op: "replace", path, value: "Kind" }], { type: "json" });
  const error = await refusal(installCrds(host.kube, CRDS, host.log));
  expect(error.code).toBe("IRW_CRD_FOREIGN");
  expect(error.message).toContain("spec.versions[0].additionalPrinterColumns[0].name");

  await host.kube.apply(CRD, { ...ours, metadata: { ...ours.metadata, labels: { "app.kubernetes.io/managed-by": "ironwright" } } });
  await installCrds(host.kube, CRDS, host.log);
  expect(await host.kube.get(NODE_CLAIM, "x")).toBeUndefined();
});

test("a reflector sees what comes, changes and goes, also after the apiserver was killed", async () => {
  const changed: string[] = [];
  const { kube, log } = host;
  await kube.create(MACHINE, machine("before"));
  const machines = reflector({
    kube,
    kind: MACHINE,
    clock: systemClock,
    log: log.child({}, { level: "error" }),
    onChange: (key) => changed.push(key),
  });
  await machines.start();
  expect(changed).toEqual(["before"]);
  expect(machines.get("before")?.metadata).not.toHaveProperty("managedFields");

  const created = await kube.create(MACHINE, machine("seen"));
  await until("seen", () => machines.get("seen"));
  expect(keyOf(created)).toBe("seen");
  await kube.patch(MACHINE, "seen", undefined, { spec: { erase: true } });
  await until("changed", () => machines.get("seen")?.spec.erase === true);
  await kube.delete(MACHINE, "before");
  await until("gone", () => !machines.get("before"));

  const apiserver = (await host.supervisor.list()).find((child) => child.name === "host-apiserver");
  process.kill(apiserver?.pid ?? 0, "SIGKILL");
  const revived = await until("restarted", async () =>
    (await host.supervisor.list()).find((child) => child.name === "host-apiserver" && child.ready && child.pid !== apiserver?.pid),
  );
  expect(revived).toMatchObject({ restarts: 1, reason: "it was ended by SIGKILL" });
  expect(revived.lastLog).toBeTruthy();
  await kube.create(MACHINE, machine("after"));
  await kube.delete(MACHINE, "seen");
  await until("seen after the restart", () => machines.get("after") && !machines.get("seen"));
  expect(machines.age()).toBeLessThan(60_000);
  await machines.stop();
  await kube.delete(MACHINE, "after");
});

test("secrets are unreadable in etcd", async () => {
  const password = "correct horse battery staple";
  await host.kube.create(SECRET, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "bmc", namespace: "default" },
    stringData: { password },
  });
  await host.kube.create(CONFIG_MAP, {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "open", namespace: "default" },
    data: { password },
  });
  const open = await etcdValue("/registry/configmaps/default/open");
  expect(open.includes(password)).toBe(true);
  const stored = await etcdValue("/registry/secrets/default/bmc");
  expect(stored.toString("latin1")).toMatch(/^k8s:enc:secretbox:v1:first:/);
  expect(stored.includes(password)).toBe(false);
  expect(stored.includes(Buffer.from(password).toString("base64"))).toBe(false);
  expect(Buffer.from((await host.kube.get(SECRET, "bmc", "default"))?.data?.password ?? "", "base64").toString()).toBe(password);
});

/** A raw value by etcd's gRPC gateway, with the apiserver's own certificate. */
async function etcdValue(key: string): Promise<Buffer> {
  const { etcd } = JSON.parse(readFileSync(join(host.dir, "host", "ports.json"), "utf8")) as { etcd: number };
  const file = (name: string) => readFileSync(join(host.dir, "pki", "host", name));
  const text = await new Promise<string>((resolve, reject) => {
    const call = request(
      `https://127.0.0.1:${etcd}/v3/kv/range`,
      { method: "POST", ca: file("etcd-ca.crt"), cert: file("etcd-client.crt"), key: file("etcd-client.key"), agent: false },
      (answer) => {
        let body = "";
        answer.setEncoding("utf8");
        answer.on("data", (chunk: string) => {
          body += chunk;
        });
        answer.once("end", () => resolve(body));
      },
    );
    call.once("error", reject);
    call.end(JSON.stringify({ key: Buffer.from(key).toString("base64") }));
  });
  const { kvs } = JSON.parse(text) as { kvs?: { value: string }[] };
  return Buffer.from(kvs?.[0]?.value ?? "", "base64");
}

test("without credentials there is health and nothing else; etcd wants a certificate", async () => {
  const server = new URL(host.kube.server);
  const ca = readFileSync(join(host.dir, "pki", "host", "server-ca.crt"));
  const status = (path: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      request(new URL(path, server), { ca, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      })
        .once("error", reject)
        .end();
    });
  expect(await status("/readyz")).toBe(200);
  expect(await status("/version")).toBe(401);
  expect(await status("/api/v1/namespaces")).toBe(401);
  const { etcd } = JSON.parse(readFileSync(join(host.dir, "host", "ports.json"), "utf8")) as { etcd: number };
  await expect(
    new Promise((resolve, reject) => {
      request(`https://127.0.0.1:${etcd}/version`, { rejectUnauthorized: false, agent: false }, resolve).once("error", reject).end();
    }),
  ).rejects.toThrow();
});

test("children outlive a killed supervisor, and the next one adopts them", async () => {
  const before = await host.supervisor.list();
  const supervisor = await supervisorPid();
  process.kill(supervisor, "SIGKILL");
  await until("killed", () => !isRunning(supervisor));
  expect(await host.kube.raw("GET", "/readyz")).toBe("ok");

  // two daemons may start at once
  await Promise.all([startEmbeddedSupervisor(host), startEmbeddedSupervisor(host)]);
  expect(await supervisorPid()).not.toBe(supervisor);
  await host.startAgain();
  const after = await host.supervisor.list();
  const pids = (list: typeof before) => Object.fromEntries(list.map((child) => [child.name, child.pid]));
  expect(pids(after)).toEqual(pids(before));
  expect(after.every((child) => child.ready)).toBe(true);
});

async function supervisorPid(): Promise<number> {
  const { request: get } = await import("node:http");
  return new Promise((resolve, reject) => {
    get({ socketPath: join(host.dir, "run", "supervisor.sock"), path: "/", agent: false }, (answer) => {
      answer.once("data", (chunk: Buffer) => resolve((JSON.parse(chunk.toString()) as { pid: number }).pid));
    })
      .once("error", reject)
      .end();
  });
}

function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

test("a shutdown leaves no process", async () => {
  const pids = [await supervisorPid(), ...(await host.supervisor.list()).map((child) => child.pid ?? 0)];
  expect(pids).toHaveLength(5);
  expect(pids.every(isRunning)).toBe(true);
  await host.supervisor.shutdown();
  expect(pids.filter(isRunning)).toEqual([]);
});
