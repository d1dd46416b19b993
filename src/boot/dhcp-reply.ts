import { encodeFrame, ipv4Text, MESSAGE, type Network, OPTION, type OptionValue, writeOption } from "../wire/index.ts";
import type { BootAnswer } from "./answer.ts";
import type { Request } from "./facts.ts";

export interface ReplyFacts {
  readonly type: number;
  readonly network: Network;
  readonly router: number | undefined;
  readonly answer?: BootAnswer;
  /** Absent in a NAK and in the answer to an INFORM (RFC 2131 §4.3.5). */
  readonly lease?: { readonly address: number; readonly seconds: number };
  readonly hostname?: string | undefined;
  /** Why not, in a NAK. */
  readonly message?: string;
}

/** What of a reply's `file` field a boot ROM reads, less its zero. */
const LONGEST_FILE = 127;

/** iPXE's option 176 inside 175: do not wait for a ProxyDHCP server. */
const IPXE_NO_PROXY = Uint8Array.of(176, 1, 1);

/** The bytes of an OFFER, ACK or NAK: fields and options by RFC 2131 table 3. */
export function reply(request: Request, facts: ReplyFacts): Uint8Array {
  const { frame } = request;
  const isNak = facts.type === MESSAGE.nak;
  const boot = isNak ? undefined : bootFile(facts.answer);
  const inField = boot !== undefined && boot.length <= LONGEST_FILE;
  return encodeFrame(
    {
      op: 2,
      hardwareType: frame.hardwareType,
      hardwareAddress: frame.hardwareAddress,
      hops: 0,
      transactionId: frame.transactionId,
      seconds: 0,
      // a relay must broadcast a NAK: RFC 2131 §4.3.2
      flags: isNak && frame.relayAddress !== 0 ? frame.flags | 0x8000 : frame.flags,
      clientAddress: facts.type === MESSAGE.ack ? frame.clientAddress : 0,
      yourAddress: facts.lease?.address ?? 0,
      serverAddress: isNak ? 0 : facts.network.own,
      relayAddress: frame.relayAddress,
      serverName: new Uint8Array(),
      file: inField ? Buffer.from(boot, "latin1") : new Uint8Array(),
      options: optionsOf(request, facts, boot, inField),
    },
    request.longest,
  ).bytes;
}

function optionsOf(request: Request, facts: ReplyFacts, boot: string | undefined, inField: boolean): Map<number, Uint8Array> {
  const { frame, asked } = request;
  const { network, lease } = facts;
  const own = ipv4Text(network.own);
  const options = new Map<number, Uint8Array>();
  const write = (code: number, value: OptionValue | undefined) => {
    const bytes = value === undefined ? undefined : writeOption(code, value);
    if (bytes) options.set(code, bytes);
  };
  const echo = (code: number) => {
    const bytes = frame.options.get(code);
    if (bytes) options.set(code, bytes);
  };

  write(OPTION.messageType, facts.type);
  write(OPTION.serverIdentifier, own);
  if (facts.type === MESSAGE.nak) {
    write(OPTION.message, facts.message);
  } else {
    if (lease) {
      write(OPTION.leaseSeconds, lease.seconds);
      write(OPTION.renewalSeconds, Math.floor(lease.seconds / 2));
      write(OPTION.rebindingSeconds, Math.floor((lease.seconds * 7) / 8));
    }
    write(OPTION.subnetMask, ipv4Text(network.mask));
    if (facts.router !== undefined) write(OPTION.router, [ipv4Text(facts.router)]);
    // UEFI HTTP Boot takes an offer for its own only when it says so
    if (request.kind === "http" && boot !== undefined) write(OPTION.vendorClass, "HTTPClient");
    if (boot !== undefined && (!inField || asked.has(OPTION.bootFile))) write(OPTION.bootFile, boot);
    if (facts.answer?.boot === "tftp" && asked.has(OPTION.tftpServer)) write(OPTION.tftpServer, own);
    if (request.kind === "ipxe") options.set(OPTION.ipxe, IPXE_NO_PROXY);
    write(OPTION.hostname, facts.hostname);
    if (request.kind === "pxe") echo(OPTION.machineIdentifier);
  }
  // RFC 6842; RFC 3046 §2.2
  echo(OPTION.clientIdentifier);
  echo(OPTION.relayAgent);
  return options;
}

function bootFile(answer: BootAnswer | undefined): string | undefined {
  if (!answer || answer.boot === "nothing") return undefined;
  return answer.boot === "tftp" ? answer.file : answer.url;
}
