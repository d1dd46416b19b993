/** What the boot plane knows of one machine: who it is on the network, and what it shall boot next. */
export interface BootRecord {
  readonly machine: string;
  /** Hardware addresses of its NICs on the provisioning network, lower case, colons. */
  readonly macs: readonly string[];
  readonly hostname: string;
  readonly intent: BootIntent;
}

export type BootIntent =
  | {
      readonly boot: "installer";
      /** This attempt's secret: URL-safe, at least 128 bits. */
      readonly nonce: string;
      /** The daemon's public key in OpenSSH's form; the installer lets nobody else in. */
      readonly authorizedKey: string;
      readonly kernelArguments: readonly string[];
    }
  | { readonly boot: "disk" };

/** What the installer says when it is up. `address` is where it called from, whatever it wrote itself. */
export interface InstallerHello {
  readonly nonce: string;
  /** `ssh-ed25519 AAAA…`, made at this boot; pinned for the attempt. */
  readonly hostKey: string;
  readonly address: string;
  readonly mac: string;
  readonly uuid: string;
  readonly serial: string;
  readonly firmware: "bios" | "uefi";
}

export interface BootEvent {
  /** RFC 3339. */
  readonly at: string;
  readonly stage: Stage;
  readonly detail: string;
}

export type Stage = "dhcp" | "tftp" | "script" | "kernel" | "initrd" | "key" | "file" | "hello";

/** Answers network boots from what it remembers; needs neither the host control plane nor Redis. */
export interface BootPlane {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** On disk before it returns. A new nonce ends the validity of the one before, and of the files served to it. */
  remember(record: BootRecord): void;
  forget(machine: string): void;
  records(): readonly BootRecord[];
  /** The installer's hello of this attempt, also when it came earlier or before a restart; rejects only when the signal aborts. */
  hello(nonce: string, signal: AbortSignal): Promise<InstallerHello>;
  /** Lets the machine of this attempt fetch a local file; the URL is good while the nonce is. */
  serveFile(nonce: string, name: string, path: string): string;
  addressOf(machine: string): string | undefined;
  /** For people: `never`, or the last thing seen and how long ago. */
  lastSeen(machine: string): string;
  /** Newest last, bounded; of this run of the daemon. */
  timeline(machine: string): readonly BootEvent[];
  /** What was refused, by reason. */
  refused(): Readonly<Record<string, number>>;
}

export interface BootInterface {
  readonly name: string;
  /** `10.77.0.1/24` */
  readonly address: string;
  readonly pool: { readonly from: string; readonly to: string };
  readonly mode: "reservation" | "off";
  /** Default gateway for machines; none is given when absent. */
  readonly router?: string | undefined;
  readonly routerAdvertisements: boolean;
}

export interface BootConfig {
  readonly interfaces: readonly BootInterface[];
  readonly httpPort: number;
  readonly dataDir: string;
}

/** Files the boot plane hands out. */
export interface BootAssets {
  /** Directory of the network boot programs: `undionly.kpxe`, `snponly.efi` … */
  readonly pxeDir: string;
  readonly kernel: string;
  readonly initrd: string;
}
