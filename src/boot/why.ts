import type { BootEvent, Sign } from "./contract.ts";

export interface WhyFacts {
  /** Of one machine, oldest first. */
  readonly events: readonly BootEvent[];
  readonly now: Date;
  /** When it was switched on, if that is known: what came before does not count. */
  readonly since?: Date | undefined;
}

/** So often in one attempt a firmware comes back before it is called a loop. */
const LOOP = 3;

/**
 * The one line that says how far a machine's boot came and why it went no further; pure. Only the last thing seen counts, together
 * with what must have followed it.
 */
export function whyNot({ events, now, since }: WhyFacts): string {
  const seen = since ? events.filter(({ at }) => Date.parse(at) >= since.getTime()) : events;
  // an installed system renews its lease and the image is fetched long after the boot: neither says where it stopped
  const last = seen.findLast((event) => !isAside(event));
  if (!last) {
    if (seen.length > 0) return `${seen.at(-1)?.detail ?? ""} ${ago(seen.at(-1), now)}`;
    return since ? "no DHCP packet seen since power-on: cabling, VLAN or boot order" : "never";
  }
  const when = ago(last, now);
  const line = sentence(last, seen, when);
  const times = seen.filter(({ stage, sign }) => stage === "tftp" && sign?.what === "fetched").length;
  const reached = seen.some(({ stage }) => stage === "script" || stage === "kernel");
  return times >= LOOP && !reached ? `${line}; it fetched its boot program ${times} times: it boots over and over` : line;
}

function isAside({ stage, sign }: BootEvent): boolean {
  return stage === "file" || stage === "inspected" || stage === "installed" || (stage === "dhcp" && sign?.client === "plain");
}

function sentence(last: BootEvent, seen: readonly BootEvent[], when: string): string {
  const { stage, sign, detail } = last;
  switch (stage) {
    case "dhcp":
      return sign ? ofDhcp(sign, seen, when, detail) : `${detail} ${when}`;
    case "tftp":
    case "program":
      return ofProgram(stage, sign, when, detail);
    case "script":
      if (sign?.because !== undefined) return `asked for its script ${when}: ${sign.because}`;
      return sign?.what === "stale"
        ? `asked for the script of an attempt that is over ${when}: it kept an old answer; power-cycle it`
        : `fetched its script ${when} and never asked for the kernel: its console says what iPXE does not like`;
    case "kernel":
      return sign?.what === "broken-off"
        ? `its fetch of the kernel broke off ${when}: the link is lossy, or HTTP is filtered on its way`
        : `fetched the installer's kernel ${when} and never asked for the initrd: too little memory, or the link went down`;
    case "initrd":
      return sign?.what === "broken-off"
        ? `its fetch of the initrd broke off ${when}: the link is lossy, or it has too little memory`
        : `started the installer's kernel ${when} and never said hello: the installer has no driver for its NIC, or it hangs; see its console`;
    case "key":
      return `its installer came up ${when} and never said hello: it reaches the boot plane, so see its console`;
    default:
      return `${detail} ${when}`;
  }
}

function ofDhcp(sign: Sign, seen: readonly BootEvent[], when: string, detail: string): string {
  const asked = sign.name ?? "a DHCP client";
  const boots = sign.file ?? "its boot program";
  const other = seen.findLast((event) => event.sign?.what === "elsewhere")?.sign?.server;
  switch (sign.what) {
    case "elsewhere":
      return `got an offer ${when} and never asked for it: another DHCP server ${sign.server ?? ""} answered`;
    case "denied":
      return `asked for an address that is not its own ${when} and was told so; it did not ask again`;
    case "declined":
      return `refused its address ${when}: somebody else on the network uses it`;
    case "offered":
      if (sign.because !== undefined) return nothing(sign, asked, when);
      if (other !== undefined) return `got an offer ${when} and never asked for it: another DHCP server ${other} answered`;
      return `got an offer ${when} and never asked for it: the offer does not reach it (spanning tree, relay, filter), or another DHCP server answered`;
    case "leased":
      if (sign.because !== undefined) return nothing(sign, asked, when);
      if (sign.client === "ipxe") return `iPXE got its address ${when} and never fetched its script: HTTP to the boot plane is blocked`;
      if (sign.client === "http")
        return `got its address ${when} and never fetched ${boots}: HTTP to the boot plane is blocked, or its firmware wants HTTPS`;
      return `got its address ${when} and never fetched ${boots}: TFTP (UDP 69 and the ports of its answers) is blocked`;
    default:
      return `${detail} ${when}`;
  }
}

function nothing(sign: Sign, asked: string, when: string): string {
  if (sign.because === "disk") return `asked as ${asked} ${when} and was sent to its own disk, as it should be`;
  return `asked as ${asked} ${when} and got nothing to boot: ${sign.because ?? ""}`;
}

function ofProgram(stage: "tftp" | "program", sign: Sign | undefined, when: string, detail: string): string {
  const file = sign?.file ?? "its boot program";
  switch (sign?.what) {
    case "fetched":
      // Debian 12's GRUB takes its server from the DHCP answer, not from the ProxyDHCP offer that its shim came by
      if (/^grub[a-z0-9]+\.efi$/.test(file))
        return `fetched ${file} ${when} and never asked for its configuration here: a DHCP server that stays must name the boot plane as its next-server (siaddr), or Secure Boot refuses GRUB`;
      return `fetched ${file} ${when} and never came back: Secure Boot refuses it, iPXE has no driver for the NIC, or the link is down until the switch port forwards`;
    case "sized":
      return `asked for the size of ${file} ${when} and never fetched it: the answer is lost (filter on UDP), or the firmware has no room for it`;
    case "broken-off":
      return stage === "tftp"
        ? `its fetch of ${file} broke off ${when}: large packets are lost (MTU), or a firewall forgets the transfer's ports`
        : `its fetch of ${file} broke off ${when}: the link is lossy, or HTTP is filtered on its way`;
    default:
      return `${detail} ${when}`;
  }
}

function ago(event: BootEvent | undefined, now: Date): string {
  const seconds = Math.max(0, Math.round((now.getTime() - Date.parse(event?.at ?? now.toISOString())) / 1000));
  if (seconds < 120) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.round(hours / 24)} d ago`;
}
