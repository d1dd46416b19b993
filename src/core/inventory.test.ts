import { expect, test } from "vitest";
import { summaryOf } from "./inventory.ts";
import type { Gpu, Inventory } from "./resources.ts";

const gpu = (model: string): Gpu => ({ address: "0000:43:00.0", id: "10de:2330", model, numaNode: 0 });
const inventory = (gpus: readonly Gpu[]): Inventory => ({
  system: { manufacturer: "QEMU", product: "Q35", serial: "1", uuid: "u" },
  firmware: "bios",
  architecture: "x86_64",
  cpu: { model: "TCG", sockets: 1, cores: 2, threads: 2 },
  memoryBytes: 1.5 * 1024 ** 3,
  disks: [],
  nics: [],
  gpus,
});

test.each([
  [[], "none"],
  [["GH100 [H100 SXM5 80GB]", "GH100 [H100 SXM5 80GB]"], "2× H100 SXM5 80GB"],
  [["GH100 [H100 PCIe]", "NVIDIA L4"], "1× H100 PCIe, 1× NVIDIA L4"],
  [[""], "1× 10de:2330"],
])("GPUs %j are %s", (models, text) => {
  expect(summaryOf(inventory(models.map(gpu)))).toEqual({ cpu: "2", memory: "1.5Gi", gpus: text });
});
