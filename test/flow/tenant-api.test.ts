import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/core/clock.ts";
import { condition } from "../../src/core/conditions.ts";
import { reasonOf } from "../../src/core/errors.ts";
import { VIRTUAL_CLUSTER, VIRTUAL_CLUSTER_TEMPLATE, type VirtualCluster } from "../../src/core/resources.ts";
import type { VirtualClusterTemplateSpec } from "../../src/core/virtual-clusters.ts";
import {
  connectKube,
  EVENT,
  eventRecorder,
  installRoles,
  LEASE,
  NAMESPACE,
  RESOURCE_QUOTA,
  ROLE_BINDING,
  SECRET,
  SERVICE_ACCOUNT,
} from "../../src/kube/index.ts";
import { declarations } from "../../src/tenant/declaration.ts";
import type { TenantController } from "../../src/tenant/index.ts";
import { ACTIVITY_POLICY, callOf, callReader } from "../../src/tenant/sleep/calls.ts";
import { eventually } from "./eventually.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { controllerOf } from "./tenant-world.ts";

/** What people declare of virtual clusters, against a real host control plane. No tenant is started but where one must be. */

const PORTS = { from: 21_500, to: 21_509 };

let host: HostControlPlane;

beforeAll(async () => {
  host = await withHost();
  for (const name of ["ironwright-system", "team", "small"])
    await host.kube.apply(NAMESPACE, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  const hard = { "count/virtualclusters.ironwright.dev": "1", "count/nodeclaims.karpenter.sh": "2", "requests.nvidia.com/gpu": "8" };
  await host.kube.create(RESOURCE_QUOTA, {
    apiVersion: "v1",
    kind: "ResourceQuota",
    metadata: { name: "project", namespace: "small" },
    spec: { hard },
  });
});
afterAll(() => host?.stop());

function cluster(spec: object, name = `c${randomBytes(4).toString("hex")}`): VirtualCluster {
  return {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "VirtualCluster",
    metadata: { name, namespace: "team" },
    spec: spec as VirtualCluster["spec"],
  };
}

function create(spec: object): Promise<VirtualCluster> {
  return host.kube.create(VIRTUAL_CLUSTER, cluster(spec));
}

describe("the definition refuses, with the field", () => {
  test.each<[object, RegExp]>([
    [{ sleep: { afterIdle: "soon" } }, /spec\.sleep\.afterIdle/],
    [{ sleep: { afterIdle: "30s" } }, /spec\.sleep\.afterIdle.*at least 1m/],
    [{ sleep: { schedule: [{ sleep: "0 20 * *", wake: "0 7 * * *" }] } }, /spec\.sleep\.schedule\[0\]\.sleep/],
    [{ sleep: { schedule: [{ sleep: "0 20 * * *" }] } }, /spec\.sleep\.schedule\[0\]\.wake/],
    [{ sleep: { timeZone: "Mars/Olympus" } }, /spec\.sleep\.timeZone/],
    [{ sleep: { state: "Drowsy" } }, /spec\.sleep\.state/],
    [{ sleep: { awakeUntil: "tomorrow" } }, /spec\.sleep\.awakeUntil/],
    [{ sleep: { nap: true } }, /spec\.sleep\.nap/],
    [{ ttl: "3 days" }, /spec\.ttl/],
    [{ datastore: { kind: "sql" } }, /spec\.datastore\.kind/],
    [{ datastore: { quota: "1Mi" } }, /spec\.datastore\.quota.*at least 16Mi/],
    [{ resources: { memory: "lots" } }, /spec\.resources\.memory/],
    [{ resources: { cpu: "10m" } }, /spec\.resources\.cpu.*at least 100m/],
    [{ resources: { pids: 3 } }, /spec\.resources\.pids/],
    [{ templateRef: {} }, /spec\.templateRef\.name/],
  ])("%j", async (spec, says) => {
    const error = await create(spec).then(
      () => undefined,
      (refusal: unknown) => refusal,
    );
    expect(reasonOf(error)).toMatch(says);
  });

  test("a datastore cannot be changed", async () => {
    const { metadata } = await create({});
    const change = host.kube.patch(VIRTUAL_CLUSTER, metadata.name, "team", { spec: { datastore: { kind: "dedicated" } } });
    await expect(change).rejects.toThrow(/cannot change, for its objects are there/);
  });

  test("and takes what is right, in any spelling", async () => {
    const spec = {
      sleep: {
        afterIdle: "30m",
        stopAfter: "8h",
        schedule: [{ sleep: "0 20 * * mon-fri", wake: "@daily" }],
        timeZone: "America/Argentina/Buenos_Aires",
        nodes: "keep",
        awakeUntil: "2026-03-01T18:00:00+01:00",
      },
      ttl: "72h",
      datastore: { kind: "shared", quota: 2 ** 30 },
      resources: { cpu: 2, memory: "1.5Gi", pids: 512 },
      templateRef: { name: "small", parameters: { a: 1, b: true, c: "text" } },
    };
    expect((await create(spec)).spec).toEqual(spec);
  });
});

describe("columns", () => {
  test("kubectl get virtualclusters", async () => {
    const { metadata } = await create({});
    const path = `/apis/ironwright.dev/v1alpha1/namespaces/team/virtualclusters/${metadata.name}`;
    const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    const table = (await host.kube.raw("GET", path, undefined, { accept })) as { columnDefinitions: { name: string; priority: number }[] };
    const shown = table.columnDefinitions.filter((one) => one.priority === 0).map((one) => one.name);
    expect(shown).toEqual(["Name", "Phase", "Sleep", "Nodes", "Version", "Endpoint", "Age"]);
  });
});

function createTemplate(name: string, namespace: string, spec: VirtualClusterTemplateSpec) {
  return host.kube.create(VIRTUAL_CLUSTER_TEMPLATE, {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "VirtualClusterTemplate",
    metadata: { name, namespace },
    spec,
  });
}

function declared(clock: Clock = systemClock) {
  const { kube, log } = host;
  const events = eventRecorder({ kube, component: "ironwright", clock, log });
  return { ...declarations({ kube, clock, events }), events };
}

async function eventsOf({ metadata }: VirtualCluster): Promise<string[]> {
  const { items } = await host.kube.list(EVENT, { namespace: "team", fieldSelector: `involvedObject.uid=${metadata.uid}` });
  return items.map((one) => `${one.reason}: ${one.message} (${one.count})`);
}

describe("templates", () => {
  const ephemeral: VirtualClusterTemplateSpec = {
    parameters: { days: { type: "integer", min: 1, max: 7, default: 3 } },
    template: { ttl: "${days}h", sleep: { afterIdle: "10m" } },
  };

  test("the project's own comes before the operator's; what it said stays until somebody asks again", async () => {
    await createTemplate("pr", "ironwright-system", { template: { ttl: "1h" } });
    const first = await declared().readTemplate(await create({ templateRef: { name: "pr" } }));
    expect(first.status?.template).toMatchObject({ namespace: "ironwright-system", generation: 1, spec: { ttl: "1h" } });

    await createTemplate("pr", "team", { template: { ttl: "2h" } });
    expect(await declared().readTemplate(first)).toBe(first);
    const second = await declared().readTemplate(await create({ templateRef: { name: "pr" } }));
    expect(second.status?.template).toMatchObject({ namespace: "team", generation: 1, spec: { ttl: "2h" } });

    await host.kube.patch(VIRTUAL_CLUSTER_TEMPLATE, "pr", "team", { spec: { template: { ttl: "4h" } } });
    const { name } = second.metadata;
    expect(await declared().readTemplate(second)).toBe(second);
    const asking = await host.kube.patch(VIRTUAL_CLUSTER, name, "team", { spec: { templateRef: { generation: 2 } } });
    expect((await declared().readTemplate(asking)).status?.template).toMatchObject({ generation: 2, spec: { ttl: "4h" } });
  });

  test("what is wrong is refused with the field, and changes nothing", async () => {
    await createTemplate("ephemeral", "team", ephemeral);
    const wrong = await create({ templateRef: { name: "ephemeral", parameters: { days: 9 } } });
    await expect(declared().readTemplate(wrong)).rejects.toMatchObject({
      code: "IRW_RESOURCE_INVALID",
      message: expect.stringContaining("spec.templateRef.parameters.days: expected at most 7, got 9"),
    });
    await expect(declared().readTemplate(await create({ templateRef: { name: "gone" } }))).rejects.toMatchObject({
      code: "IRW_REFERENCE",
      message: expect.stringContaining("in team or ironwright-system"),
    });
    expect((await host.kube.get(VIRTUAL_CLUSTER, wrong.metadata.name, "team"))?.status).toBeUndefined();
  });
});

/** A clock that stands. */
function standing(at: number): Clock {
  return { now: () => new Date(at), sleep: systemClock.sleep };
}

describe("ttl", () => {
  test("its end is in the status, is warned of once, and is the end", async () => {
    const born = await create({ ttl: "8h" });
    const start = Date.parse(born.metadata.creationTimestamp ?? "");
    const hours = (count: number) => declared(standing(start + count * 3_600_000));
    const young = await hours(0).live(born, 8 * 3_600_000);
    expect(young).toMatchObject({ afterMs: 7 * 3_600_000 });
    expect(young?.cluster.status?.expiresAt).toBe(new Date(start + 8 * 3_600_000).toISOString().replace(".000Z", "Z"));

    const late = hours(7.5);
    const warned = await late.live(young?.cluster ?? born, 8 * 3_600_000);
    expect(warned).toMatchObject({ afterMs: 1_800_000 });
    await late.live(warned?.cluster ?? born, 8 * 3_600_000);
    await late.events.flush();
    expect(await eventsOf(born)).toEqual([
      expect.stringMatching(/^ExpiresSoon: it is deleted at .* by its ttl of 8h; a longer spec\.ttl keeps it \(1\)$/),
    ]);

    // a longer one keeps it, none at all forgets the end
    expect(await late.live(warned?.cluster ?? born, 16 * 3_600_000)).toMatchObject({ afterMs: 7.5 * 3_600_000 });
    const now = await host.kube.get(VIRTUAL_CLUSTER, born.metadata.name, "team");
    const without = await late.live(now ?? born, undefined);
    expect(without?.cluster.status?.expiresAt).toBeUndefined();

    expect(await hours(8).live(without?.cluster ?? born, 8 * 3_600_000)).toBeUndefined();
    expect(await host.kube.get(VIRTUAL_CLUSTER, born.metadata.name, "team")).toBeUndefined();
  });
});

const launcher = fileURLToPath(new URL("../../bin/ironwright", import.meta.url));

/** The command line as people run it; beside the controller, which runs in this process. */
function ironwright(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, IRONWRIGHT_KUBECONFIG: host.kubeconfig };
  return new Promise((resolve) => {
    const child = execFile(launcher, args, { env, cwd: host.dir }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

describe("the command line", () => {
  test("create is checked before anything is made, and says what collides", async () => {
    const { metadata } = await create({});
    const ephemeral = ["create", "vc", "pr-1", "-n", "team", "--template", "ephemeral"];
    const [dry, wrong, unknown, nowhere, twice, alone, bad] = await Promise.all([
      ironwright(...ephemeral, "--set", "days=2", "--ttl", "3h", "--kubernetes", "1.36", "--dry-run", "-o", "yaml"),
      ironwright(...ephemeral, "--set", "days=9"),
      ironwright("create", "vc", "pr-1", "-n", "team", "--template", "gone"),
      ironwright("create", "vc", "pr-1", "-n", "nowhere"),
      ironwright("create", "vc", metadata.name, "-n", "team"),
      ironwright("create", "vc", "pr-1", "-n", "team", "--set", "days=2"),
      ironwright("create", "vc", "pr-1", "-n", "team", "--ttl", "30s"),
    ]);
    expect(dry).toMatchObject({ code: 0, stderr: "" });
    expect(parse(dry.stdout)).toEqual({
      apiVersion: "ironwright.dev/v1alpha1",
      kind: "VirtualCluster",
      metadata: { name: "pr-1", namespace: "team" },
      spec: { version: "1.36", ttl: "3h", templateRef: { name: "ephemeral", parameters: { days: "2" } } },
    });
    expect(wrong).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/IRW_RESOURCE_INVALID[\s\S]*parameters\.days: expected at most 7, got 9[\s\S]*next:/),
    });
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining("IRW_REFERENCE: VirtualClusterTemplate gone") });
    expect(nowhere).toMatchObject({ code: 1, stderr: expect.stringContaining("IRW_PROJECT_UNKNOWN: there is no project nowhere") });
    expect(twice).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/IRW_TENANT_EXISTS: project team has a VirtualCluster \w+ already: made \d+s ago, not looked at yet/),
    });
    expect(alone).toMatchObject({ code: 1, stderr: expect.stringContaining("name one with --template") });
    expect(bad).toMatchObject({ code: 1, stderr: expect.stringMatching(/spec\.ttl.*at least 1m/) });
    expect(await host.kube.get(VIRTUAL_CLUSTER, "pr-1", "team")).toBeUndefined();
  });

  test("sleep and wake write what is wanted; waiting has an end; delete takes what is there", async () => {
    const { metadata } = await create({ sleep: { afterIdle: "1h" } });
    const at = [metadata.name, "-n", "team"];
    const sleepOf = async () => (await host.kube.get(VIRTUAL_CLUSTER, metadata.name, "team"))?.spec.sleep;
    expect(await ironwright("sleep", "vc", ...at, "--wait", "--timeout", "1s")).toMatchObject({
      code: 1,
      stdout: `virtual cluster team/${metadata.name} is to sleep\n`,
      stderr: expect.stringMatching(
        /waiting for virtual cluster team\/.*: the daemon to look at it \(0s\)\nIRW_WAIT_TIMEOUT: .* is not asleep after 1s/,
      ),
    });
    expect(await sleepOf()).toEqual({ afterIdle: "1h", state: "Asleep" });
    expect(await ironwright("wake", "vc", ...at, "--for", "2h")).toMatchObject({ code: 0 });
    const { awakeUntil = "", ...rest } = (await sleepOf()) ?? {};
    expect(rest).toEqual({ afterIdle: "1h", state: "Auto" });
    expect(Date.parse(awakeUntil) - Date.now()).toBeGreaterThan(7_000_000);
    const [stay, gone, none] = await Promise.all([
      ironwright("wake", "vc", ...at, "--stay").then(() => sleepOf()),
      ironwright("wake", "vc", "gone", "-n", "team"),
      ironwright("delete", "vc", "gone", "-n", "team"),
    ]);
    expect(stay).toEqual({ afterIdle: "1h", state: "Awake" });
    for (const answer of [gone, none])
      expect(answer).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("IRW_TENANT_UNKNOWN: there is no VirtualCluster gone in project team"),
      });
    expect(await ironwright("delete", "vc", ...at, "--wait")).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/gone after [\d.]+s/),
    });
  });
});

