import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { condition, isTrue } from "../../src/core/conditions.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../../src/core/resources.ts";
import type { SleepSpec } from "../../src/core/virtual-clusters.ts";
import { CONFIG_MAP, CSR, connectKube, type Kube, NAMESPACE, NODE, SECRET } from "../../src/kube/index.ts";
import { createMetrics } from "../../src/observe/index.ts";
import { createCa } from "../../src/supervise/index.ts";
import { KEY_TIMES, type TenantController } from "../../src/tenant/index.ts";
import { eventually } from "./eventually.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import {
  bundleOf,
  cellsOf,
  controllerOf,
  createTenant,
  keyOfToken,
  kubeconfigText,
  kubeOfPeople,
  newKeys,
  pem,
  readyTenant,
  submit,
} from "./tenant-world.ts";

const ACME = { namespace: "default", name: "acme" };
const OWN = { namespace: "default", name: "own" };
const PORTS = { from: 21_511, to: 21_519 };
/** Short enough to see several renewals; a third must be left for all to be done in. */
const LEAF_MS = 20_000;
const isRoot = process.getuid?.() === 0;

let host: HostControlPlane;
let tenants: TenantController;
const metrics = createMetrics();

beforeAll(async () => {
  host = await withHost();
  tenants = newController();
  await tenants.start();
  await createTenant(host, ACME.name, { pki: {} });
  await readyTenant(host, ACME);
});
afterAll(async () => {
  await tenants?.stop();
  await host?.stop();
});

function newController(leafMs = KEY_TIMES.lives.leafMs): TenantController {
  return controllerOf(host, PORTS, {
    metrics,
    ...cellsOf(host, 2_967_000, PORTS.from - 1, 1536 * 2 ** 20),
    keyTimes: { lives: { ...KEY_TIMES.lives, leafMs }, spreadMs: 1_000, shortestOverlapMs: 1_000 },
  });
}

async function restart(leafMs?: number): Promise<void> {
  await tenants.stop();
  tenants = newController(leafMs);
  await tenants.start();
}

describe("leaves", () => {
  beforeAll(async () => {
    const first = await shown(ACME.name);
    await restart(LEAF_MS);
    // what is missing is made, and lives as long as it would now
    const leaves = Object.keys(await bundleOf(host, ACME)).filter((file) => file.endsWith(".crt") && !/ca|people/.test(file));
    await host.kube.patch(SECRET, `${ACME.name}-pki`, "default", { data: Object.fromEntries(leaves.map((file) => [file, null])) });
    await patch(ACME.name, { overlap: "2s" });
    await eventually("short lives begin", async () => another(first, await shown(ACME.name)));
  });
  afterAll(async () => {
    await restart();
    await eventually("leaves live long again", async () => {
      const ends = (await shown(ACME.name)).validToDate.getTime();
      expect(ends - Date.now()).toBeGreaterThan(KEY_TIMES.lives.leafMs / 2);
    });
  });

  test("are renewed in time, and no call of a client fails", async () => {
    const before = await processes(ACME.name);
    const first = await shown(ACME.name);
    const calls = await callThroughout(await kubeconfigText(host, ACME));
    const second = await eventually("another certificate is shown", async () => another(first, await shown(ACME.name)));
    const third = await eventually("and another", async () => another(second, await shown(ACME.name)));
    expect(third.validFromDate > first.validFromDate).toBe(true);
    // it opens connections to etcd with a certificate that was renewed meanwhile
    await calls.stop();
    expect(calls.failures).toEqual([]);
    expect(calls.count()).toBeGreaterThan(100);
    expect(await processes(ACME.name)).toEqual(before);
    expect(isTrue((await get(ACME.name)).status?.conditions, "CertificatesFresh")).toBe(true);
  });

  test("their ends are metrics", async () => {
    const text = await metrics.text();
    const seconds = Number(/expiry_seconds\{tenant="default.acme",name="apiserver"\} ([\d.]+)/.exec(text)?.[1]);
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThan(LEAF_MS / 1000);
    expect(text).toMatch(/expiry_seconds\{tenant="default.acme",name="ca"\} 3\d{8}/);
  });

  test.skipIf(!isRoot)("end while it is hibernated, and are good when it wakes", async () => {
    const frozen = await processes(ACME.name);
    const asleep = await shown(ACME.name);
    await sleep({ state: "Asleep" });
    await eventually("it sleeps", async () => expect((await get(ACME.name)).status?.sleep?.state).toBe("hibernated"));
    // the daemon is away meanwhile, too
    await tenants.stop();
    await eventually("its certificate ended", () => expect(Date.now()).toBeGreaterThan(asleep.validToDate.getTime()));
    tenants = newController(LEAF_MS);
    await tenants.start();
    await eventually("its file is renewed", async () => another(asleep, await written(ACME.name)));
    expect((await get(ACME.name)).status?.sleep?.state).toBe("hibernated");
    const people = await kubeOfPeople(host, ACME);
    expect(await people.get(NAMESPACE, "default")).toBeDefined();
    await people.close();
    await sleep(null);
    await eventually("it shows one that is good", async () => {
      const awake = another(asleep, await shown(ACME.name));
      expect(awake.validToDate.getTime()).toBeGreaterThan(Date.now());
    });
    expect(await processes(ACME.name)).toEqual(frozen);
  });
});

