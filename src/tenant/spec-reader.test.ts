import { expect, test } from "vitest";
import { IronwrightError } from "../core/errors.ts";
import type { VirtualCluster } from "../core/resources.ts";
import { orRefusal, specReader } from "./spec-reader.ts";

const acme = (spec: VirtualCluster["spec"]): VirtualCluster => ({
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "VirtualCluster",
  metadata: { name: "acme", namespace: "team-a" },
  spec,
});
const host = { kubeVersion: "v1.36.3", taken: [{ address: "10.77.0.1", whose: "the address nodes dial" }] };

test("who would sleep where nobody can is told so, by name", async () => {
  const cluster = acme({ sleep: { afterIdle: "10m" } });
  expect((await orRefusal(() => specReader({ ...host, sleeps: true })(cluster))) instanceof IronwrightError).toBe(false);
  expect(await orRefusal(() => specReader({ ...host, sleeps: false })(cluster))).toMatchObject({
    code: "IRW_RESOURCE_INVALID",
    message: expect.stringMatching(/team-a.acme.*spec\.sleep: tenants\.isolation is none/s),
  });
});

test("a network of the host's own is refused; what is no fault of the spec is thrown", async () => {
  const read = specReader({ ...host, sleeps: true });
  expect(await orRefusal(() => read(acme({ podCIDR: "10.77.0.0/16" })))).toMatchObject({
    code: "IRW_RESOURCE_INVALID",
    message: expect.stringContaining("the address nodes dial"),
  });
  await expect(orRefusal(() => Promise.reject(new Error("the disk is gone")))).rejects.toThrow("the disk is gone");
});
