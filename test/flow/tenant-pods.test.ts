import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ssh2 from "ssh2";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { VIRTUAL_CLUSTER } from "../../src/core/resources.ts";
import { type Kube, NODE, POD } from "../../src/kube/index.ts";
import { loadPlaybooks } from "../../src/machine/playbook.ts";
import { runPlaybook } from "../../src/machine/run-playbook.ts";
import { createCa, issue } from "../../src/supervise/index.ts";
import type { TenantController } from "../../src/tenant/index.ts";
import { eventually } from "./eventually.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { type NodeSystem, nodeSystems, unpackImage } from "./node-system.ts";
import { bundleOf, cellsOf, controllerOf, createTenant, kubeconfigText, kubeOfPeople, readyTenant } from "./tenant-world.ts";

const ACME = { namespace: "default", name: "acme" };
const UMBRELLA = { namespace: "default", name: "umbrella" };
const PORTS = { from: 21_531, to: 21_539 };
const GATEWAY_UID = 2_966_000;
/** Of both tenants: their networks are the same. */
const POD_IP = "10.244.0.5";
const POD_CIDR = "10.244.0.0/24";
const SERVICE = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web" },
  spec: {
    selector: { app: "web" },
    ports: [
      { name: "http", port: 80, targetPort: 8080 },
      { name: "hook", port: 443, targetPort: 8443 },
    ],
  },
};
const isRoot = process.getuid?.() === 0;
const playbooks = loadPlaybooks(fileURLToPath(new URL("../../playbooks", import.meta.url)));

let host: HostControlPlane;
let tenants: TenantController;
let people: Kube;
let ca: string;
let node: NodeSystem;
let other: NodeSystem;

const identity = (name: string) => ({ claim: `claim-${name}`, claimUid: `uid-${name}`, nodeName: name });

beforeAll(async () => {
  if (!isRoot) return;
  host = await withHost({ logLevel: "error" });
  const image = unpackImage(host.artifacts.node?.image ?? "", host.dir);
  tenants = controllerOf(host, PORTS, cellsOf(host, GATEWAY_UID, PORTS.from - 1));
  await tenants.start();
  await Promise.all([ACME, UMBRELLA].map(({ name }) => createTenant(host, name)));
  const third = process.pid % 125;
  const system = (name: string, link: number) => ({ name, dir: host.dir, image, link: `10.97.${link}`, pod: POD_IP });
  [node, other] = (await nodeSystems([system("an", third), system("un", third + 125)])) as [NodeSystem, NodeSystem];
  const authority = await createCa("hook");
  ca = authority.certificate;
  const leaf = await issue({ ca: authority, commonName: "hook", sans: ["web.default.svc"], usages: ["server"], days: 1 });
  const tls = { cert: leaf.certificate, key: leaf.key };
  await Promise.all([
    node.stand("pod", [
      { name: "acme's pod", address: POD_IP, port: 8080 },
      { name: "hook", address: POD_IP, port: 8443, tls },
    ]),
    other.stand("pod", [{ name: "umbrella's pod", address: POD_IP, port: 8080 }]),
    other.stand("node", [{ name: "the other's kubelet", address: other.address, port: 10250 }]),
    node.stand("node", [
      { name: "the node's loopback", address: "127.0.0.1", port: 8080 },
      { name: "the node itself", address: node.address, port: 8080 },
    ]),
  ]);
  await Promise.all([readyTenant(host, ACME), readyTenant(host, UMBRELLA)]);
  people = await kubeOfPeople(host, ACME);
  for (const ref of [ACME, UMBRELLA]) writeFileSync(kubeconfigOf(ref), await kubeconfigText(host, ref), { mode: 0o600 });
}, 120_000);
afterAll(async () => {
  await people?.close();
  await tenants?.stop();
  await Promise.all([node?.remove(), other?.remove(), host?.stop()]);
});

