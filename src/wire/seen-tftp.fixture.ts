/** Read requests as they were seen on the wire, with what a reader takes from them. All captured on virtual networks. */
export interface SeenRequest {
  readonly client: string;
  readonly bytes: Uint8Array;
  readonly file: string;
  readonly options: readonly (readonly [name: string, value: string])[];
}

function seen(client: string, file: string, ...options: (readonly [string, string])[]): SeenRequest {
  const text = ["\0\x01", [file, "octet", ...options.flat()].map((one) => `${one}\0`).join("")].join("");
  return { client, bytes: Buffer.from(text, "latin1"), file, options };
}

const EDK2 = "OVMF 2022.11 PXE";
const SHIM = "shim 16.1 of Debian 12";
const GRUB = "GRUB 2.06 of Debian 12, signed for the network";
const WINDOW_OF_4 = ["windowsize", "4"] as const;
const SHIM_OPTIONS = [["blksize", "512"], WINDOW_OF_4] as const;
const GRUB_OPTIONS = [
  ["blksize", "1024"],
  ["tsize", "0"],
] as const;

export const seenRequests: readonly SeenRequest[] = [
  seen("iPXE 1.0.0+git-20190125, ipxe.lkrn", "undionly.kpxe", ["blksize", "1432"], ["tsize", "0"]),
  seen(`${EDK2}, asking for the size`, "snponly.efi", ["tsize", "0"], ["blksize", "1468"], WINDOW_OF_4),
  seen(EDK2, "snponly.efi", ["blksize", "1468"], WINDOW_OF_4),
  seen(SHIM, "revocations_sku.efi", ...SHIM_OPTIONS),
  seen(SHIM, "revocations_sbat.efi", ...SHIM_OPTIONS),
  seen(SHIM, "shim_certificate_0.efi", ...SHIM_OPTIONS),
  seen(SHIM, "grubx64.efi", ...SHIM_OPTIONS),
  seen(GRUB, "/grub/x86_64-efi/command.lst", ...GRUB_OPTIONS),
  seen(GRUB, "/grub/grub.cfg", ...GRUB_OPTIONS),
  seen("tftp-hpa 5.2", "snponly.efi"),
  seen("atftp 0.8.0", "snponly.efi", ["tsize", "0"], ["timeout", "2"], ["blksize", "1468"], ["windowsize", "16"]),
  seen("busybox 1.35.0", "snponly.efi", ["blksize", "1468"], ["tsize", "0"]),
  seen("curl 7.88.1", "snponly.efi", ["tsize", "0"], ["blksize", "1024"], ["timeout", "6"]),
];
