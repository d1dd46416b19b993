import type { Arch, BootFacts } from "./facts.ts";

export type BootAnswer =
  | { readonly boot: "script"; readonly url: string }
  | { readonly boot: "tftp"; readonly file: string }
  | { readonly boot: "http"; readonly url: string }
  | { readonly boot: "nothing"; readonly because: string };

/** Why a machine is booted over the network, or why not. */
export type Purpose = { readonly nonce: string } | { readonly nonce: null; readonly because: keyof typeof reasons };

const reasons = {
  disk: "the machine has no work to do over the network: it boots its own disk",
  unknown: "no Machine has this hardware address",
} as const;

const programs: Readonly<Record<Arch, string | undefined>> = {
  bios: "undionly.kpxe",
  "x64-uefi": "snponly.efi",
  "arm64-uefi": "snponly-arm64.efi",
  unknown: undefined,
};

/**
 * What to boot: pure, so that every firmware ever seen is one row of a test.
 * @param server the boot plane's HTTP address on the client's network, without a slash at its end
 * @param present names of the network boot programs there are
 */
export function bootAnswer(facts: BootFacts, server: string, purpose: Purpose, present: ReadonlySet<string>): BootAnswer {
  if (facts.kind === "plain") return { boot: "nothing", because: "not a boot request" };
  if (facts.kind === "ipxe") {
    // iPXE without a script drops to a shell or waits: a script that says why and ends is kinder
    return {
      boot: "script",
      url: purpose.nonce === null ? `${server}/exit/${purpose.because}.ipxe` : `${server}/boot/${purpose.nonce}/script.ipxe`,
    };
  }
  if (purpose.nonce === null) return { boot: "nothing", because: reasons[purpose.because] };
  const program = programs[facts.arch];
  if (!program) return { boot: "nothing", because: "its architecture (option 93) is not known here" };
  if (!present.has(program)) return { boot: "nothing", because: `the network boot program ${program} is not installed` };
  return facts.kind === "http" ? { boot: "http", url: `${server}/boot/${purpose.nonce}/${program}` } : { boot: "tftp", file: program };
}
