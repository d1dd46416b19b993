import { ipv4Text, MESSAGE } from "../wire/index.ts";
import { type BootAnswer, type BootPolicy, bootAnswer, type Purpose } from "./answer.ts";
import type { Who } from "./client.ts";
import type { BootRecord, SecureBoot, Sign } from "./contract.ts";
import { clientName, type Request } from "./facts.ts";
import type { Journal } from "./journal.ts";
import type { LoopGuard } from "./loop-guard.ts";
import type { Refusals } from "./refusals.ts";

export interface BootChoiceOptions {
  /** HTTP address of the boot plane on this network. */
  readonly http: string;
  /** The same for UEFI HTTP Boot: by HTTPS where firmware trusts the certificate. */
  readonly httpBoot: string;
  /** Network boot programs there are. */
  readonly programs: ReadonlySet<string>;
  readonly secureBoot: SecureBoot;
  /** Why a shim would not run the installer's kernel. */
  readonly unsigned?: string | undefined;
  readonly unknown: BootPolicy["unknown"];
  readonly guard: LoopGuard;
  readonly journal: Journal;
  readonly refusals: Refusals;
  /** A known machine is about to boot from here. */
  onBooting(hardware: string): void;
}

/** What a client is to boot, and the telling of it. */
export interface BootChoice {
  choose(request: Request, who: Who): BootAnswer;
  /** A message left with this answer. @param address the client's; 0 when another server gives it */
  told(request: Request, who: Who, type: number, address: number, answer: BootAnswer): void;
}

export function createBootChoice(options: BootChoiceOptions): BootChoice {
  const { guard, journal, refusals } = options;

  function choose(request: Request, { record, secureBoot }: Who): BootAnswer {
    const policy = {
      server: request.kind === "http" ? options.httpBoot : options.http,
      present: options.programs,
      secureBoot: secureBoot ?? options.secureBoot,
      unsigned: options.unsigned,
      unknown: options.unknown,
    };
    const purpose = purposeOf(record);
    if (record && request.kind !== "plain") options.onBooting(request.hardware);
    const isLoop = purpose.nonce !== null && !guard.allows(stage(request), purpose.nonce);
    return bootAnswer(request, isLoop ? { nonce: null, because: "loop" } : purpose, policy);
  }

  function told(request: Request, who: Who, type: number, address: number, answer: BootAnswer): void {
    const { record } = who;
    if (!record) {
      if (type !== MESSAGE.ack || who.isBmc || who.isKnown) return;
      refusals.count("boot: unknown machine", { hardware: request.hardware, client: clientName(request), address: ipv4Text(address) });
      return;
    }
    const isGiven = answer.boot === "tftp" || answer.boot === "http" || answer.boot === "script";
    // with a lease comes the boot; a ProxyDHCP server's offer is all there may be
    if (isGiven && record.intent.boot === "installer" && (type === MESSAGE.ack || address === 0))
      guard.given(stage(request), record.intent.nonce, request.frame.transactionId);
    if (answer.boot === "local" && record.intent.boot === "installer")
      refusals.count("boot: loop", { machine: record.machine, hardware: request.hardware, client: clientName(request) });
    journal.add(record.machine, "dhcp", words(request, type, address, answer), signOf(record, request, type, answer));
  }

  return { choose, told };
}

/** Firmware and iPXE of one NIC are two stages: each may come as often. */
function stage(request: Request): string {
  return request.kind === "ipxe" ? `${request.hardware} ipxe` : request.hardware;
}

export function purposeOf(record: BootRecord | undefined): Purpose {
  if (!record) return { nonce: null, because: "unknown" };
  return record.intent.boot === "installer" ? { nonce: record.intent.nonce } : { nonce: null, because: "disk" };
}

function words(request: Request, type: number, address: number, answer: BootAnswer): string {
  const what = type === MESSAGE.offer ? "offer" : "lease";
  const start = address === 0 ? "ProxyDHCP answer" : `DHCP ${what} of ${ipv4Text(address)}`;
  return `${start} to ${clientName(request)}${ending(request, answer)}`;
}

function ending(request: Request, answer: BootAnswer): string {
  if (request.kind === "plain") return "";
  switch (answer.boot) {
    case "nothing":
    case "local":
      return `, nothing to boot: ${answer.because}`;
    case "tftp":
      return `, ${answer.file}`;
    default:
      return `, ${answer.boot}`;
  }
}

function signOf(record: BootRecord, request: Request, type: number, answer: BootAnswer): Sign {
  const because = request.kind === "plain" ? undefined : becauseOf(record, answer);
  return {
    what: type === MESSAGE.offer ? "offered" : "leased",
    client: request.kind,
    name: clientName(request),
    ...(answer.boot === "tftp" ? { file: answer.file } : {}),
    ...(answer.boot === "http" ? { file: answer.url.split("/").at(-1) ?? "" } : {}),
    ...(because === undefined ? {} : { because }),
  };
}

/** `disk` is no trouble: it is what the machine shall do. */
function becauseOf(record: BootRecord, answer: BootAnswer): string | undefined {
  if (record.intent.boot === "disk") return "disk";
  return answer.boot === "nothing" || answer.boot === "local" ? answer.because : undefined;
}
