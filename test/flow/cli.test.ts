import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { IronwrightError } from "../../src/core/errors.ts";
import { type Kind, MACHINE, type Machine, NODE_CLAIM, NODE_POOL, type Resource, VIRTUAL_CLUSTER } from "../../src/core/resources.ts";
import { SECRET } from "../../src/kube/index.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";

/** The command line as people run it, by its launcher, against a real host control plane. */

const launcher = fileURLToPath(new URL("../../bin/ironwright", import.meta.url));
let host: HostControlPlane;

beforeAll(async () => {
  host = await withHost();
  await host.kube.create(MACHINE, machine);
  const created = await host.kube.get(MACHINE, "gpu-1");
  if (created) await host.kube.replaceStatus(MACHINE, { ...created, status });
});
afterAll(() => host.stop());

const machine: Machine = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "Machine",
  metadata: { name: "gpu-1" },
  spec: { bmc: { address: "redfish://10.9.9.9", credentialsSecret: "bmc" }, bootMAC: "52:54:00:00:00:01", position: { rack: "r7" } },
};

const { message: cause, next: advice } = new IronwrightError("IRW_BMC_UNREACHABLE", { address: "10.9.9.9", reason: "timed out" });
const unreachable = `${cause}; ${advice}. Attempt 1; next try 2026-01-01T00:00:10.000Z`;
/** As an inspection leaves it whose BMC did not answer. */
const status: NonNullable<Machine["status"]> = {
  phase: "Discovered",
  power: "Off",
  conditions: ["Inspected", "BMCReachable"].map((type) => ({
    type,
    status: "False",
    reason: "IRW_BMC_UNREACHABLE",
    message: unreachable,
    lastTransitionTime: "2026-01-01T00:00:00Z",
  })),
  operation: {
    kind: "inspect",
    fence: 1,
    state: "Failed",
    step: "bmc",
    done: [],
    startedAt: "2026-01-01T00:00:00Z",
    deadline: "2026-01-01T00:15:00Z",
    attempt: 1,
    nextTryAt: "2026-01-01T00:00:10.000Z",
  },
  history: [{ at: "2026-01-01T00:00:00Z", phase: "Discovered", event: "Discovered", message: "declared" }],
};

function ironwright(...args: string[]) {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, IRONWRIGHT_KUBECONFIG: host.kubeconfig };
  const { status: code, stdout, stderr } = spawnSync(launcher, args, { encoding: "utf8", env, cwd: host.dir });
  return { code, stdout, stderr };
}

test("get prints the columns kubectl prints", () => {
  const { code, stdout } = ironwright("get", "machines");
  expect(code).toBe(0);
  const [head, row] = stdout.trim().split("\n");
  expect(head).toMatch(/^NAME +PHASE +POWER +RACK .* AGE$/);
  expect(row).toMatch(/^gpu-1 +Discovered +Off +r7 /);
  const own = ["--kubeconfig", host.kubeconfig, "--cache-dir", join(host.dir, "kubectl")];
  const kubectl = spawnSync(join(host.artifacts.kube.bin, "kubectl"), [...own, "get", "machines"], { encoding: "utf8" });
  const columns = (line: string | undefined) => line?.split(/ {2,}/).map((cell) => cell.trim());
  expect(columns(kubectl.stdout.split("\n")[0])).toEqual(columns(head));
});

test("get -o json, yaml and name; an empty list says so", () => {
  expect((JSON.parse(ironwright("get", "machine", "gpu-1", "-o", "json").stdout) as Machine).spec.bootMAC).toBe("52:54:00:00:00:01");
  expect(ironwright("get", "m", "gpu-1", "-o", "yaml").stdout).toContain("bootMAC: 52:54:00:00:00:01");
  expect(ironwright("get", "machines", "-o", "name").stdout.trim()).toBe("machines.ironwright.dev/gpu-1");
  expect(ironwright("get", "nodeclaims").stdout).toContain("There are no nodeclaims");
});

test("describe shows conditions with cause and next try, and the history", () => {
  const { stdout } = ironwright("describe", "machine", "gpu-1");
  expect(stdout).toMatch(/BMCReachable +False .*no answer from the BMC at 10\.9\.9\.9: timed out; .*next try 2026-01-01T00:00:10\.000Z/);
  expect(stdout).toMatch(/next try: +2026-01-01T00:00:10\.000Z/);
  expect(stdout).toMatch(/Discovered +Discovered +declared/);
});

const launched = {
  type: "Launched",
  status: "True",
  reason: "Launched",
  message: "gpu-1 is its machine",
  lastTransitionTime: "2026-01-01T00:00:00Z",
} as const;
const nodeClassRef = { group: "ironwright.dev", kind: "MachineClass", name: "gpu" };

