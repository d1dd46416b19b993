import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CRD, type CustomResourceDefinition, connectKube } from "../../src/kube/index.ts";
import { createCa, issue } from "../../src/supervise/index.ts";
import type { TenantController } from "../../src/tenant/index.ts";
import { ended } from "./boot-network.ts";
import { eventually } from "./eventually.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { plainCluster } from "./plain-cluster.ts";
import { cellsOf, controllerOf, createTenant, kubeconfigText, readyTenant } from "./tenant-world.ts";
import { CALLS, type Target } from "./upstream-calls.ts";

const ACME = { namespace: "default", name: "acme" };
const PORTS = { from: 21_471, to: 21_479 };

let host: HostControlPlane;
let tenants: TenantController;
let node: Bystander;
let ours: Target;
let plain: Target;

beforeAll(async () => {
  host = await withHost();
  node = await bystander(host.dir);
  tenants = controllerOf(host, PORTS, cellsOf(host, 2_962_000, PORTS.from - 1));
  await tenants.start();
  await createTenant(host, ACME.name);
  await createTenant(host, "umbrella");
  const plainConfig = await plainCluster(host);
  await readyTenant(host, ACME);
  // what a tenant may dial is its own nodes, so its webhook is on one
  await tenants.admit(ACME, { claim: "hook", claimUid: "hook", nodeName: "hook-1", addresses: [node.address] });
  await readyTenant(host, { ...ACME, name: "umbrella" });
  const acmeConfig = join(host.dir, "acme.kubeconfig");
  writeFileSync(acmeConfig, await kubeconfigText(host, ACME), { mode: 0o600 });
  ours = target(acmeConfig);
  plain = target(plainConfig);
}, 180_000);

afterAll(async () => {
  await ours?.kube.close();
  await plain?.kube.close();
  await tenants?.stop();
  await node?.remove();
  await host?.stop();
});

function target(kubeconfig: string): Target {
  const kubectl = join(host.artifacts.kube.bin, "kubectl");
  return { kube: connectKube(readFileSync(kubeconfig, "utf8")), kubectl, kubeconfig, webhook: node.webhook };
}

describe("a tenant's control plane and a plain one, side by side", () => {
  test.each(CALLS)("$name", async (call) => {
    const [here, there] = await Promise.all([call.run(ours), call.run(plain)]);
    expect(anonymous(here)).toEqual(anonymous(there));
  });
});

test("two tenants have CRDs of one name that say different things", async () => {
  const umbrella = connectKube(await kubeconfigText(host, { ...ACME, name: "umbrella" }));
  const crd = (kind: string, type: string): CustomResourceDefinition => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "gadgets.example.com" },
    spec: {
      group: "example.com",
      scope: "Cluster",
      names: { plural: "gadgets", singular: "gadget", kind },
      versions: [
        { name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object", properties: { spec: { type } } } } },
      ],
    },
  });
  const make = (kube: Target["kube"], kind: string, spec: unknown) =>
    kube.raw("POST", "/apis/example.com/v1/gadgets", { apiVersion: "example.com/v1", kind, metadata: { name: "g" }, spec });
  await ours.kube.create(CRD, crd("Gadget", "string"));
  await umbrella.create(CRD, crd("Gizmo", "integer"));
  await eventually("both are served", async () => {
    for (const kube of [ours.kube, umbrella]) await kube.raw("GET", "/apis/example.com/v1/gadgets");
  });
  expect(await make(ours.kube, "Gadget", "text")).toMatchObject({ kind: "Gadget", spec: "text" });
  expect(await make(umbrella, "Gizmo", 7)).toMatchObject({ kind: "Gizmo", spec: 7 });
  await expect(make(umbrella, "Gadget", 7)).rejects.toMatchObject({ code: "IRW_KUBE_REFUSED" });
  await umbrella.close();
});

/** What differs by nature: generated names and kubectl's warnings of its own. */
function anonymous(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll(/-[a-z0-9]{5,10}-[a-z0-9]{5}\b/g, "-X"));
}

/** A network namespace with one address that the host reaches, where a webhook serves: as a server of the tenant's would. */
interface Bystander {
  readonly address: string;
  readonly webhook: Target["webhook"];
  remove(): Promise<void>;
}

async function bystander(dir: string): Promise<Bystander> {
  const name = `iw-hook-${process.pid}`;
  const subnet = `10.98.${process.pid % 250}`;
  const ip = (...args: string[]) => execFileSync("ip", args);
  ip("netns", "add", name);
  ip("link", "add", `hook${process.pid % 100_000}`, "type", "veth", "peer", "name", "eth0", "netns", name);
  ip("addr", "add", `${subnet}.1/30`, "dev", `hook${process.pid % 100_000}`);
  ip("link", "set", `hook${process.pid % 100_000}`, "up");
  ip("-n", name, "addr", "add", `${subnet}.2/30`, "dev", "eth0");
  ip("-n", name, "link", "set", "eth0", "up");
  const ca = await createCa("webhook");
  const server = await issue({ ca, commonName: "webhook", sans: [`${subnet}.2`], usages: ["server"], days: 1 });
  const [certificate, key] = [join(dir, "webhook.crt"), join(dir, "webhook.key")];
  writeFileSync(certificate, server.certificate);
  writeFileSync(key, server.key, { mode: 0o600 });
  const program = [process.execPath, "--disable-warning=ExperimentalWarning", join(import.meta.dirname, "webhook.ts")];
  const child = spawn("ip", ["netns", "exec", name, ...program, `${subnet}.2`, "30443", certificate, key], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return {
    address: `${subnet}.2`,
    webhook: { url: `https://${subnet}.2:30443`, ca: ca.certificate },
    async remove() {
      await ended(child);
      ip("netns", "delete", name);
    },
  };
}
