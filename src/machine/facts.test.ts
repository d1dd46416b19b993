import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { inventoryOf } from "./facts.ts";

const base = [
  ["system", "Ironlab", "GB2", "SN1", "AAAA-1"],
  ["firmware", "uefi"],
  ["architecture", "x86_64"],
  ["cpu", "CPU", "1", "2", "4"],
  ["memory", "1000", "16 GB\n512 MB"],
];

function printed(lines: readonly (readonly string[])[]): unknown {
  const text = lines
    .map(([kind, ...values]) => [kind, ...values.map((value) => Buffer.from(value).toString("base64"))].join("\t"))
    .join("\n");
  return { facts: Buffer.from(`${text}\n`).toString("base64") };
}

test("facts become an inventory, whatever firmware wrote into its strings", () => {
  const serial = 'a"b\\c\td\ne{$(reboot)}\u0000é';
  const got = inventoryOf(
    "m-1",
    printed([
      ...base,
      ["disk", "nvme0n1", serial, "eui.1", "Model X", "1024", "0", "0", "gpt ext4 ext4 "],
      ["disk", "loop0", "", "", "", "1024", "1", "1", ""],
      ["nic", "eth0", "52:54:00:00:00:01", "", "0"],
      ["gpu", "0000:43:00.0", "0x10de", "0x2330", "1", ""],
      ["gpu", "0000:00:01.0", "0x1234", "0x1111", "-1", "VGA"],
      ["a kind of a later version", "x"],
    ]),
  );
  expect(got.disks).toEqual([
    {
      path: "/dev/nvme0n1",
      name: "nvme0n1",
      serial: 'a"b\\c d e{$(reboot)} é',
      wwn: "eui.1",
      model: "Model X",
      sizeBytes: 1024,
      rotational: false,
      signatures: ["ext4", "gpt"],
    },
  ]);
  expect(got.system.uuid).toBe("aaaa-1");
  expect(got.memoryBytes).toBe(16 * 2 ** 30 + 512 * 2 ** 20);
  expect(got.nics).toEqual([{ name: "eth0", mac: "52:54:00:00:00:01", link: false }]);
  expect(got.gpus).toEqual([{ address: "0000:43:00.0", id: "10de:2330", model: "NVIDIA H100 SXM5 80GB", numaNode: 1 }]);
});

test("what cannot be used is refused by name", () => {
  expect(() => inventoryOf("m-1", {})).toThrow(/no facts/);
  expect(() => inventoryOf("m-1", printed(base.slice(1)))).toThrow(/system: missing/);
  expect(() => inventoryOf("m-1", printed([...base, ["disk", "../x", "", "", "", "1", "0", "0", ""]]))).toThrow(/disk \.\.\/x/);
});

test("the inspection's script prints facts of this very host", () => {
  const script = fileURLToPath(new URL("../../playbooks/inspect/facts.sh", import.meta.url));
  const got = inventoryOf("here", JSON.parse(execFileSync("sh", ["-eu", script], { encoding: "utf8" })));
  expect(got.cpu.threads).toBeGreaterThan(0);
  expect(got.memoryBytes).toBeGreaterThan(2 ** 26);
});