describe("the controller", () => {
  let tenants: TenantController;
  /** How far its clock is ahead. */
  let aheadMs = 0;
  const clock: Clock = { now: () => new Date(Date.now() + aheadMs), sleep: systemClock.sleep };

  beforeAll(async () => {
    for (const { metadata } of (await host.kube.list(VIRTUAL_CLUSTER)).items)
      await host.kube.delete(VIRTUAL_CLUSTER, metadata.name, { namespace: metadata.namespace ?? "" });
    tenants = controllerOf(host, PORTS, { networks: [{ address: "10.50.0.0/16", whose: "a network of the boot plane's prov0" }], clock });
    await tenants.start();
  });
  afterAll(() => tenants?.stop());

  async function refusal(spec: object): Promise<string> {
    const { metadata } = await create(spec);
    return eventually("refused", async () => {
      const now = await host.kube.get(VIRTUAL_CLUSTER, metadata.name, "team");
      expect(now?.status?.phase).toBe("Failed");
      return condition(now?.status?.conditions, "Ready")?.message ?? "";
    });
  }

  test("says in the condition what is wrong, and what a network collides with; nothing is started then", async () => {
    expect(await refusal({ templateRef: { name: "gone" } })).toContain("IRW_REFERENCE: VirtualClusterTemplate gone does not exist");
    expect(await refusal({ templateRef: { name: "ephemeral", parameters: { days: "many" } } })).toContain("expected a whole number");
    expect(await refusal({ podCIDR: "10.48.0.0/12" })).toContain("overlaps 10.50.0.0/16, a network of the boot plane's prov0");
    expect((await host.supervisor.list()).filter((child) => child.name.startsWith("tenant-"))).toEqual([]);
  });

  test("makes a control plane of a template, and deletes it when its ttl ends", async () => {
    await createTemplate("hour", "team", {
      parameters: { life: { type: "duration" } },
      template: { ttl: "${life}", podCIDR: "10.60.0.0/16" },
    });
    const metadata = { name: "of-template" };
    const made = await ironwright("create", "vc", metadata.name, "-n", "team", "-t", "hour", "--set", "life=1h", "--wait");
    expect(made).toMatchObject({ code: 0, stdout: "virtual cluster team/of-template is declared\n" });
    expect(made.stderr).toMatch(
      /waiting for virtual cluster team\/of-template: .*\nready at https:\/\/127\.0\.0\.1:\d+ after [\d.]+s; its kubeconfig: /,
    );
    await eventually("its status is whole", async () => {
      const now = await host.kube.get(VIRTUAL_CLUSTER, metadata.name, "team");
      expect(now?.status).toMatchObject({
        phase: "Ready",
        podCIDR: "10.60.0.0/16",
        serviceCIDR: "10.96.0.0/16",
        template: { generation: 1 },
      });
      expect(now?.status?.expiresAt).toBeDefined();
      // what the template said is not written into what its people declared
      expect(now?.spec).toEqual({ templateRef: { name: "hour", parameters: { life: "1h" } } });
    });
    // its networks stay, whatever the template says when it is asked again
    await host.kube.patch(VIRTUAL_CLUSTER_TEMPLATE, "hour", "team", { spec: { template: { podCIDR: "10.70.0.0/16" } } });
    await host.kube.patch(VIRTUAL_CLUSTER, metadata.name, "team", { spec: { templateRef: { generation: 2 } } });
    await eventually("refused", async () => {
      const now = await host.kube.get(VIRTUAL_CLUSTER, metadata.name, "team");
      expect(condition(now?.status?.conditions, "Ready")?.message).toContain("spec.podCIDR: 10.70.0.0/16 differs from 10.60.0.0/16");
    });
    await host.kube.patch(VIRTUAL_CLUSTER_TEMPLATE, "hour", "team", { spec: { template: { podCIDR: "10.60.0.0/16" } } });
    aheadMs = 3_600_000;
    await host.kube.patch(VIRTUAL_CLUSTER, metadata.name, "team", { spec: { templateRef: { generation: 3 } } });
    await eventually("gone", async () => {
      expect(await host.kube.get(VIRTUAL_CLUSTER, metadata.name, "team")).toBeUndefined();
    });
    expect((await host.supervisor.list()).filter((child) => child.name.startsWith("tenant-"))).toEqual([]);
  });
});

