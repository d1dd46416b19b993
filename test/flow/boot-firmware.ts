import { spawn } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ended, type TestNetwork } from "./boot-network.ts";

/** Real firmware in QEMU, without KVM: what a server does from power-on until somebody else's program runs. */
export type Firmware = "bios" | "bios-undionly" | "uefi-pxe" | "uefi-http" | "uefi-secure";

export interface VirtualServer {
  /** All it wrote to its serial console so far. */
  console(): string;
  readonly running: boolean;
  end(): Promise<void>;
}

export interface PowerOn {
  readonly network: TestNetwork;
  readonly bridge: string;
  readonly firmware: Firmware;
  readonly mac: string;
  readonly directory: string;
  readonly memoryMiB?: number;
  /** For `bios-undionly`: where the first iPXE finds undionly.kpxe. */
  readonly server?: string;
}

const OVMF = "/usr/share/OVMF";
/** All TCG can, but what makes it slow. */
const CPU = "max,-erms,-fsrm,-la57,-smap,-smep,-pku";

export function powerOn(options: PowerOn): VirtualServer {
  const { network, mac, directory } = options;
  const log = join(directory, `console-${mac.replaceAll(":", "")}-${options.firmware}`);
  rmSync(log, { force: true });
  const tap = network.tap(options.bridge);
  const nic = ["-netdev", `tap,id=prov,ifname=${tap},script=no,downscript=no`];
  const arguments_ = [
    ...["-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", "1", "-m", String(options.memoryMiB ?? 512)],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-uuid", `00000000-0000-4000-8000-${mac.replaceAll(":", "")}`, "-smbios", "type=1,serial=S1"],
    ...["-serial", `file:${log}`],
    ...nic,
    ...firmware(options, join(directory, `vars-${mac.replaceAll(":", "")}`)),
  ];
  const child = spawn("ip", ["netns", "exec", network.namespace, "nice", "qemu-system-x86_64", ...arguments_], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  return {
    console: () => (existsSync(log) ? readFileSync(log, "latin1") : ""),
    get running() {
      return child.exitCode === null && child.signalCode === null;
    },
    end: () => ended(child),
  };
}

function firmware({ firmware, mac, server }: PowerOn, vars: string): string[] {
  const nic = (more: string) => ["-device", `virtio-net-pci,netdev=prov,mac=${mac}${more}`];
  const flash = (code: string, store: string) => {
    copyFileSync(join(OVMF, store), vars);
    return [
      "-drive",
      `if=pflash,format=raw,unit=0,readonly=on,file=${join(OVMF, code)}`,
      "-drive",
      `if=pflash,format=raw,unit=1,file=${vars}`,
    ];
  };
  // without its own ROM: the firmware's network stack is what is asked, not iPXE's
  const plain = nic(",romfile=,bootindex=1");
  switch (firmware) {
    case "bios":
      return ["-machine", "pc,graphics=off", ...nic(",bootindex=1")];
    case "bios-undionly": {
      // QEMU's ROMs are iPXE already; an iPXE that is a PXE ROM to the one it loads stands for a vendor's ROM
      const program = ["-kernel", "/usr/lib/ipxe/ipxe.lkrn", "-append", `dhcp && chain tftp://${server}/undionly.kpxe`];
      return ["-machine", "pc,graphics=off", ...nic(",romfile="), ...program];
    }
    case "uefi-pxe":
      return ["-machine", "q35", ...flash("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"), ...plain];
    case "uefi-http": {
      const off = ["IPv4PXESupport", "IPv6PXESupport"].flatMap((name) => ["-fw_cfg", `name=opt/org.tianocore/${name},string=n`]);
      return ["-machine", "q35", ...flash("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"), ...plain, ...off];
    }
    case "uefi-secure": {
      // Microsoft's keys are enrolled in this store, and secure boot is on; SMM guards it
      const secure = ["-global", "driver=cfi.pflash01,property=secure,value=on"];
      return ["-machine", "q35,smm=on", ...secure, ...flash("OVMF_CODE_4M.ms.fd", "OVMF_VARS_4M.ms.fd"), ...plain];
    }
  }
}
