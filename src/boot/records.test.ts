import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isError } from "../core/errors.ts";
import type { BootRecord } from "./contract.ts";
import { createRecords } from "./records.ts";
import { openBootStore } from "./store.ts";

const intent = {
  boot: "installer",
  nonce: "0123456789abcdefghijkl",
  authorizedKey: "ssh-ed25519 AAAAC3Nz",
  kernelArguments: ["console=ttyS0"],
} as const;
const record: BootRecord = { machine: "bios-1", macs: ["52:54:00:77:00:01"], hostname: "bios-1", intent };
const hello = {
  nonce: intent.nonce,
  hostKey: "ssh-ed25519 AAAA",
  address: "10.77.0.11",
  mac: "52:54:00:77:00:01",
  uuid: "u",
  serial: "s",
  firmware: "bios",
} as const;

test("records, hellos and files are there again after a restart, without a clean end before", () => {
  const directory = mkdtempSync(join(tmpdir(), "ironwright-boot-"));
  try {
    const path = join(directory, "boot.sqlite");
    const before = createRecords(openBootStore(path));
    before.put(record);
    before.putHello(hello);
    before.serveFile(intent.nonce, "image", "/tmp/image");

    const store = openBootStore(path);
    const after = createRecords(store);
    expect(after.all()).toEqual([record]);
    expect(after.byHardware("52:54:00:77:00:01")).toEqual(record);
    expect(after.byNonce(intent.nonce)).toEqual(record);
    expect(after.helloOf(intent.nonce)).toEqual(hello);
    expect(after.file(intent.nonce, "image")).toBe("/tmp/image");
    store.close();
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a new nonce ends the old one and all that hangs on it", () => {
  const records = createRecords(openBootStore(":memory:"));
  records.put(record);
  records.putHello(hello);
  records.serveFile(intent.nonce, "image", "/tmp/image");
  records.put({ ...record, intent: { ...intent, nonce: "another-nonce-of-length" } });
  expect(records.byNonce(intent.nonce)).toBeUndefined();
  expect(records.helloOf(intent.nonce)).toBeUndefined();
  expect(records.file(intent.nonce, "image")).toBeUndefined();
  expect(records.byNonce("another-nonce-of-length")?.machine).toBe("bios-1");
});

test("the same nonce again keeps the hello", () => {
  const records = createRecords(openBootStore(":memory:"));
  records.put(record);
  records.putHello(hello);
  records.put({ ...record, hostname: "renamed" });
  expect(records.helloOf(intent.nonce)).toEqual(hello);
});

test("a NIC that is taken off a machine is a stranger's", () => {
  const records = createRecords(openBootStore(":memory:"));
  records.put({ ...record, macs: ["52:54:00:77:00:01", "52:54:00:77:00:09"] });
  records.put(record);
  expect(records.byHardware("52:54:00:77:00:09")).toBeUndefined();
});

test.each([
  [{ ...record, macs: ["52-54-00-77-00-01"] }, /hardware address/],
  [{ ...record, macs: [] }, /no hardware address/],
  [{ ...record, hostname: "Not A Name" }, /hostname/],
  [{ ...record, intent: { ...intent, nonce: "short" } }, /128 bits/],
  [{ ...record, intent: { ...intent, authorizedKey: "ssh-ed25519 AAAA\nssh-rsa BBBB" } }, /one OpenSSH public key/],
  [{ ...record, intent: { ...intent, kernelArguments: [`a=\${x}`] } }, /kernel argument/],
  [{ ...record, machine: "other" }, /bios-1 has one of its hardware addresses/],
  [{ ...record, machine: "other", macs: ["52:54:00:77:00:02"] }, /its nonce is that of bios-1/],
])("what cannot be booted is refused, and nothing is changed: %#", (bad, why) => {
  const records = createRecords(openBootStore(":memory:"));
  records.put(record);
  expect(() => records.put(bad)).toThrow(why);
  try {
    records.put(bad);
  } catch (error) {
    expect(isError(error, "IRW_BOOT_RECORD")).toBe(true);
  }
  expect(records.all()).toEqual([record]);
});

test("a NIC that was recognised is its machine's, until a machine says that it is its own", () => {
  const records = createRecords(openBootStore(":memory:"));
  records.put(record);
  records.recognise("52:54:00:00:00:99", record.machine);
  expect(records.ownerOf("52:54:00:00:00:99")?.machine).toBe(record.machine);
  expect(records.byHardware("52:54:00:00:00:99")).toBeUndefined();
  records.put({ ...record, machine: "other-1", macs: ["52:54:00:00:00:99"], intent: { boot: "disk" } });
  expect(records.ownerOf("52:54:00:00:00:99")?.machine).toBe("other-1");
});
