import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { rackFindings, swapFindings } from "./doctor.ts";
import { findingLines } from "./doctor-boot/judge.ts";

const NONE = { on: false, bytes: 0, usedBytes: 0 } as const;
const ON = { on: true, bytes: 5, usedBytes: 0 } as const;

test.each([
  ["nobody slept yet", NONE, "file", "require", undefined],
  ["it could not be made", { ...NONE, reason: "no dm-crypt" }, "file", "require", /^there is none: no dm-crypt; modprobe loop dm_crypt/],
  ["zram could not be made", { ...NONE, reason: "no zram" }, "zram", "prefer", /^there is none: no zram; modprobe zram/],
  ["it is in clear", { ...ON, kind: "plain", reason: "no loop" }, "file", "prefer", /^it is in clear: no loop; .*restart the supervisor/],
  ["the disk is encrypted", { ...ON, kind: "plain" }, "file", "off", "swap of sleeping control planes (plain)"],
  ["it is encrypted", { ...ON, kind: "encrypted" }, "file", "prefer", "swap of sleeping control planes (encrypted)"],
] as const)("what is said of swap when %s", (_, status, swapMedium, swapEncryption, said) => {
  const [finding] = swapFindings(status, { swapMedium, swapEncryption });
  const text = finding?.wrong === undefined ? finding?.what : `${finding.wrong}; ${finding.mend}`;
  if (typeof said === "object") expect(text).toMatch(said);
  else expect(text).toBe(said);
});

test("what the virtual rack starts and the host lacks is named, with the command that brings it", () => {
  const dir = mkdtempSync(join(tmpdir(), "iw-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const [first, second] = [join(dir, "bin"), join(dir, "sbin")];
  for (const directory of [first, second]) mkdirSync(directory);
  writeFileSync(join(second, "ip"), "");
  expect(findingLines(rackFindings(`${first}:${second}`))).toEqual([
    "– qemu-system-x86_64 (only `ironwright rack` needs it): not on the PATH\n    apt-get install --no-install-recommends qemu-system-x86",
    "✓ ip (only `ironwright rack` needs it)",
    "– setpriv (only `ironwright rack` needs it): not on the PATH\n    apt-get install --no-install-recommends util-linux",
  ]);
});
