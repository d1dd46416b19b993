import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const native = join(import.meta.dirname, "../../native");

/** Go's own tests: the device plugin against a kubelet's registration socket, GPUs from a sysfs. */
test.each([
  ["vet", ["vet", "./..."]],
  ["test", ["test", "-count=1", "./..."]],
])(
  "go %s of the native helper",
  (_name, args) => {
    const { status, stdout, stderr } = spawnSync("go", args, { cwd: native, encoding: "utf8", env: { ...process.env, CGO_ENABLED: "0" } });
    expect({ status, output: status === 0 ? "" : `${stdout}${stderr}` }).toEqual({ status: 0, output: "" });
  },
  300_000,
);