describe.skipIf(!isRoot)("pods of a tenant, from its apiserver", () => {
  test("a node that joined without the tenant's key gives no way to them, and it is said so", async () => {
    await tenants.admit(ACME, { ...identity("a-1"), addresses: [node.address] });
    await declare(ACME, "web", "a-1", POD_IP);
    await eventually("it is refused", async () =>
      expect(await proxied(ACME, "web")).toMatch(/none of the tenant's nodes gives a way to it/),
    );
    await tenants.revoke(ACME, identity("a-1"));
  });

  test("are reached by the pod proxy through SSH to the node, each tenant's its own, though their networks are the same", async () => {
    await Promise.all([joinNode(ACME, "a-1", node), joinNode(UMBRELLA, "u-1", other)]);
    await Promise.all([declare(ACME, "web-1", "a-1", POD_IP), declare(UMBRELLA, "web", "u-1", POD_IP)]);
    await eventually("acme's answers", async () => expect(await proxied(ACME, "web-1", "/a")).toBe("acme's pod GET /a"));
    await eventually("umbrella's answers", async () => expect(await proxied(UMBRELLA, "web", "/u")).toBe("umbrella's pod GET /u"));
    expect([await node.sessions(), await other.sessions()]).toEqual([1, 1]);
    await people.raw("POST", "/api/v1/namespaces/default/services", SERVICE);
    await eventually("its Service answers", async () =>
      expect(await asked(ACME, "/api/v1/namespaces/default/services/http:web:80/proxy/s")).toBe("acme's pod GET /s"),
    );
  });

  test("behind a Service are webhooks and APIServices, without anybody on the node who answers at the Service's address", async () => {
    await people.raw("POST", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingWebhookConfiguration",
      metadata: { name: "hook" },
      webhooks: [
        {
          name: "hook.test.dev",
          admissionReviewVersions: ["v1"],
          sideEffects: "None",
          failurePolicy: "Fail",
          timeoutSeconds: 5,
          clientConfig: {
            caBundle: Buffer.from(ca).toString("base64"),
            service: { namespace: "default", name: "web", path: "/admit" },
          },
          rules: [{ apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"], operations: ["CREATE"] }],
          matchConditions: [{ name: "mine", expression: "object.metadata.name == 'hooked'" }],
        },
      ],
    });
    const hooked = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "hooked" } };
    await eventually("it is called", async () => {
      await people.raw("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", hooked);
      expect(node.seen("hook")).toBeGreaterThan(0);
    });
    await people.raw("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/hook");
    await people.raw("POST", "/apis/apiregistration.k8s.io/v1/apiservices", {
      apiVersion: "apiregistration.k8s.io/v1",
      kind: "APIService",
      metadata: { name: "v1.pods.test.dev" },
      spec: {
        ...{ group: "pods.test.dev", version: "v1", groupPriorityMinimum: 100, versionPriority: 100 },
        ...{ insecureSkipTLSVerify: true, service: { namespace: "default", name: "web" } },
      },
    });
    await eventually("its API is served", async () =>
      expect(await asked(ACME, "/apis/pods.test.dev/v1/things")).toBe("hook GET /apis/pods.test.dev/v1/things"),
    );
    await people.raw("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/v1.pods.test.dev");
  });

  test.each<[string, string | (() => string), RegExp]>([
    ["the node's loopback", "127.0.0.1", /not allowed|loopback/],
    ["the cloud's metadata", "169.254.169.254", /not allowed|metadata/],
    ["a port of the node that is no kubelet's", () => node.address, /port 8080 of a node is not to be dialled/],
    ["another tenant's node", () => other.address, /a node of another tenant|not an address of the tenant's/],
    ["a pod of a network that is another tenant's", "10.245.0.5", /not an address of the tenant's nodes, pods or services/],
    ["this host", () => node.host, /an address of this host/],
  ])("a Pod that says it is at %s leads nowhere", async (_, at, reason) => {
    const address = typeof at === "string" ? at : at();
    const name = `liar-${address.replaceAll(".", "-")}`;
    await declare(ACME, name, "a-1", address);
    expect(await proxied(ACME, name)).toMatch(reason);
    for (const who of ["the node's loopback", "the node itself"]) expect(node.seen(who)).toBe(0);
    for (const who of ["the other's kubelet"]) expect(other.seen(who)).toBe(0);
  });

  test("a node that shows another host key is not gone through", async () => {
    await joinNode(UMBRELLA, "u-1", other, node.hostKey);
    await eventually("it is refused", async () => expect(await proxied(UMBRELLA, "web")).toMatch(/the host key at \S+ is ssh-ed25519/));
    await joinNode(UMBRELLA, "u-1", other);
    await eventually("it answers again", async () => expect(await proxied(UMBRELLA, "web")).toContain("umbrella's pod"));
  });

  test("a tenant that sleeps has no session open, and whoever wakes it reaches its pods", async () => {
    expect(await node.sessions()).toBe(1);
    await host.kube.patch(VIRTUAL_CLUSTER, ACME.name, ACME.namespace, { spec: { sleep: { state: "Asleep", nodes: "keep" } } });
    await eventually("no session is left", async () => expect(await node.sessions()).toBe(0));
    await eventually("it answers again", async () => expect(await proxied(ACME, "web-1")).toContain("acme's pod"));
  });

  test("a node that is given back closes the way: the session ends, and nothing opens another", async () => {
    await tenants.revoke(UMBRELLA, identity("u-1"));
    await eventually("no session is left", async () => expect(await other.sessions()).toBe(0));
    expect(await proxied(UMBRELLA, "web")).toMatch(/none of the tenant's nodes gives a way to it/);
    expect(await proxied(ACME, "web-1")).toContain("acme's pod");
  });
});

describe.skipIf(!isRoot)("the key for it", () => {
  test("is the gateway's to read, and in no cell", async () => {
    const dir = join(host.dir, "gateway-keys");
    const key = (await bundleOf(host, ACME))["ssh-forwarding.key"] ?? "";
    const rights = (path: string) => {
      const { uid, gid, mode } = statSync(path);
      return [uid, gid, (mode & 0o7777).toString(8)];
    };
    const files = readdirSync(dir);
    expect(files).toHaveLength(2);
    expect(files.map((file) => readFileSync(join(dir, file), "utf8"))).toContain(key);
    expect(rights(dir)).toEqual([0, GATEWAY_UID, "2750"]);
    for (const file of files) expect(rights(join(dir, file))).toEqual([0, GATEWAY_UID, "640"]);

    const cells = (await host.supervisor.list()).filter(({ name }) => name.startsWith("tenant-"));
    expect(cells).toHaveLength(8);
    for (const { pid } of cells) {
      const root = `/proc/${pid}/root`;
      expect([existsSync(join(root, host.dir)), existsSync(join(root, "gateway-keys"))]).toEqual([false, false]);
      const group = /^Gid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
      expect(group.split("\t")).not.toContain(String(GATEWAY_UID));
      if (!existsSync(join(root, "tenant"))) continue;
      const mine = readdirSync(join(root, "tenant"), { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
      expect(mine.length).toBeGreaterThan(10);
      for (const one of mine) expect(readFileSync(join(one.parentPath, one.name), "utf8")).not.toContain("OPENSSH");
    }
  });

  test("forwards, and does nothing else on the node", async () => {
    const client = await loggedIn(node, "ironwright-gateway", ACME);
    const said = (ask: (done: (error: Error | undefined) => void) => void) =>
      new Promise<string>((resolve) => ask((error) => resolve(error ? "refused" : "done")));
    expect({
      exec: await said((done) => client.exec("id", done)),
      shell: await said((done) => client.shell(done)),
      sftp: await said((done) => client.sftp(done)),
      remote: await said((done) => client.forwardIn("127.0.0.1", 0, done)),
      unix: await said((done) => client.openssh_forwardOutStreamLocal("/run/containerd/containerd.sock", done)),
      pod: await said((done) => client.forwardOut("127.0.0.1", 0, POD_IP, 8080, done)),
    }).toEqual({ exec: "refused", shell: "refused", sftp: "refused", remote: "refused", unix: "refused", pod: "done" });
    client.end();
  });

  test("is nobody else's way in, and nobody else's key is its user's", async () => {
    await expect(loggedIn(node, "root", ACME)).rejects.toThrow(/authentication/);
    await expect(loggedIn(node, "ironwright-gateway", UMBRELLA)).rejects.toThrow(/authentication/);
    await expect(loggedIn(other, "ironwright-gateway", ACME)).rejects.toThrow(/authentication/);
    // the daemon's own went with the join
    await expect(node.ssh()).rejects.toMatchObject({ code: "IRW_SSH_REFUSED" });
  });
});

/** What the join saga does with a machine that was just installed, and its Node once it is Ready. */
async function joinNode(ref: typeof ACME, name: string, system: NodeSystem, hostKey = system.hostKey): Promise<void> {
  const { forwardingKey } = await tenants.admit(ref, { ...identity(name), addresses: [system.address] });
  const ssh = await system.ssh().catch(() => undefined);
  if (ssh) {
    const play = (playbook: string, vars: Record<string, string>) =>
      runPlaybook(playbooks.get(playbook), {
        ...{ ssh, vars, machine: name, fence: 1, keeper: playbooks.keeper },
        ...{ clock: systemClock, log: host.log, signal: AbortSignal.timeout(60_000) },
      });
    for (const _ of ["first", "again"]) expect(await play("join/forwarding", { public_key: forwardingKey ?? "" })).toEqual({ road: true });
    await play("install/remove-key", {});
    ssh.close();
  }
  await tenants.noteWay(ref, identity(name), { podCIDR: POD_CIDR, ssh: { port: 22, hostKey } });
}

/** A running Pod, as its kubelet would tell of it; where it is, is the tenant's to write. */
async function declare({ name: tenant }: typeof ACME, name: string, nodeName: string, podIP: string): Promise<void> {
  const kube = tenant === ACME.name ? people : await kubeOfPeople(host, UMBRELLA);
  if (!(await kube.get(NODE, nodeName)))
    await kube.create(NODE, { apiVersion: "v1", kind: "Node", metadata: { name: nodeName }, spec: {} });
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { app: name.replace(/-\d$/, "") } },
    spec: { nodeName, containers: [{ name: "c", image: "i" }] },
  };
  // no Pod before its ServiceAccount, which a controller makes once the apiserver is there
  await eventually("a Pod is taken", () => kube.raw("POST", "/api/v1/namespaces/default/pods", pod));
  const status = { phase: "Running", podIP, podIPs: [{ ip: podIP }], conditions: [{ type: "Ready", status: "True" }] };
  await kube.patch(POD, name, "default", { status }, { subresource: "status" });
  if (kube !== people) await kube.close();
}

function kubeconfigOf({ name }: typeof ACME): string {
  return join(host.dir, `${name}.kubeconfig`);
}

/** `kubectl get --raw`: what it says, or complains of. */
function asked(ref: typeof ACME, path: string): Promise<string> {
  const options = ["--kubeconfig", kubeconfigOf(ref), "--cache-dir", join(host.dir, "kubectl"), "get", "--raw", path];
  return new Promise((resolve) =>
    execFile(join(host.artifacts.kube.bin, "kubectl"), options, { timeout: 30_000 }, (error, out, err) => resolve(error ? err : out)),
  );
}

function proxied(ref: typeof ACME, pod: string, path = "/"): Promise<string> {
  return asked(ref, `/api/v1/namespaces/default/pods/http:${pod}:8080/proxy${path}`);
}

/** Whoever has the tenant's forwarding key. */
async function loggedIn(at: NodeSystem, username: string, ref: typeof ACME): Promise<ssh2.Client> {
  const privateKey = (await bundleOf(host, ref))["ssh-forwarding.key"] ?? "";
  const client = new ssh2.Client();
  return new Promise((resolve, reject) => {
    client.once("error", reject);
    client.once("ready", () => resolve(client));
    client.connect({ host: at.address, username, privateKey, authHandler: ["publickey"], readyTimeout: 20_000 });
  });
}
