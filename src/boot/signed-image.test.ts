import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readIndex } from "../config/index.ts";
import { whyUnsigned } from "./signed-image.ts";

/** Debian's own: the kernel that the installer boots, the shim that judges it, and iPXE, which nobody signed. */
const { installer, pxe } = readIndex(join(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"), "artifacts.json"));
const shim = join(pxe, "shimx64.efi");
const directory = mkdtempSync(join(tmpdir(), "ironwright-signed-"));
afterAll(() => rmSync(directory, { recursive: true }));

test("the installer's kernel is Debian's signed one, as is GRUB", () => {
  expect(whyUnsigned(installer.kernel, shim)).toBeUndefined();
  expect(whyUnsigned(join(pxe, "grubx64.efi"), shim)).toBeUndefined();
});

test.each([
  ["a kernel with one bit changed", (kernel: Buffer) => kernel.fill((kernel[100_000] ?? 0) ^ 1, 100_000, 100_001), /its digest is another/],
  ["a kernel cut short", (kernel: Buffer) => kernel.subarray(0, kernel.length - 100), /cannot be read|digest/],
  ["a text", () => Buffer.from("not a program, and long enough to be looked at".repeat(4)), /no EFI program/],
  ["an empty file", () => Buffer.alloc(0), /cannot be read/],
  [
    "a signature whose value is another",
    (kernel: Buffer) => kernel.fill(0x5a, kernel.length - 40, kernel.length - 20),
    /does not hold|cannot be read/,
  ],
])("%s is refused", (_, spoil, reason) => {
  const path = join(directory, "kernel");
  writeFileSync(path, spoil(readFileSync(installer.kernel)));
  expect(whyUnsigned(path, shim)).toMatch(reason);
});

test("iPXE is not signed, and Microsoft's signature is none of this shim's own", () => {
  expect(whyUnsigned(join(pxe, "snponly.efi"), shim)).toBe("it is not signed");
  expect(whyUnsigned(shim, shim)).toBeDefined();
});
