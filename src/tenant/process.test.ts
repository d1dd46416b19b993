import { expect, test } from "vitest";
import { childSpecs } from "./process.ts";
import type { ControlPlane } from "./runtime.ts";

const PLANE: ControlPlane = {
  ref: { namespace: "default", name: "acme" },
  uid: "11111111-2222-3333-4444-555555555555",
  spec: { version: "v1.36.3", podCIDR: "10.244.0.0/16", serviceCIDR: "10.96.0.0/16", serviceAddress: "10.96.0.1", datastore: {} },
  port: 16443,
  address: "10.77.0.1",
  bundle: { "ca.crt": "CA", "encryption-key": "SECRETSECRET" },
  datastore: {
    endpoint: "https://127.0.0.1:2379",
    socket: "/data/s/client.sock",
    prefix: "/11111111-2222-3333-4444-555555555555",
    ca: "CA",
  },
};
const [apiserver, controllerManager, scheduler] = childSpecs(PLANE, "/data/tenants/u", "/opt/kube");

test("the same control plane is the same children: ensuring it again restarts nothing", () => {
  expect(childSpecs(structuredClone(PLANE), "/data/tenants/u", "/opt/kube")).toEqual([apiserver, controllerManager, scheduler]);
});

test("each child is named by the uid, and keeps its files in the tenant's directory", () => {
  for (const child of [apiserver, controllerManager, scheduler]) {
    expect(child.name).toContain(PLANE.uid);
    expect(child.name).toMatch(/^[A-Za-z0-9._-]+$/);
    expect(child.logFile).toMatch(/^\/data\/tenants\/u\//);
  }
});

test("no secret is in a command line", () => {
  expect(JSON.stringify([apiserver, controllerManager, scheduler])).not.toContain("SECRETSECRET");
});

test.each([
  ["its own prefix of the datastore", `--etcd-prefix=/${PLANE.uid}`],
  ["no compaction of everybody's etcd", "--etcd-compaction-interval=0"],
  ["nodes that can touch only themselves", "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement"],
  ["kubelets it dials must prove themselves", "--kubelet-certificate-authority=/data/tenants/u/pki/ca-bundle.crt"],
  ["secrets encrypted at rest", "--encryption-provider-config=/data/tenants/u/encryption.yaml"],
  ["the address pods reach it at", "--advertise-address=10.77.0.1"],
])("the apiserver has %s", (_, flag) => {
  expect(apiserver.command).toContain(flag);
});

test("nobody but the daemon approves kubelets, and their certificates end within the hour", () => {
  expect(controllerManager.command.find((flag) => flag.startsWith("--controllers="))).toContain(
    "-certificatesigningrequest-approving-controller",
  );
  expect(controllerManager.command).toContain("--cluster-signing-duration=1h");
});

test("alone in its cluster, nothing elects a leader", () => {
  for (const child of [controllerManager, scheduler]) expect(child.command).toContain("--leader-elect=false");
});