test.each<[Kind, Resource["metadata"], object, object]>([
  [NODE_CLAIM, { name: "claim-1" }, { nodeClassRef, requirements: [] }, { nodeName: "gpu-1" }],
  [NODE_POOL, { name: "pool-1" }, { template: { spec: { nodeClassRef, requirements: [] } }, replicas: 2 }, { nodes: 1 }],
  [VIRTUAL_CLUSTER, { name: "initech", namespace: "default" }, { nodeMode: "private" }, { endpoint: "https://192.0.2.10:6443" }],
])("describe shows what is wanted of a $kind, and what is so", async (kind, metadata, spec, status) => {
  const apiVersion = `${kind.group}/${kind.version}`;
  const created = await host.kube.create(kind, { apiVersion, kind: kind.kind, metadata, spec } as Resource);
  await host.kube.replaceStatus(kind, { ...created, status: { ...status, conditions: [launched] } } as Resource);
  const { code, stdout } = ironwright("describe", kind.kind.toLowerCase(), metadata.name);
  expect(code).toBe(0);
  expect(stdout).toMatch(new RegExp(`^Name: +${metadata.name}\n(Project: +default\n)?Kind: +${kind.kind} \\(${apiVersion}\\)$`, "m"));
  const section = (title: string) => parse(new RegExp(`^${title}:\\n((?: {2}.*\\n)+)`, "m").exec(stdout)?.[1] ?? "");
  expect([section("Spec"), section("Status")]).toMatchObject([spec, status]);
  expect(stdout).toMatch(/^Conditions:\n.*\n +Launched +True +\S+ +Launched +gpu-1 is its machine$/m);
  expect(stdout).toMatch(/^Events:\n {2}\(none\)$/m);
});

test("what is not there is said, and the exit is not zero", () => {
  expect(ironwright("describe", "machine", "gpu-2")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("there is no Machine gpu-2"),
  });
  expect(ironwright("get", "rockets")).toMatchObject({ code: 1, stderr: expect.stringContaining("there are machines") });
});

test("kubeconfig of a tenant: not there, not ready, and then its own", async () => {
  expect(ironwright("kubeconfig", "acme").stderr).toContain("IRW_TENANT_UNKNOWN");
  const metadata = { name: "acme", namespace: "default" };
  await host.kube.create(VIRTUAL_CLUSTER, { apiVersion: "ironwright.dev/v1alpha1", kind: "VirtualCluster", metadata, spec: {} });
  expect(ironwright("kubeconfig", "acme").stderr).toContain("it is being created");
  const secret = { name: "acme-kubeconfig", namespace: "default" };
  await host.kube.create(SECRET, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: secret,
    data: { value: Buffer.from("apiVersion: v1\n").toString("base64") },
  });
  expect(ironwright("kubeconfig", "acme")).toMatchObject({ code: 0, stdout: "apiVersion: v1\n" });
});

test("rotate-ca asks for the next authorities, and says no to what cannot be", async () => {
  const pki = async () => (await host.kube.get(VIRTUAL_CLUSTER, "acme", "default"))?.spec.pki;
  expect(ironwright("rotate-ca", "vc", "acme", "--overlap", "10m")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("at least 1h5m"),
  });
  expect(ironwright("rotate-ca", "machine", "gpu-1")).toMatchObject({ code: 1, stderr: expect.stringContaining("only virtual clusters") });
  expect(ironwright("rotate-ca", "vc", "globex").stderr).toContain("IRW_TENANT_UNKNOWN");
  expect(await pki()).toBeUndefined();
  expect(ironwright("rotate-ca", "vc", "acme", "--overlap", "72h")).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("authorities 2"),
  });
  expect(await pki()).toEqual({ authorities: 2, overlap: "72h" });
  expect(ironwright("rotate-ca", "vc", "acme", "--service-account-keys").code).toBe(0);
  expect(await pki()).toEqual({ authorities: 2, overlap: "72h", serviceAccountKeys: 2 });
});

test("config prints the effective configuration without its secrets, and refuses a wrong one with the field", () => {
  const file = join(host.dir, "mine.yaml");
  writeFileSync(file, "redis: { url: 'redis://:hunter2@127.0.0.1:6379' }\n");
  const good = ironwright("--config", file, "--set", "host.port=7443", "config");
  expect(good.stdout).toContain("port: 7443");
  expect(good.stdout).not.toContain("hunter2");
  writeFileSync(file, "host: { port: many }\n");
  expect(ironwright("--config", file, "config")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/IRW_CONFIG_INVALID[\s\S]*host\.port/),
  });
});

test("explain says what a code means; doctor names what is missing with its mend", () => {
  expect(ironwright("explain", "irw_wipe_unproven").stdout).toMatch(/not proven[\s\S]*stays out of use/);
  const { code, stdout } = ironwright("--set", `dataDir=${host.dir}/elsewhere`, "doctor");
  expect(code).toBe(1);
  expect(stdout).toMatch(/✗ boot plane: no interface is named/);
  expect(stdout).toMatch(/✗ supervisor/);
});
