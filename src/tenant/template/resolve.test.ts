import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import type { VirtualCluster, VirtualClusterTemplate } from "../../core/resources.ts";
import type { VirtualClusterStatus, VirtualClusterTemplateSpec } from "../../core/virtual-clusters.ts";
import { meant, templateStatus, templateToAsk } from "./resolve.ts";

function cluster(spec: VirtualCluster["spec"], status?: VirtualClusterStatus): VirtualCluster {
  const object = { apiVersion: "ironwright.dev/v1alpha1", kind: "VirtualCluster", metadata: { name: "acme", namespace: "team" } } as const;
  return { ...object, spec, ...(status ? { status } : {}) };
}

function template(spec: VirtualClusterTemplateSpec, generation = 3): VirtualClusterTemplate {
  return {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "VirtualClusterTemplate",
    metadata: { name: "small", namespace: "ironwright-system", generation },
    spec,
  };
}

const REF = { name: "small", parameters: { idle: "10m" } };
const SMALL = template({
  parameters: { idle: { type: "duration", default: "30m" } },
  template: { ttl: "72h", sleep: { afterIdle: "${idle}", stopAfter: "8h" } },
});

test("it is asked once, and again when what is asked for changes", () => {
  expect(templateToAsk(cluster({}))).toBeUndefined();
  expect(templateToAsk(cluster({ templateRef: REF }))).toBe(REF);
  const resolved = cluster({ templateRef: REF }, { template: templateStatus(cluster({}), REF, SMALL) });
  expect(templateToAsk(resolved)).toBeUndefined();
  expect(templateToAsk({ ...resolved, spec: { templateRef: { ...REF, generation: 4 } } })).toMatchObject({ generation: 4 });
});

test("what it says itself is over what its template said, and the template's change changes nothing", () => {
  const status = { template: templateStatus(cluster({}), REF, SMALL) };
  expect(status.template).toMatchObject({ namespace: "ironwright-system", generation: 3, spec: { sleep: { afterIdle: "10m" } } });
  expect(meant(cluster({ templateRef: REF, ttl: "1h", sleep: { paused: true } }, status)).spec).toEqual({
    templateRef: REF,
    ttl: "1h",
    sleep: { afterIdle: "10m", stopAfter: "8h", paused: true },
  });
  expect(meant(cluster({}, status)).spec).toEqual({});
});

test.each<[VirtualClusterTemplateSpec, string]>([
  [{ template: { ttl: "soon" } }, "the template's spec.template.ttl: expected a duration"],
  [{ template: { rockets: 1 } }, "the template's spec.template: Unrecognized key"],
  [{ template: { templateRef: { name: "other" } } }, "the template's spec.template.templateRef: a template is made of no other"],
])("%j: %s", (spec, says) => {
  expect(() => templateStatus(cluster({}), { name: "small" }, template(spec))).toThrow(says);
});

test("a generation that is not there says which one is", () => {
  expect(() => templateStatus(cluster({}), { name: "small", generation: 2 }, SMALL)).toThrow(
    "spec.templateRef.generation: 2 is not there; VirtualClusterTemplate ironwright-system/small is at 3",
  );
});

test("the template of the examples can be filled in", () => {
  const text = readFileSync(new URL("../../../deploy/examples/preview.yaml", import.meta.url), "utf8");
  const preview = parseAllDocuments(text)[0]?.toJS() as VirtualClusterTemplate;
  const asked = { name: "preview", parameters: { hours: "48" } };
  expect(templateStatus(cluster({}), asked, preview).spec).toMatchObject({ ttl: "48h", sleep: { schedule: [{ sleep: "0 20 * * *" }] } });
});
