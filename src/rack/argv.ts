import type { Server } from "./config.ts";
import type { PciIdentity } from "./gpu.ts";
import type { ServerPaths } from "./paths.ts";

/** What a boot tries, in order; a firmware that finds nothing on one goes to the next. */
export type BootSource = "disk" | "network" | "network-http";

export interface QemuSetting {
  readonly server: Server;
  readonly uuid: string;
  readonly serial: string;
  readonly paths: ServerPaths;
  readonly boot: readonly BootSource[];
  /** The tap its NIC is plugged into. */
  readonly tap: string;
  readonly ovmf: { readonly code: string };
}

/** QEMU's file descriptors for GPU proxies begin after stdin, stdout and stderr. */
export const FIRST_GPU_FD = 3;

/** All TCG can, but what makes it slow: string moves byte by byte, five levels of page tables, protection checks at each switch. */
const CPU = "max,-erms,-fsrm,-la57,-smap,-smep,-pku";

/** Everything QEMU is told. Pure: the boot order of a boot is fixed here, so a changed order needs a new process. */
export function qemuArguments(setting: QemuSetting): string[] {
  const { server, uuid, serial, paths } = setting;
  return [
    // q35 for both firmwares: only it has PCIe; SATA and SMBus off because nothing here uses them
    ...["-name", server.name, "-machine", `q35,sata=off,smbus=off,memory-backend=ram${server.firmware === "bios" ? ",graphics=off" : ""}`],
    // no KVM is assumed; shared memory because a PCI proxy is given it (QEMU docs/system/multi-process.rst)
    ...["-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", String(server.cpus), "-m", String(server.memoryMiB)],
    ...["-object", `memory-backend-memfd,id=ram,size=${server.memoryMiB}M,share=on`],
    ...["-nodefaults", "-no-user-config", "-display", "none"],
    // a process never restarts its guest: a reboot ends it, and the chassis starts the next with the boot order of then
    ...["-action", "reboot=shutdown,shutdown=poweroff,panic=none"],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ...["-uuid", uuid],
    ...["-smbios", smbios({ type: 1, manufacturer: server.manufacturer, product: server.product, serial, uuid })],
    ...["-smbios", smbios({ type: 3, manufacturer: server.manufacturer, serial })],
    ...["-chardev", `socket,id=console,path=${paths.console},server=on,wait=off,logfile=${paths.consoleLog},logappend=on`],
    ...["-serial", "chardev:console"],
    ...["-chardev", `socket,id=qmp,path=${paths.qmp},server=on,wait=off`, "-mon", "chardev=qmp,mode=control"],
    ...firmware(setting),
    ...nic(setting),
    ...server.disks.flatMap((disk, index) => disks(setting, disk, index)),
    ...gpus(server),
  ];
}

function firmware({ server, paths, ovmf, boot }: QemuSetting): string[] {
  if (server.firmware === "bios")
    return ["-chardev", `file,id=firmware,path=${paths.firmwareLog}`, "-device", "isa-debugcon,iobase=0x402,chardev=firmware"];
  const flash = (unit: number, file: string, more = "") => ["-drive", `if=pflash,format=raw,unit=${unit},file=${file}${more}`];
  return [
    ...flash(0, ovmf.code, ",readonly=on"),
    ...flash(1, paths.vars),
    // OVMF offers PXE and HTTP boot alike; without PXE, HTTP is what is left
    ...(boot.includes("network-http")
      ? ["IPv4PXESupport", "IPv6PXESupport"].flatMap((name) => ["-fw_cfg", `name=opt/org.tianocore/${name},string=n`])
      : []),
  ];
}

function nic({ server, tap, boot }: QemuSetting): string[] {
  const at = Math.max(boot.indexOf("network"), boot.indexOf("network-http"));
  const device = [
    "virtio-net-pci",
    "bus=pcie.0",
    "addr=2",
    "netdev=prov",
    `mac=${server.bootMAC}`,
    ...(at < 0 ? [] : [`bootindex=${1 + at * 100}`]),
    // UEFI brings its own network stack, and iPXE's ROM would take its place
    ...(server.firmware === "uefi" || at < 0 ? ["romfile="] : []),
  ];
  return ["-netdev", `tap,id=prov,ifname=${tap},script=no,downscript=no`, "-device", device.join(",")];
}

function disks({ paths, serial, boot }: QemuSetting, disk: Server["disks"][number], index: number): string[] {
  const at = boot.indexOf("disk");
  const drive = [
    "if=none",
    `id=disk${index}`,
    `file=${paths.disk(index)}`,
    "format=raw",
    "cache=unsafe",
    "discard=unmap",
    "detect-zeroes=unmap",
  ];
  const device = [
    disk.bus === "nvme" ? "nvme" : "virtio-blk-pci",
    "bus=pcie.0",
    `addr=${(4 + index).toString(16)}`,
    `drive=disk${index}`,
    `serial=${serial}-${index}`,
    ...(at < 0 ? [] : [`bootindex=${1 + at * 100 + index}`]),
  ];
  return ["-drive", drive.join(","), "-device", device.join(",")];
}

/** Root port, switch (one upstream, a downstream port a GPU), GPU: the shape of a real baseboard. */
function gpus(server: Server): string[] {
  const switches = [...new Set(server.gpus.map((gpu) => gpu.switch))];
  const slot = new Map<number, number>();
  const chassis = (index: number) => switches.length + 1 + index;
  return [
    ...switches.flatMap((id, index) => [
      ...["-device", `pcie-root-port,id=root${id},bus=pcie.0,addr=${(0x18 + index).toString(16)},chassis=${index + 1},slot=${index + 1}`],
      ...["-device", `x3130-upstream,id=switch${id},bus=root${id}`],
    ]),
    ...server.gpus.flatMap((gpu, index) => {
      const port = slot.get(gpu.switch) ?? 0;
      slot.set(gpu.switch, port + 1);
      return [
        ...["-device", `xio3130-downstream,id=port${index},bus=switch${gpu.switch},chassis=${chassis(index)},slot=${port}`],
        ...["-device", `x-pci-proxy-dev,id=gpu${index},bus=port${index},fd=${FIRST_GPU_FD + index}`],
      ];
    }),
  ];
}

/** What a simulated GPU says of itself. */
export function gpuIdentity(id: string): PciIdentity {
  const [vendor = 0, device = 0] = id.split(":").map((part) => Number.parseInt(part, 16));
  return { vendor, device, classCode: 0x030200, revision: 0xa1, subsystemVendor: vendor, subsystem: 0x16c1, barBytes: 1 << 24 };
}

/** QEMU doubles commas inside values. */
function smbios(fields: Readonly<Record<string, string | number>>): string {
  return Object.entries(fields)
    .map(([key, value]) => `${key}=${String(value).replaceAll(",", ",,")}`)
    .join(",");
}
