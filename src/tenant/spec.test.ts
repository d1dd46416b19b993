import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isError } from "../core/errors.ts";
import type { VirtualCluster } from "../core/resources.ts";
import { tenantSpec } from "./spec.ts";

const TAKEN = [{ address: "10.77.0.1", whose: "the address nodes dial" }];

function cluster(spec: VirtualCluster["spec"], name = "acme", namespace = "default"): VirtualCluster {
  return { apiVersion: "ironwright.dev/v1alpha1", kind: "VirtualCluster", metadata: { name, namespace }, spec };
}

function problemsOf(given: VirtualCluster): string {
  try {
    tenantSpec(given, "v1.36.3", TAKEN);
  } catch (error) {
    if (isError(error, "IRW_RESOURCE_INVALID") || isError(error, "IRW_VERSION_UNSUPPORTED")) return error.message;
    throw error;
  }
  return "";
}

test("an empty spec has sound defaults", () => {
  expect(tenantSpec(cluster({}), "v1.36.3", TAKEN)).toEqual({
    version: "v1.36.3",
    podCIDR: "10.244.0.0/16",
    serviceCIDR: "10.96.0.0/16",
    serviceAddress: "10.96.0.1",
    datastore: {},
  });
});

test.each(["1.36", "v1.36", "1.36.3", "v1.36.3"])("version %s is the bundle's", (version) => {
  expect(tenantSpec(cluster({ version }), "v1.36.3", TAKEN).version).toBe("v1.36.3");
});

test.each(["1.35", "1.3", "v1.36.30", "latest", "", "1.36.3.0"])("version %s is refused and says what there is", (version) => {
  expect(problemsOf(cluster({ version }))).toContain("there is v1.36.3");
});

describe("networks", () => {
  test.each([
    ["spec.podCIDR", { podCIDR: "10.96.0.0/16" }, "overlaps spec.serviceCIDR 10.96.0.0/16"],
    ["spec.podCIDR", { podCIDR: "10.0.0.0/8", serviceCIDR: "172.20.0.0/16" }, "contains 10.77.0.1, the address nodes dial"],
    ["spec.serviceCIDR", { serviceCIDR: "10.77.0.0/24" }, "contains 10.77.0.1"],
    ["spec.podCIDR", { podCIDR: "10.244.0.1/16" }, "expected an IPv4 network"],
    ["spec.podCIDR", { podCIDR: "fd00::/64" }, "expected an IPv4 network"],
    ["spec.podCIDR", { podCIDR: "10.244.0.0" }, "expected an IPv4 network"],
    ["spec.podCIDR", { podCIDR: "10.244.0.0/33" }, "expected an IPv4 network"],
    ["spec.podCIDR", { podCIDR: "010.244.0.0/16" }, "expected an IPv4 network"],
    ["spec.podCIDR", { podCIDR: "10.244.0.0/25" }, "from /8 to /24"],
    ["spec.serviceCIDR", { serviceCIDR: "100.0.0.0/8" }, "from /12 to /28"],
  ])("%s of %j: %s", (field, spec, says) => {
    expect(problemsOf(cluster(spec))).toContain(field);
    expect(problemsOf(cluster(spec))).toContain(says);
  });

  test("every problem is named at once", () => {
    const says = problemsOf(cluster({ podCIDR: "x", serviceCIDR: "y" }, "a.b"));
    expect(says).toContain("spec.podCIDR");
    expect(says).toContain("spec.serviceCIDR");
    expect(says).toContain("metadata.name");
  });
});

test("names must fit in one label's value", () => {
  expect(problemsOf(cluster({}, "a".repeat(40), "b".repeat(40)))).toContain("81 characters");
  expect(problemsOf(cluster({}, "a".repeat(31), "b".repeat(31)))).toBe("");
});

test("what is asked for beyond the networks is read; what is not asked for is absent", () => {
  const spec = tenantSpec(
    cluster({
      ttl: "72h",
      datastore: { kind: "shared", quota: "512Mi" },
      resources: { cpu: "1500m", memory: "1Gi", pids: 512 },
      sleep: { afterIdle: "30m", stopAfter: "8h", schedule: [{ sleep: "0 20 * * *", wake: "0 7 * * 1-5" }], timeZone: "Europe/Berlin" },
    }),
    "v1.36.3",
    TAKEN,
  );
  expect(spec).toMatchObject({
    ttlMs: 72 * 3_600_000,
    datastore: { kind: "shared", quotaBytes: 512 * 2 ** 20 },
    limits: { cpuMillis: 1_500, memoryBytes: 2 ** 30, pids: 512 },
    sleep: { order: "Auto", afterIdleMs: 1_800_000, stopAfterMs: 8 * 3_600_000, nodes: "release", paused: false },
  });
  expect(spec.sleep?.schedule).toHaveLength(1);
});

