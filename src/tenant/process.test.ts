import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { Supervisor } from "../supervise/index.ts";
import { chooseUser, type Isolation } from "./isolation.ts";
import { cellPlace, openPlace } from "./place.ts";
import { childSpecs, processRuntime } from "./process.ts";
import { writeControlPlane } from "./process-files.ts";
import type { ControlPlane } from "./runtime.ts";

const PLANE: ControlPlane = {
  ref: { namespace: "default", name: "acme" },
  id: "11111111-2222-3333-4444-555555555555",
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
const HOME = "/data/tenants/u";
const [apiserver, controllerManager, scheduler] = childSpecs(PLANE, openPlace(PLANE, HOME, "/opt/kube"), HOME);

test("the same control plane is the same children: ensuring it again restarts nothing", () => {
  expect(childSpecs(structuredClone(PLANE), openPlace(PLANE, HOME, "/opt/kube"), HOME)).toEqual([apiserver, controllerManager, scheduler]);
});

test("each child is named by the uid, and keeps its files in the tenant's directory", () => {
  for (const child of [apiserver, controllerManager, scheduler]) {
    expect(child.name).toContain(PLANE.id);
    expect(child.name).toMatch(/^[A-Za-z0-9._-]+$/);
    expect(child.logFile).toMatch(/^\/data\/tenants\/u\//);
  }
});

test("no secret is in a command line", () => {
  expect(JSON.stringify([apiserver, controllerManager, scheduler])).not.toContain("SECRETSECRET");
});

test.each([
  ["its own prefix of the datastore", `--etcd-prefix=/${PLANE.id}`],
  ["no compaction of everybody's etcd", "--etcd-compaction-interval=0"],
  ["nodes that can touch only themselves", "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement"],
  ["kubelets it dials must prove themselves", "--kubelet-certificate-authority=/data/tenants/u/pki/ca-bundle.crt"],
  ["secrets encrypted at rest", "--encryption-provider-config=/data/tenants/u/config/encryption.yaml"],
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

describe("in a cell", () => {
  const ISOLATION: Isolation = {
    native: "/opt/native",
    uids: { from: 70_000, to: 70_009 },
    limits: { cpuMillis: 1500 },
    frontDoor: { address: "0.0.0.0", port: 16442 },
    domain: "tenants.example.org",
  };
  const isolated = { ...PLANE, user: 70_003 };
  const place = cellPlace(isolated, HOME, "/opt/kube", ISOLATION);
  const specs = childSpecs(isolated, place, HOME, ISOLATION);
  const all = [...(place.door ? [place.door] : []), ...specs];

  test("all four run as the tenant's user, in one cell, whose network the door makes", () => {
    expect(all.map((spec) => spec.cell?.uid)).toEqual([70_003, 70_003, 70_003, 70_003]);
    expect(new Set(all.map((spec) => spec.cell?.name)).size).toBe(1);
    expect(all.map((spec) => spec.cell?.holder)).toEqual([true, false, false, false]);
  });

  test("no path of the host but those of its probes and logs is in what they are told", () => {
    for (const { command, env } of all) expect(JSON.stringify([command, env])).not.toContain(HOME);
  });

  test("they see programs, keys and settings, and each socket only who needs it", () => {
    const targets = all.map((spec) => spec.cell?.mounts.map((mount) => mount.target));
    const files = ["/opt/kube", "/tenant/pki", "/tenant/config"];
    expect(targets).toEqual([["/opt/ironwright-native", "/run/etcd"], [...files, "/run/egress"], files, files]);
    const writable = all.flatMap((spec) => spec.cell?.mounts.filter((mount) => mount.writable) ?? []);
    expect(writable.map((mount) => mount.target)).toEqual([]);
    expect(place.door?.cell?.listen).toEqual({ socket: `${HOME}/door/api.sock`, gid: 70_000 });
  });

  test("the apiserver listens to its cell alone, and what it dials leaves by the gateway", () => {
    const { command, ready, awake } = specs[0];
    expect(command).toContain("--bind-address=127.0.0.1");
    expect(command).toContain("--etcd-servers=https://127.0.0.1:2379");
    expect(command).toContain("--egress-selector-config-file=/tenant/config/egress.yaml");
    for (const probe of [ready, awake]) expect(probe).toMatchObject({ http: { socketPath: "/data/tenants/u/door/api.sock" } });
    expect(specs[0].env).toMatchObject({ GOMAXPROCS: "2" });
  });

  test("webhooks by URL leave by the gateway's socket as pods and nodes do, and etcd alone is dialled directly", async () => {
    const home = mkdtempSync(join(tmpdir(), "iw-"));
    const pairs = ["ca", "apiserver", "kubelet-client", "front-proxy", "controller-manager", "scheduler", "etcd", "daemon"];
    const bundle = Object.fromEntries(pairs.flatMap((name) => [`${name}.crt`, `${name}.key`]).map((file) => [file, file]));
    try {
      await writeControlPlane(home, { ...isolated, bundle }, place);
      const connection = { proxyProtocol: "HTTPConnect", transport: { uds: { udsName: "/run/egress/egress.sock" } } };
      expect(parse(readFileSync(join(home, "config", "egress.yaml"), "utf8"))).toEqual({
        apiVersion: "apiserver.k8s.io/v1beta1",
        kind: "EgressSelectorConfiguration",
        egressSelections: [
          { name: "cluster", connection },
          { name: "controlplane", connection },
          { name: "etcd", connection: { proxyProtocol: "Direct" } },
        ],
      });
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });

  test("the daemon asks it through its door, where nobody else comes; one in no cell by its port", () => {
    expect(place.dial).toEqual({ server: "https://127.0.0.1:16443", socketPath: "/data/tenants/u/door/api.sock" });
    expect(openPlace(PLANE, HOME, "/opt/kube").dial).toEqual({ server: "https://127.0.0.1:16443" });
  });

  test("a user is the lowest that no cluster has, the first being the gateway's; when none is left, it is said", () => {
    expect(chooseUser(ISOLATION, [])).toBe(70_001);
    expect(chooseUser(ISOLATION, [{ userID: 70_001 }, {}, { userID: 70_003 }])).toBe(70_002);
    const full = Array.from({ length: 9 }, (_, at) => ({ userID: 70_001 + at }));
    expect(() => chooseUser(ISOLATION, full)).toThrow(/every user id from 70001 to 70009/);
  });

  test("a path that no socket can have is refused", () => {
    expect(() => cellPlace(isolated, `/data/${"x".repeat(100)}`, "/opt/kube", ISOLATION)).toThrow(/longer than the 107 bytes/);
  });

  const NOT_OURS = "there is no swap of ours, and other swap may not be encrypted";

  test.each([
    ["in clear", "require", 1, { on: true, kind: "plain", reason: "no dm-crypt" }, "stopped, no dm-crypt"],
    ["absent", "require", 1, { on: false, reason: "no room" }, "stopped, no room"],
    ["none of ours", "require", 0, { on: false }, `stopped, ${NOT_OURS}`],
    ["encrypted", "require", 1, { on: true, kind: "encrypted" }, "frozen, into that alone"],
    ["in memory", "require", 1, { on: true, kind: "zram" }, "frozen, into that alone"],
    ["none of ours", "prefer", 0, { on: false }, "frozen"],
    ["in clear", "prefer", 1, { on: true, kind: "plain" }, "frozen"],
  ] as const)("where swap is %s (%s, %d bytes), who sleeps is as it has to be", async (_, encryption, bytes, swap, becomes) => {
    const used = { residentBytes: 0, swappedBytes: 0, chargedBytes: 0, cpuSeconds: 0, ms: 1 };
    const supervisor = {
      keepSwap: async () => ({ bytes: 0, usedBytes: 0, ...swap }),
      freezeCell: async (_cell: string, { encrypted = false } = {}) => ({
        state: "frozen",
        ...(encrypted ? { reason: "into that alone" } : {}),
        ...used,
      }),
      stopCell: async () => ({ state: "stopped", ...used }),
    };
    const isolation = { ...ISOLATION, swap: { bytes, encryption } };
    const runtime = processRuntime({ supervisor: supervisor as unknown as Supervisor, kubeBin: "/opt/kube", dir: "/data", isolation });
    const { state, reason } = await runtime.hibernate(PLANE.id);
    expect([state, ...(reason === undefined ? [] : [reason])].join(", ")).toBe(becomes);
  });
});
