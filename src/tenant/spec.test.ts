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
