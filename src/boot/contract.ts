import type { Attempt, StepHistory } from "./attempt.ts";

/** What the boot plane knows of one machine: who it is on the network, and what it shall boot next. */
export interface BootRecord {
  readonly machine: string;
  /** Hardware addresses of its NICs on the provisioning network, lower case, colons. */
  readonly macs: readonly string[];
  readonly hostname: string;
  readonly intent: BootIntent;
  /** Where its firmware enforces Secure Boot; the interface's policy when absent. */
  readonly secureBoot?: SecureBoot | undefined;
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
  | {
      readonly boot: "disk";
      /** Why, when it is no matter of course, and what a person can do: said on the server's own screen. */
      readonly because?: { readonly reason: string; readonly next: string };
    };

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
  /** The same thing so many times in a row; `at` is that of the last. */
  readonly times?: number;
  readonly sign?: Sign;
}

/** What an event means, beside its words. */
export interface Sign {
  readonly what:
    | "offered"
    | "leased"
    /** A NAK. */
    | "denied"
    /** It asked another DHCP server for its address. */
    | "elsewhere"
    | "declined"
    | "fetched"
    /** It asked for a file's size alone. */
    | "sized"
    | "broken-off"
    /** It asked with the nonce of an attempt that is over. */
    | "stale";
  readonly client?: "ipxe" | "pxe" | "http" | "plain";
  /** What people call such a client: `UEFI PXE`. */
  readonly name?: string;
  /** The boot program, or the asset. */
  readonly file?: string;
  /** Why there is nothing to boot; `disk` when it shall boot its own. */
  readonly because?: string;
  /** The other DHCP server. */
  readonly server?: string;
}

/** `program` is a network boot program by HTTP; `inspected` and `installed` come from the machine's operation. */
export type Stage = "dhcp" | "tftp" | "program" | "script" | "kernel" | "initrd" | "key" | "file" | "hello" | "inspected" | "installed";

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
  /**
   * For people, one line: how far the boot came and, where it stopped, why.
   * @param since when the machine was switched on; what came before is another boot's
   */
  lastSeen(machine: string, since?: Date): string;
  /** Work on the machine after the boot, which ends its attempt; `model` is manufacturer and product. */
  note(machine: string, stage: "inspected" | "installed", detail: string, model?: string): void;
  /** The machine's boots, newest last, bounded; also of earlier runs of the daemon. */
  attempts(machine: string): readonly Attempt[];
  /** What each step usually takes on machines of this model. */
  history(model: string): readonly StepHistory[];
  /**
   * Made one by one while it is read: there may be a hundred thousand.
   * @param from so many are passed over first
   */
  leases(from?: number): Iterable<LeaseView>;
  /** Newest last, bounded; of this run of the daemon. */
  timeline(machine: string): readonly BootEvent[];
  /** What was refused, by reason. */
  refused(): Readonly<Record<string, number>>;
  /** The same with when and what the last of each was. */
  refusals(): readonly RefusalView[];
}

export interface RefusalView {
  readonly reason: string;
  readonly count: number;
  /** RFC 3339. */
  readonly lastAt: string;
  /** What is known of the last one: hardware address, message, … */
  readonly last: Readonly<Record<string, unknown>>;
}

/** A lease as people see it. */
export interface LeaseView {
  readonly interface: string;
  readonly address: string;
  readonly mac: string;
  /** `mac:…` or `id:…` (option 61). */
  readonly client: string;
  /** The known machine whose NIC it is. */
  readonly machine?: string;
  /** `declined`: somebody else uses the address, so nobody gets it for a while. */
  readonly state: "bound" | "expired" | "declined";
  /** RFC 3339. */
  readonly expires: string;
}

export interface AddressRange {
  readonly from: string;
  readonly to: string;
}

export interface BootOption {
  readonly code: number;
  readonly value?: string | number | boolean | readonly string[] | readonly number[] | undefined;
  /** The bytes themselves, in hexadecimal with or without colons. */
  readonly hex?: string | undefined;
  /** Also to clients that did not ask for it. */
  readonly always?: boolean;
  readonly when?: { readonly vendorClass?: string | undefined; readonly arch?: readonly string[] | undefined } | undefined;
}

/** A client with something of its own, known by any of its identities; circuitId and remoteId must match together. */
export interface BootReservation {
  readonly mac?: string | undefined;
  readonly clientId?: string | undefined;
  readonly uuid?: string | undefined;
  readonly circuitId?: string | undefined;
  readonly remoteId?: string | undefined;
  /** The Machine it is, whatever its MAC. */
  readonly machine?: string | undefined;
  readonly address?: string | undefined;
  readonly hostname?: string | undefined;
  readonly secureBoot?: SecureBoot | undefined;
  readonly options?: readonly BootOption[];
}

export type SecureBoot = "off" | "required";

/** What is given on one network. */
export interface ServedNetwork {
  /** None: reserved addresses alone, or in the proxy modes no address at all. */
  readonly pool?: AddressRange | readonly AddressRange[] | undefined;
  /** Default gateway for machines; none is given when absent. */
  readonly router?: string | undefined;
  /** Others than the default one: RFC 3442. */
  readonly routes?: readonly { readonly to: string; readonly via: string }[];
  readonly bmc?:
    | {
        readonly pool: AddressRange | readonly AddressRange[];
        readonly vendorClasses?: readonly string[];
        readonly ouis?: readonly string[];
      }
    | undefined;
  readonly reservations?: readonly BootReservation[];
  readonly options?: readonly BootOption[];
}

/** A network behind relays. */
export interface BootSubnet extends ServedNetwork {
  /** `10.78.0.0/24` */
  readonly network: string;
  /** Relays outside it that may speak for it. */
  readonly relays?: readonly string[];
}

export type BootMode = "reservation" | "proxy" | "auto-proxy" | "off";

export interface BootInterface extends ServedNetwork {
  readonly name: string;
  /** `10.77.0.1/24` */
  readonly address: string;
  readonly mode: BootMode;
  readonly subnets?: readonly BootSubnet[];
  /** Seconds. */
  readonly lease?: { readonly machines: number; readonly others: number };
  readonly authoritative?: boolean;
  /** Switches write option 82 here without being relays, and drop what clients wrote. */
  readonly snooping?: boolean;
  readonly conflictProbe?: boolean;
  readonly secureBoot?: SecureBoot;
  readonly routerAdvertisements: boolean;
}

export interface BootConfig {
  readonly interfaces: readonly BootInterface[];
  readonly httpPort: number;
  readonly https?: BootHttps | undefined;
  readonly dataDir: string;
}

/** The same assets by HTTPS beside HTTP. Without files the certificate is our own authority's, `<dataDir>/boot-pki/boot-ca.crt`. */
export interface BootHttps {
  readonly port: number;
  /** PEM files. */
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  /** UEFI HTTP Boot is sent here: its firmware trusts the authority. */
  readonly httpBoot: boolean;
}

/** Files the boot plane hands out. */
export interface BootAssets {
  /** Directory of the network boot programs: `undionly.kpxe`, `snponly.efi` … */
  readonly pxeDir: string;
  readonly kernel: string;
  readonly initrd: string;
}
