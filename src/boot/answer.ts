import type { SecureBoot } from "./contract.ts";
import type { Arch, BootFacts } from "./facts.ts";

export type BootAnswer =
  | { readonly boot: "script"; readonly url: string }
  | { readonly boot: "tftp"; readonly file: string }
  | { readonly boot: "http"; readonly url: string }
  /** Firmware is told at once to go on to its next boot device. `url` is where UEFI HTTP Boot finds nothing. */
  | { readonly boot: "local"; readonly because: string; readonly url: string }
  /** Nothing is said about booting: firmware waits for somebody else to. */
  | { readonly boot: "nothing"; readonly because: string };

/** Why a machine is booted over the network, or why not. */
export type Purpose = { readonly nonce: string } | { readonly nonce: null; readonly because: keyof typeof reasons };

const reasons = {
  disk: "the machine has no work to do over the network: it boots its own disk",
  unknown: "no Machine has this hardware address",
  loop: "it was given the same thing again and again and never came further; its own disk is tried for some minutes",
} as const;

export interface BootPolicy {
  /** The boot plane's HTTP address on the client's network, without a slash at its end. */
  readonly server: string;
  /** Names of the network boot programs there are. */
  readonly present: ReadonlySet<string>;
  readonly secureBoot: SecureBoot;
  /** Why a shim would not run the installer's kernel; undefined when it would. */
  readonly unsigned?: string | undefined;
  /** Unknown machines: those that run iPXE are told by a script, are given iPXE to be told, or are left to others. */
  readonly unknown: "tell" | "boot" | "leave";
}

const programs: Readonly<Record<Arch, string | undefined>> = {
  bios: "undionly.kpxe",
  "x64-uefi": "snponly.efi",
  "arm64-uefi": "snponly-arm64.efi",
  unknown: undefined,
};

/** Signed, and what each loads next from beside itself. */
const signed: Readonly<Record<Arch, readonly [shim: string, grub: string] | undefined>> = {
  bios: undefined,
  "x64-uefi": ["shimx64.efi", "grubx64.efi"],
  "arm64-uefi": ["shimaa64.efi", "grubaa64.efi"],
  unknown: undefined,
};

/** What to boot: pure, so that every firmware ever seen is one row of a test. */
export function bootAnswer(facts: BootFacts, purpose: Purpose, policy: BootPolicy): BootAnswer {
  if (facts.kind === "plain") return { boot: "nothing", because: "not a boot request" };
  const { server } = policy;
  if (purpose.nonce === null && purpose.because === "unknown" && policy.unknown === "leave") {
    return { boot: "nothing", because: reasons.unknown };
  }
  if (facts.kind === "ipxe") {
    // an iPXE that runs where Secure Boot is wanted was not checked by anybody; it may still be sent to the disk
    if (purpose.nonce !== null && policy.secureBoot === "required") return { boot: "nothing", because: UNSIGNED };
    // iPXE without a script drops to a shell or waits: a script that says why and ends is kinder
    return {
      boot: "script",
      url: purpose.nonce === null ? `${server}/exit/${purpose.because}.ipxe` : `${server}/boot/${purpose.nonce}/script.ipxe`,
    };
  }
  if (purpose.nonce === null) {
    const because = reasons[purpose.because];
    if (purpose.because !== "unknown") return { boot: "local", because, url: `${server}/exit/disk.efi` };
    // iPXE alone says so on the screen: by HTTP it goes to those with a nonce only, and nowhere may it run unsigned
    if (policy.unknown !== "boot" || facts.kind !== "pxe" || policy.secureBoot === "required") return { boot: "nothing", because };
  }
  if (facts.kind === "http" && policy.secureBoot === "required") return { boot: "nothing", because: NO_HTTP };
  const program = programFor(facts.arch, policy);
  if (typeof program !== "string") return { boot: "nothing", because: program.because };
  if (facts.kind === "pxe") return { boot: "tftp", file: program };
  return { boot: "http", url: `${server}/boot/${purpose.nonce}/${program}` };
}

/** It would stop at a prompt of its own. */
const NO_HTTP = "Secure Boot is required here, and Debian's signed GRUB boots by PXE alone: let the firmware try PXE before HTTP Boot";
const UNSIGNED = "Secure Boot is required here and iPXE is not signed";

function programFor(arch: Arch, { secureBoot, present, unsigned }: BootPolicy): string | { readonly because: string } {
  if (arch === "unknown") return { because: "its architecture (option 93) is not known here" };
  if (secureBoot === "required") {
    const pair = signed[arch];
    if (!pair) return { because: "Secure Boot is required here and BIOS has none" };
    const missing = pair.find((name) => !present.has(name));
    if (missing !== undefined) return { because: `Secure Boot is required here and ${missing} is not installed` };
    return unsigned === undefined
      ? pair[0]
      : { because: `Secure Boot is required here and the installer's kernel is refused: ${unsigned}` };
  }
  const program = programs[arch];
  if (program === undefined) return { because: "its architecture (option 93) is not known here" };
  return present.has(program) ? program : { because: `the network boot program ${program} is not installed` };
}