describe("projects", () => {
  /** Whether a user may, as the apiserver says. */
  async function may(user: string, verb: string, resource: string, namespace: string): Promise<boolean> {
    const body = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: {
        user,
        groups: ["system:authenticated"],
        resourceAttributes: { verb, group: resource === "secrets" ? "" : "ironwright.dev", resource, namespace },
      },
    };
    const answer = await host.kube.raw("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body);
    return (answer as { status: { allowed: boolean } }).status.allowed;
  }

  test("who is bound to upstream's admin or view in a project may there what project-admin and project-viewer may", async () => {
    await installRoles(host.kube, fileURLToPath(new URL("../../deploy/rbac", import.meta.url)));
    for (const [name, role] of [
      ["ann", "admin"],
      ["vic", "view"],
    ] as const)
      await host.kube.create(ROLE_BINDING, {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        metadata: { name, namespace: "team" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name }],
      });
    await eventually("the roles are added up", async () => {
      expect(await may("ann", "create", "virtualclusters", "team")).toBe(true);
      expect(await may("vic", "list", "virtualclusters", "team")).toBe(true);
    });
    expect(await may("ann", "get", "secrets", "team")).toBe(true);
    expect(await may("ann", "update", "virtualclusters/status", "team")).toBe(false);
    expect(await may("ann", "create", "virtualclusters", "default")).toBe(false);
    expect(await may("vic", "delete", "virtualclusters", "team")).toBe(false);
    expect(await may("vic", "list", "virtualclustertemplates", "ironwright-system")).toBe(true);
    expect(await may("eve", "list", "virtualclusters", "team")).toBe(false);
  });

  test("a quota of virtual clusters is upstream's to count; a namespace that is deleted goes, with what is in it", async () => {
    const one = (name: string) => ({ ...cluster({}), metadata: { name, namespace: "small" } });
    // upstream finds new kinds each half minute; until then it lets nothing in
    await eventually("it is counted", async () => {
      const quota = await host.kube.get(RESOURCE_QUOTA, "project", "small");
      expect(quota?.status?.used).toMatchObject({ "count/virtualclusters.ironwright.dev": "0" });
    });
    await eventually("the first is let in", () => host.kube.create(VIRTUAL_CLUSTER, one("a")));
    await expect(host.kube.create(VIRTUAL_CLUSTER, one("b"))).rejects.toThrow(
      /exceeded quota: project, requested: count\/virtualclusters\.ironwright\.dev=1, used: .*=1, limited: .*=1/,
    );
    await host.kube.delete(NAMESPACE, "small");
    await eventually("gone", async () => expect(await host.kube.get(NAMESPACE, "small")).toBeUndefined());
    expect(await host.kube.get(VIRTUAL_CLUSTER, "a", "small")).toBeUndefined();
  });
});

