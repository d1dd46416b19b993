import { join } from "node:path";
import { expect, test } from "vitest";
import { importsOf, importsUnder, loadedBy, objection } from "./graph.ts";

const repo = join(import.meta.dirname, "../..");

test("every import follows the drawn graph", () => {
  const imports = importsUnder(repo);
  expect(imports.length).toBeGreaterThan(20);
  expect(imports.map(objection).filter(Boolean)).toEqual([]);
});

test.each([
  ["src/core/machine.ts", "src/kube/index.ts", "core imports nothing"],
  ["src/kube/client.ts", "src/machine/index.ts", "a lower layer imports a higher one"],
  ["src/kube/client.ts", "src/work/index.ts", "folders of the lower layer do not know each other"],
  ["src/boot/plane.ts", "src/config/index.ts", "boot is configured by values"],
  ["src/machine/saga.ts", "src/boot/leases.ts", "peers are imported through index.ts"],
  ["src/machine/saga.ts", "src/kube/client.ts", "a lower folder is imported through index.ts"],
  ["src/machine/saga.ts", "src/rack/index.ts", "rack comes last"],
  ["src/autoscale/plan/plan.ts", "src/kube/index.ts", "plan imports core alone"],
  ["src/autoscale/plan/plan.ts", "src/autoscale/demand.ts", "plan imports core alone, even of its own folder"],
  ["src/rack/up.ts", "src/main.ts", "nothing imports main"],
  ["src/boot/plane.ts", "src/unheard/index.ts", "a folder that is not drawn"],
  ["src/boot/plane.ts", "test/rack/demo.ts", "what lies outside src"],
])("%s -> %s is refused: %s", (from, to) => {
  expect(objection({ from, to })).toContain(to);
});

test.each([
  ["src/machine/saga.ts", "src/core/errors.ts"],
  ["src/machine/saga.ts", "src/boot/index.ts"],
  ["src/machine/saga.ts", "src/kube/index.ts"],
  ["src/machine/saga.ts", "src/machine/phases.ts"],
  ["src/autoscale/plan/plan.ts", "src/autoscale/plan/requirements.ts"],
  ["src/rack/up.ts", "src/config/index.ts"],
  ["src/main.ts", "src/config/index.ts"],
  ["src/cli/main.ts", "src/machine/phases.ts"],
])("%s -> %s is fine", (from, to) => {
  expect(objection({ from, to })).toBeUndefined();
});

test("imports of every form are seen, and comments are not", () => {
  const text = [
    'import { a } from "./a.ts";',
    'import type { B } from "../kube/b.ts";',
    'export * from "./c.ts";',
    'import "./d.ts";',
    'const e = await import("./e.ts");',
    'type F = import("./f.ts").F;',
    "import {\n  g,\n} from './g.ts';",
    'import h from "h"; // import "./not.ts"',
    '/* import "./neither.ts" */',
  ].join("\n");
  expect(importsOf("src/boot/x.ts", text).map((one) => one.to)).toEqual(
    ["boot/a", "kube/b", "boot/c", "boot/d", "boot/e", "boot/f", "boot/g"].map((name) => `src/${name}.ts`),
  );
});

// a killed daemon answers again when these are loaded, and no sooner
test.each(["src/boot-first.ts", "src/cli/main.ts", "src/cli/serve.ts"])("%s loads little before the boot plane is up", (file) => {
  const loaded = [...loadedBy(repo, file)];
  const folders = new Set(loaded.map((one) => /^src\/([^/]+)\//.exec(one)?.[1]).filter((one) => one !== undefined));
  const allowed = file === "src/boot-first.ts" ? ["backup", "boot", "core", "wire", "observe"] : ["boot", "cli", "config", "core", "wire"];
  expect([...folders].filter((folder) => !allowed.includes(folder))).toEqual([]);
  for (const heavy of ["@kubernetes/client-node", "@peculiar/x509", "bullmq", "fastify", "ssh2", "undici"])
    expect(loaded).not.toContain(heavy);
});

test("what is loaded is told from what is a type, and from what is loaded later", () => {
  expect(loadedBy(repo, "src/boot-first.ts")).toContain("src/boot/dhcp-server.ts");
  expect(loadedBy(repo, "src/cli/serve.ts")).not.toContain("src/main.ts");
  expect(loadedBy(repo, "src/main.ts")).toContain("fastify");
  expect(loadedBy(repo, "src/boot/plane.ts")).not.toContain("src/boot/https.ts");
});