describe("authorities are changed with overlap", () => {
  let calls: Awaited<ReturnType<typeof callThroughout>>;
  let old: string;

  test("the next one is trusted first, and a daemon that dies in between goes on", async () => {
    old = await kubeconfigText(host, ACME);
    const people = connectKube(old);
    await people.create(NODE, { apiVersion: "v1", kind: "Node", metadata: { name: "veteran" }, spec: {} });
    await people.close();
    calls = await callThroughout(old);
    await patch(ACME.name, { authorities: 2, overlap: "2s" });
    await eventually("it is trusted", async () => expect((await get(ACME.name)).status?.pki?.authorities.generation).toBe(2));
    await restart();
  });

  test("then it issues; who knows the old one alone is still served", async () => {
    await eventually("it issues", async () => expect((await get(ACME.name)).status?.pki?.authorities.stage).toBe("Overlapping"));
    const bundle = await bundleOf(host, ACME);
    expect(new X509Certificate(bundle["ca.crt"] ?? "").subject).toBe("CN=kubernetes-2");
    await eventually("the apiserver shows a certificate of it", async () =>
      expect((await shown(ACME.name)).issuer).toBe("CN=kubernetes-2"),
    );
    const people = await kubeOfPeople(host, ACME);
    await eventually("namespaces publish both", async () => {
      const published = await people.get(CONFIG_MAP, "kube-root-ca.crt", "default");
      expect(published?.data?.["ca.crt"]?.match(/BEGIN CERTIFICATE/g)?.length).toBe(2);
    });
    await people.close();
    const stranger = connectKube(old);
    expect(await stranger.get(NAMESPACE, "default")).toBeDefined();
    await stranger.close();
  });

  test("what the controller-manager signs is of the new one", async () => {
    const people = await kubeOfPeople(host, ACME);
    await submit(people, "stranger", await pem(await newKeys(), "stranger"), "other");
    await people.patch(
      CSR,
      "stranger",
      undefined,
      { status: { conditions: [{ type: "Approved", status: "True", reason: "Test", message: "" }] } },
      { subresource: "approval" },
    );
    await eventually("it is signed", async () => {
      const csr = await people.get(CSR, "stranger");
      const certificate = new X509Certificate(Buffer.from(csr?.status?.certificate ?? "", "base64"));
      expect(certificate.issuer).toBe("CN=kubernetes-2");
    });
    await people.close();
  });

  test("a node that knows the old one alone keeps it, and is named", async () => {
    await eventually("it waits for the node", async () => expect((await get(ACME.name)).status?.pki?.waiting).toMatch(/: veteran$/));
    await calls.stop();
    expect(calls.failures).toEqual([]);
    const fresh = await callThroughout(await kubeconfigText(host, ACME));
    const people = await kubeOfPeople(host, ACME);
    await people.delete(NODE, "veteran");
    await people.close();
    await eventually("it is gone", async () =>
      expect((await get(ACME.name)).status?.pki?.authorities).toEqual({ generation: 2, stage: "Settled" }),
    );
    await eventually("who comes with the old one is refused", async () => {
      const stranger = connectKube(old);
      await expect(stranger.get(NAMESPACE, "default")).rejects.toThrow();
      await stranger.close();
    });
    await fresh.stop();
    expect(fresh.failures).toEqual([]);
    expect(Object.keys(await bundleOf(host, ACME)).filter((file) => /old|next|cross/.test(file))).toEqual([]);
  });
});

