import { expect, test } from "vitest";
import { isError } from "../core/errors.ts";
import type { RootDevice } from "../core/resources.ts";
import { disk } from "./machine.fixture.ts";
import { rootDisk } from "./root-disk.ts";

const GIB = 2 ** 30;
const small = disk({ path: "/dev/sda", name: "sda", serial: "A", model: "Small", sizeBytes: 64 * GIB });
const large = disk({ path: "/dev/nvme1n1", name: "nvme1n1", serial: "B", wwn: "eui.1", model: "Large", sizeBytes: 4096 * GIB });
const twin = disk({ path: "/dev/nvme0n1", name: "nvme0n1", serial: "C", model: "Large", sizeBytes: 4096 * GIB });

function chosen(hint?: RootDevice, imageBytes = GIB, disks = [large, small, twin]): string {
  try {
    return rootDisk({ machine: "m-1", disks, hint, imageBytes }).path;
  } catch (error) {
    if (isError(error, "IRW_DISK_NONE")) return error.message;
    throw error;
  }
}

test("without a hint the smallest disk that holds the image", () => {
  expect(chosen()).toBe("/dev/sda");
  expect(chosen(undefined, 100 * GIB)).toBe("/dev/nvme0n1");
});

test("all hints must match", () => {
  expect(chosen({ serial: "B" })).toBe("/dev/nvme1n1");
  expect(chosen({ wwn: "eui.1", model: "Large" })).toBe("/dev/nvme1n1");
  expect(chosen({ name: "sda" })).toBe("/dev/sda");
  expect(chosen({ name: "/dev/sda" })).toBe("/dev/sda");
  expect(chosen({ minSizeGiB: 65 })).toBe("/dev/nvme0n1");
  expect(chosen({ serial: "B", model: "Small" })).toContain("has no disk that is of at least 1.1 GiB with serial B with model Small");
});

test("a disk that is too small is refused, and no other is taken", () => {
  expect(chosen({ serial: "A" }, 64 * GIB)).toContain("it has /dev/nvme1n1 (4096.0 GiB, Large, serial B); /dev/sda (64.0 GiB");
  expect(chosen(undefined, GIB, [])).toContain("it has no disk at all");
});

test("two disks that nothing but their names tells apart are refused, whatever the hint; a WWN is enough", () => {
  const one = disk({ path: "/dev/sda", name: "sda", serial: "", sizeBytes: 64 * GIB });
  const other = disk({ path: "/dev/sdb", name: "sdb", serial: "", sizeBytes: 64 * GIB });
  expect(chosen({ name: "sda" }, GIB, [one, other])).toContain(
    "known by its serial, WWN or size; it has /dev/sda (64.0 GiB, M1, serial none)",
  );
  expect(
    chosen(undefined, GIB, [
      { ...one, wwn: "eui.1" },
      { ...other, wwn: "eui.2" },
    ]),
  ).toBe("/dev/sda");
  expect(chosen(undefined, GIB, [one, { ...other, sizeBytes: 65 * GIB }])).toBe("/dev/sda");
});
