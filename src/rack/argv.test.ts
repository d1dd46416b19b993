import { expect, test } from "vitest";
import { gpuIdentity, type QemuSetting, qemuArguments } from "./argv.ts";
import { defaultRack, type Server } from "./config.ts";
import { serverPaths } from "./paths.ts";
import { bootOf, NO_OVERRIDE, type Override } from "./power.ts";

function argumentsOf(name: string, override: Override = NO_OVERRIDE, change: Partial<Server> = {}): string[] {
  const server = defaultRack().servers.find((one) => one.name === name);
  if (!server) throw new Error(`no ${name}`);
  const setting: QemuSetting = {
    server: { ...server, ...change },
    uuid: "5a9b1c7e-0000-8000-8000-000000000001",
    serial: "IW0001",
    paths: serverPaths(`/r/${name}`),
    boot: bootOf(override).boot,
    tap: "tap0",
    ovmf: { code: "/ovmf/code.fd" },
  };
  return qemuArguments(setting);
}

const device = (args: readonly string[], start: string) => args.filter((one) => one.startsWith(start));

test("BIOS: the disk first, the network behind it, iPXE by the NIC's ROM", () => {
  const args = argumentsOf("bios-1");
  expect(device(args, "q35")).toEqual(["q35,sata=off,smbus=off,memory-backend=ram,graphics=off"]);
  expect(device(args, "virtio-net-pci")).toEqual(["virtio-net-pci,bus=pcie.0,addr=2,netdev=prov,mac=52:54:00:77:00:01,bootindex=101"]);
  expect(device(args, "nvme")).toEqual(["nvme,bus=pcie.0,addr=4,drive=disk0,serial=IW0001-0,bootindex=1"]);
  expect(device(args, "if=none")).toEqual([
    "if=none,id=disk0,file=/r/bios-1/disk-0.raw,format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap",
  ]);
  expect(device(args, "if=pflash")).toEqual([]);
});

test("UEFI: OVMF with this server's own variables, its own network stack", () => {
  const args = argumentsOf("uefi-1");
  expect(device(args, "if=pflash")).toEqual([
    "if=pflash,format=raw,unit=0,file=/ovmf/code.fd,readonly=on",
    "if=pflash,format=raw,unit=1,file=/r/uefi-1/vars.fd",
  ]);
  expect(device(args, "virtio-net-pci")[0]).toMatch(/,bootindex=101,romfile=$/);
  expect(args.join(" ")).not.toContain("graphics=off");
});

test.each([
  ["Pxe", 1, 101],
  ["Hdd", 101, 1],
] as const)("override %s: NIC at %i, disk at %i", (target, nic, disk) => {
  const args = argumentsOf("uefi-1", { target, enabled: "Once" });
  expect(device(args, "virtio-net-pci")[0]).toContain(`bootindex=${nic},`);
  expect(device(args, "nvme")[0]).toContain(`bootindex=${disk}`);
});

test("UefiHttp leaves OVMF nothing but HTTP to boot from the network", () => {
  expect(argumentsOf("uefi-1", { target: "UefiHttp", enabled: "Continuous" })).toContain("name=opt/org.tianocore/IPv4PXESupport,string=n");
  expect(argumentsOf("uefi-1", { target: "Pxe", enabled: "Continuous" }).join(" ")).not.toContain("PXESupport");
});

test("an override that is disabled changes nothing, Once is used up, Continuous stays", () => {
  expect(bootOf({ target: "Pxe", enabled: "Disabled" }).boot).toEqual(["disk", "network"]);
  expect(bootOf({ target: "Pxe", enabled: "Once" })).toEqual({ boot: ["network", "disk"], next: NO_OVERRIDE });
  expect(bootOf({ target: "Pxe", enabled: "Continuous" }).next).toEqual({ target: "Pxe", enabled: "Continuous" });
});

test("GPUs: a switch behind a root port, a downstream port and a descriptor each, no slot or bus twice", () => {
  const gpus = [0, 0, 1, 1].map((index) => ({ id: "10de:2330", switch: index }));
  const args = argumentsOf("bios-1", NO_OVERRIDE, { gpus });
  expect(device(args, "x-pci-proxy-dev")).toEqual(
    [0, 1, 2, 3].map((index) => `x-pci-proxy-dev,id=gpu${index},bus=port${index},fd=${3 + index}`),
  );
  expect(device(args, "x3130-upstream")).toEqual(["x3130-upstream,id=switch0,bus=root0", "x3130-upstream,id=switch1,bus=root1"]);
  const chassis = args.flatMap((one) => /chassis=(\d+)/.exec(one)?.[1] ?? []);
  expect(new Set(chassis).size).toBe(6);
  expect(gpuIdentity("10de:2330")).toMatchObject({ vendor: 0x10de, device: 0x2330, classCode: 0x030200 });
});

test("a comma in SMBIOS text is one value still", () => {
  expect(argumentsOf("bios-1", NO_OVERRIDE, { product: "GB200, NVL72" }).join(" ")).toContain("product=GB200,, NVL72,");
});