test("service account keys are changed with overlap: old tokens are good for a while, and then no more", async () => {
  const people = await kubeOfPeople(host, ACME);
  const token = async () => {
    const answer = (await people.raw("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: {},
    })) as { status: { token: string } };
    return answer.status.token;
  };
  const reviewed = async (text: string) => {
    const answer = (await people.raw("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      spec: { token: text },
    })) as { status: { authenticated?: boolean } };
    return answer.status.authenticated === true;
  };
  const before = await eventually("a token", token);
  await patch(ACME.name, { serviceAccountKeys: 2, overlap: "8s" });
  await eventually("another key signs", async () =>
    expect((await get(ACME.name)).status?.pki?.serviceAccountKeys.stage).toBe("Overlapping"),
  );
  const after = await eventually("a token of the new key", async () => {
    const text = await token();
    expect(keyOfToken(text)).not.toBe(keyOfToken(before));
    return text;
  });
  expect([await reviewed(before), await reviewed(after)]).toEqual([true, true]);
  await eventually("the old key is gone", async () => expect((await get(ACME.name)).status?.pki?.serviceAccountKeys.stage).toBe("Settled"));
  await eventually("old tokens are refused", async () => expect([await reviewed(before), await reviewed(after)]).toEqual([false, true]));
  await people.close();
});

test("a user's own authority is used, kept, and changed by the user alone", async () => {
  const mine = await createCa("corporate");
  await host.kube.create(SECRET, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "corporate", namespace: "default" },
    type: "kubernetes.io/tls",
    stringData: { "tls.crt": mine.certificate, "tls.key": mine.key },
  });
  await createTenant(host, OWN.name, { pki: { authoritySecret: "corporate" } });
  await readyTenant(host, OWN);
  expect((await shown(OWN.name)).issuer).toBe("CN=corporate");
  await host.kube.patch(SECRET, "corporate", "default", { stringData: { "tls.crt": "broken" } });
  await patch(OWN.name, { authoritySecret: "corporate", authorities: 2 });
  await eventually("it says that it cannot be used", async () => {
    const found = condition((await get(OWN.name)).status?.conditions, "CertificatesFresh");
    expect(found).toMatchObject({ status: "False", reason: "TenantAuthority" });
    expect(found?.message).toContain("Secret corporate: tls.crt");
  });
  expect((await get(OWN.name)).status?.phase).toBe("Ready");
  expect((await bundleOf(host, OWN))["ca.crt"]).toBe(mine.certificate);
});

async function patch(name: string, pki: NonNullable<VirtualCluster["spec"]["pki"]>): Promise<void> {
  await host.kube.patch(VIRTUAL_CLUSTER, name, "default", { spec: { pki } });
}

async function sleep(spec: SleepSpec | null): Promise<void> {
  await host.kube.patch(VIRTUAL_CLUSTER, ACME.name, "default", { spec: { sleep: spec } });
}

async function get(name: string): Promise<VirtualCluster> {
  const cluster = await host.kube.get(VIRTUAL_CLUSTER, name, "default");
  if (!cluster) throw new Error(`there is no ${name}`);
  return cluster;
}

async function processes(name: string) {
  const { uid = "" } = (await get(name)).metadata;
  const children = (await host.supervisor.list()).filter((child) => child.name.includes(uid));
  return children.map((child) => ({ name: child.name, pid: child.pid, restarts: child.restarts }));
}

/** The certificate the apiserver shows to a new connection. */
async function shown(name: string): Promise<X509Certificate> {
  const port = (await get(name)).status?.port ?? 0;
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
      const certificate = socket.getPeerX509Certificate();
      socket.destroy();
      if (certificate) resolve(certificate);
      else reject(new Error("it shows none"));
    });
    socket.setTimeout(5_000, () => socket.destroy(new Error("no answer")));
    socket.once("error", reject);
  });
}

async function written(name: string): Promise<X509Certificate> {
  const { uid = "" } = (await get(name)).metadata;
  return new X509Certificate(readFileSync(join(host.dir, "tenants", uid, "pki", "apiserver.pem")));
}

function another(before: X509Certificate, now: X509Certificate): X509Certificate {
  expect(now.serialNumber).not.toBe(before.serialNumber);
  return now;
}

/** A client that reads and writes all the time, by a kept connection and by new ones. */
async function callThroughout(config: string) {
  const failures: string[] = [];
  let count = 0;
  const ending = new AbortController();
  async function call(kube: Kube, name: string): Promise<void> {
    try {
      await kube.apply(CONFIG_MAP, {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name, namespace: "default" },
        data: { count: String(count) },
      });
      await kube.get(CONFIG_MAP, name, "default");
      count += 1;
    } catch (error) {
      failures.push(`${new Date().toISOString()} ${name}: ${String(error)}`);
    }
  }
  async function loop(name: string, fresh: boolean): Promise<void> {
    const kept = connectKube(config);
    while (!ending.signal.aborted) {
      const kube = fresh ? connectKube(config) : kept;
      await call(kube, name);
      if (fresh) await kube.close();
      await systemClock.sleep(20);
    }
    await kept.close();
  }
  const loops = [loop("kept", false), loop("fresh", true)];
  return {
    failures,
    count: () => count,
    async stop() {
      ending.abort();
      await Promise.all(loops);
    },
  };
}
