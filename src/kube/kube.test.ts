import { expect, test } from "vitest";
import { MACHINE, VIRTUAL_CLUSTER } from "../core/resources.ts";
import { apiVersionOf, pathOf } from "./kube.ts";
import { DEPLOYMENT, POD, SECRET } from "./upstream.ts";

test.each([
  [pathOf(POD), "/api/v1/pods"],
  [pathOf(SECRET, { namespace: "a", name: "b" }), "/api/v1/namespaces/a/secrets/b"],
  [pathOf(DEPLOYMENT, { namespace: "a" }), "/apis/apps/v1/namespaces/a/deployments"],
  [pathOf(MACHINE, { name: "m", subresource: "status" }), "/apis/ironwright.dev/v1alpha1/machines/m/status"],
  [pathOf(MACHINE, { namespace: "ignored", name: "m" }), "/apis/ironwright.dev/v1alpha1/machines/m"],
  [pathOf(VIRTUAL_CLUSTER, { namespace: "a/../b", name: "?" }), "/apis/ironwright.dev/v1alpha1/namespaces/a%2F..%2Fb/virtualclusters/%3F"],
])("%s", (path, wanted) => {
  expect(path).toBe(wanted);
});

test("the version of a core kind has no group", () => {
  expect(apiVersionOf(POD)).toBe("v1");
  expect(apiVersionOf(DEPLOYMENT)).toBe("apps/v1");
});