describe("calls", () => {
  test("a real audit log by our policy names who called, and holds neither watches nor what the apiserver asks itself", async () => {
    await host.kube.create(SERVICE_ACCOUNT, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "robot", namespace: "team" } });
    const log = join(host.dir, "logs", "host-audit.log");
    writeFileSync(join(host.dir, "host", "audit.yaml"), stringify(ACTIVITY_POLICY));
    const apiserver = async () => (await host.supervisor.list()).find((child) => child.name === "host-apiserver");
    const before = await apiserver();
    process.kill(before?.pid ?? 0, "SIGKILL");
    await eventually("the apiserver reads the policy", async () => {
      const now = await apiserver();
      expect(now).toMatchObject({ state: "running", ready: true });
      expect(now?.pid).not.toBe(before?.pid);
    });
    const from = statSync(log).size;

    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
    const answer = await host.kube.raw("POST", "/api/v1/namespaces/team/serviceaccounts/robot/token", body);
    const robot = connectKube(robotConfig((answer as { status: { token: string } }).status.token));
    await expect(robot.list(SECRET, { namespace: "team" })).rejects.toMatchObject({ code: "IRW_KUBE_REFUSED" });
    await expect(robot.get(LEASE, "leader", "team")).rejects.toMatchObject({ code: "IRW_KUBE_REFUSED" });
    const watching = robot.watch(NAMESPACE, { resourceVersion: "0", timeoutSeconds: 1 });
    await expect(watching[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "IRW_KUBE_REFUSED" });
    await robot.raw("GET", "/readyz");
    await robot.close();

    const text = readFileSync(log).subarray(from).toString("utf8");
    const lines = text.split("\n").filter((line) => line !== "");
    const events = lines.map((line) => ({
      line,
      ...(JSON.parse(line) as { verb: string; user: { username: string }; requestURI: string }),
    }));
    const called = (name: string) =>
      events.filter((one) => one.user.username === name).map((one) => [one.verb, typeof callOf(one.line) === "number"]);
    expect(called("system:serviceaccount:team:robot")).toEqual([
      ["list", true],
      ["get", false],
    ]);
    expect(called("ironwright-admin")).toContainEqual(["create", true]);
    expect(called("system:apiserver")).toEqual([]);
    expect(events.filter((one) => one.verb === "watch")).toEqual([]);
    const reader = callReader();
    reader.push(text);
    expect(reader.take()).toMatchObject({ unread: 0, last: expect.any(Number) });
  });

  /** The host's kubeconfig, for another who has a token. */
  function robotConfig(token: string): string {
    const config = parse(readFileSync(host.kubeconfig, "utf8")) as { users: { user: object }[] };
    return stringify({ ...config, users: config.users.map((one) => ({ ...one, user: { token } })) });
  }
});