describe("each problem says its field", () => {
  test.each<[object, string]>([
    [{ sleep: { afterIdle: "soon" } }, 'spec.sleep.afterIdle: expected a duration such as 30m or 8h, got "soon"'],
    [{ sleep: { stopAfter: "59s" } }, "spec.sleep.stopAfter: expected at least 1m, got 59s"],
    [{ ttl: "Never" }, "spec.ttl: expected a duration"],
    [{ ttl: "99999999h" }, "spec.ttl: expected at most 100 years"],
    [
      {
        sleep: {
          schedule: [
            { sleep: "0 20 * * *", wake: "0 7 * * *" },
            { sleep: "0 20 * *", wake: "0 7 * * *" },
          ],
        },
      },
      'spec.sleep.schedule[1].sleep: expected five fields of cron, got "0 20 * *"',
    ],
    [{ sleep: { schedule: [{ sleep: "0 20 30 2 *", wake: "0 7 * * *" }] } }, 'spec.sleep.schedule[0].sleep: "0 20 30 2 *" is never due'],
    [{ sleep: { schedule: [{ sleep: "0 20 * * *" }] } }, "spec.sleep.schedule[0].wake"],
    [{ sleep: { timeZone: "Mars/Olympus" } }, "spec.sleep.timeZone: expected a time zone such as Europe/Berlin"],
    [{ sleep: { awakeUntil: "tomorrow" } }, "spec.sleep.awakeUntil: expected a moment"],
    [{ sleep: { state: "Drowsy" } }, "spec.sleep.state"],
    [{ sleep: { nap: true } }, "spec.sleep: Unrecognized key"],
    [{ datastore: { quota: "1Mi" } }, "spec.datastore.quota: expected at least 16Mi, got 1Mi"],
    [{ resources: { memory: "lots" } }, 'spec.resources.memory: expected a quantity, got "lots"'],
    [{ resources: { cpu: 0 } }, "spec.resources.cpu: expected at least 100m, got 0"],
    [{ resources: { pids: 1.5 } }, "spec.resources.pids"],
    [{ nodeMode: "shared" }, "spec.nodeMode"],
    [{ templateRef: { name: "x", parameters: { a: ["b"] } } }, "spec.templateRef.parameters.a: expected a text, a number or a truth value"],
  ])("%j: %s", (spec, says) => {
    expect(problemsOf(cluster(spec))).toContain(says);
  });
});

describe("what collides says with what", () => {
  test("another tenant's label", () => {
    const given = cluster({});
    const labelled = { ...given, metadata: { ...given.metadata, labels: { "ironwright.dev/tenant": "default.umbrella" } } };
    expect(problemsOf(labelled)).toContain(
      "metadata.labels[ironwright.dev/tenant]: default.umbrella is what marks the machines of another tenant",
    );
    expect(problemsOf({ ...labelled, metadata: { ...labelled.metadata, labels: { "ironwright.dev/tenant": "default.acme" } } })).toBe("");
  });

  test("the network that machines boot on", () => {
    const taken = [{ address: "10.50.0.0/16", whose: "the provisioning network of prov0" }];
    expect(() => tenantSpec(cluster({ podCIDR: "10.48.0.0/12" }), "v1.36.3", taken)).toThrow(
      "spec.podCIDR: 10.48.0.0/12 overlaps 10.50.0.0/16, the provisioning network of prov0",
    );
  });

  test("the networks it was made with", () => {
    const made = { ...cluster({ podCIDR: "10.20.0.0/16" }), status: { podCIDR: "10.244.0.0/16", serviceCIDR: "10.96.0.0/16" } };
    expect(problemsOf(made)).toContain("spec.podCIDR: 10.20.0.0/16 differs from 10.244.0.0/16, which it was made with");
  });
});

test("whatever stands in a spec, it is read or refused with a code", () => {
  const fields = ["version", "nodeMode", "podCIDR", "serviceCIDR", "sleep", "ttl", "datastore", "resources", "templateRef"];
  const inner = [
    "state",
    "afterIdle",
    "schedule",
    "sleep",
    "wake",
    "timeZone",
    "kind",
    "quota",
    "cpu",
    "memory",
    "pids",
    "name",
    "parameters",
  ];
  const json = fc.jsonValue({ maxDepth: 1 });
  const value = fc.oneof(
    json,
    fc.constantFrom("1m", "0 2 * * *", "10.0.0.0/16", "16Mi", "1.36"),
    fc.dictionary(fc.constantFrom(...inner), fc.oneof(json, fc.array(fc.dictionary(fc.constantFrom(...inner), json), { maxLength: 3 }))),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...fields), value), (spec) => {
      problemsOf(cluster(spec as VirtualCluster["spec"]));
    }),
    { numRuns: 200 },
  );
});
