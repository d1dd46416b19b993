import type { BootAssets, BootRecord } from "./contract.ts";
import type { Journal } from "./journal.ts";
import { isInstaller, type Records } from "./records.ts";
import type { Scripts } from "./script.ts";

/** What GRUB fetches by TFTP beside itself. */
export interface GrubFile {
  /** For people: without the nonce, which is a secret. */
  readonly name: "grub.cfg" | "kernel" | "initrd";
  /** Its path, or its bytes. */
  readonly content: string | Buffer;
}

export interface GrubOptions {
  /** The boot plane's address on this network. */
  readonly address: string;
  /** Its HTTP address, for the installer. */
  readonly http: string;
  readonly assets: BootAssets;
  readonly records: Pick<Records, "byNonce">;
  readonly scripts: Scripts;
  machineAt(address: string): BootRecord | undefined;
  readonly journal: Journal;
}

/** Where Debian's signed GRUB looks for its configuration, on the server that it was loaded from. */
const CONFIG = "grub/grub.cfg";

/**
 * The files of a boot by shim and GRUB: the configuration to who asks for it, kernel and initrd by the attempt's nonce. GRUB can
 * send nothing that tells who it is, so its address does, as the MAC does in DHCP: what it gets carries the nonce.
 */
export function createGrubFiles(options: GrubOptions): (name: string, client: string) => GrubFile | undefined {
  const { address, http, assets, records, scripts, journal } = options;

  function config(client: string): string {
    const record = options.machineAt(client);
    if (!record || !isInstaller(record)) return scripts.render("grub-nothing", {});
    journal.add(record.machine, "script", "GRUB configuration fetched");
    const { nonce, kernelArguments } = record.intent;
    const url = `${http}/boot/${nonce}`;
    return scripts.render("grub", { machine: record.machine, server: address, nonce, url, arguments: kernelArguments });
  }

  return (name, client) => {
    if (name === CONFIG) return { name: "grub.cfg", content: Buffer.from(config(client)) };
    const [, nonce = "", what] = /^boot\/([A-Za-z0-9_-]+)\/(kernel|initrd)$/.exec(name) ?? [];
    if ((what !== "kernel" && what !== "initrd") || !records.byNonce(nonce)) return undefined;
    return { name: what, content: assets[what] };
  };
}
