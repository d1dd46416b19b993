import { spawnSync } from "node:child_process";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { createContext } from "../../scripts/setup/context.mjs";
import { goPlaces } from "../../scripts/setup/go.mjs";
import { createLines } from "../../scripts/setup/lines.mjs";

const repo = join(import.meta.dirname, "../..");
const native = join(repo, "native");
const cacheDir = resolve(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"));
const context = createContext({ repo, cacheDir, purpose: "test", lines: createLines(process.stderr) });

/** Go's own tests: the device plugin against a kubelet's registration socket, GPUs from a sysfs. */
test.each([
  ["vet", ["vet", "./..."]],
  ["test", ["test", "-count=1", "./..."]],
])(
  "go %s of the native helper",
  async (_name, args) => {
    const env = { ...process.env, ...(await goPlaces(context)), CGO_ENABLED: "0" };
    const { status, stdout, stderr } = spawnSync("go", args, { cwd: native, encoding: "utf8", env });
    expect({ status, output: status === 0 ? "" : `${stdout}${stderr}` }).toEqual({ status: 0, output: "" });
  },
  300_000,
);
