import { expect, test } from "vitest";
import { checkVersion } from "./etcd-version.ts";

test.each(["3.6.14", "3.6.16", "3.7.1", "3.7.3", "3.8.0", "4.0.0"])("%s keeps tenants in their keys", (version) => {
  expect(() => checkVersion(version)).not.toThrow();
});

test.each(["3.6.13", "3.6.0", "3.6.14-rc.0", "3.7.0", "3.5.33", "2.3.8", "", "latest"])("%j is refused", (version) => {
  expect(() => checkVersion(version)).toThrow(expect.objectContaining({ code: "IRW_DATASTORE_VERSION" }));
});
