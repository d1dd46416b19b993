import { createHash } from "node:crypto";
import { request } from "node:http";
import { ipv4Text, OPTION } from "../../wire/index.ts";
import type { Line } from "./line.ts";
import { ACK, DECLINE, DISCOVER, type Given, givenBy, NAK, OFFER, type Question, REQUEST, type Relay } from "./relay.ts";
import { fetchByTftp } from "./tftp.ts";

/** A server on paper: who it is. */
export interface PaperServer {
  readonly name: string;
  readonly mac: string;
  readonly uuid: string;
  readonly firmware: "bios" | "uefi";
}

/** What it does wrong, on demand. */
export type Fault =
  /** Takes no offer. */
  | "takes-nothing"
  /** Finds its first address used, and declines it. */
  | "declines"
  /** Loses power while it fetches its boot program, and begins again. */
  | "resets"
  /** Its installer never says hello. */
  | "no-hello";

export interface BootOptions {
  readonly relay: Relay;
  readonly line: Line;
  random(): number;
  /** Milliseconds before it asks again the first time; each wait is twice the one before, as in PXE 2.1 §2.2.2. */
  readonly patienceMs: number;
  /** Times it asks one question before it gives up. */
  readonly tries?: number | undefined;
  /** Up to the first lease only. */
  readonly leaseOnly?: boolean;
  readonly fault?: Fault | undefined;
}

/** What became of one boot; times are milliseconds since it was switched on. */
export interface Boot {
  readonly server: PaperServer;
  readonly address: string;
  readonly leasedMs: number;
  /** When it had its boot program, its script, kernel and initrd, and had said hello; as far as it came. */
  readonly steps: Readonly<Record<string, number>>;
  /** How long each answered DHCP message waited for its answer. */
  readonly answerMs: readonly number[];
}

/** Times one question is asked, by default. */
const TRIES = 7;
const FETCHES = 5;
/** Times firmware begins its network boot anew. */
const ROUNDS = 4;
/** What EDK2 and iPXE ask for, shortened to what matters here. */
const ASKED = Uint8Array.of(1, 3, 6, 12, 15, 43, 54, 60, 66, 67, 97, 175);

/** Names and identities of a rack of so many. Locally administered addresses (02:…), the same at every call. */
export function paperServers(count: number): PaperServer[] {
  return Array.from({ length: count }, (_, at) => {
    const digest = createHash("sha256").update(`paper-${at}`).digest("hex");
    const tail = at
      .toString(16)
      .padStart(8, "0")
      .replace(/(..)(?!$)/g, "$1:");
    return { name: `paper-${at}`, mac: `02:70:${tail}`, uuid: digest.slice(0, 32), firmware: at % 2 === 0 ? "uefi" : "bios" };
  });
}

/**
 * Boots as a server would: firmware by DHCP and TFTP, iPXE by DHCP and HTTP, the installer's hello; by the real protocols, SIMULATED
 * in all else. Rejects with what it would say on its screen.
 */
export async function bootPaperServer(server: PaperServer, options: BootOptions): Promise<Boot> {
  const { relay, line, random, patienceMs, fault, tries = TRIES } = options;
  const began = performance.now();
  const steps: Record<string, number> = {};
  const answerMs: number[] = [];
  const done = (step: string) => {
    steps[step] = performance.now() - began;
  };
  const hardware = Buffer.from(server.mac.replaceAll(":", ""), "hex");

  const firmware = await lease("firmware", fault === "declines");
  done("leased");
  const address = ipv4Text(firmware.address);
  const result = () => ({ server, address, leasedMs: steps.leased ?? 0, steps, answerMs });
  if (options.leaseOnly) return result();

  if (firmware.bootFile === "") return result();
  const source = { server: ipv4Text(firmware.next), file: firmware.bootFile, from: address };
  // EDK2's sizes
  const transfer = { ...source, blockSize: 1468, windowSize: server.firmware === "uefi" ? 4 : 1, patienceMs, line, random };
  if (fault === "resets") {
    await fetchByTftp({ ...transfer, stopAfter: 10_000 });
    await lease("firmware", false);
  }
  await program();
  done("program");

  const ipxe = await lease("ipxe", false);
  const script = await fetched(ipxe.bootFile, ipv4Text(ipxe.address));
  done("script");
  const [, kernel] = /^kernel (\S+)/m.exec(script) ?? [];
  const [, initrd] = /^initrd (\S+)/m.exec(script) ?? [];
  if (!kernel || !initrd) return result();
  await fetched(kernel, address);
  done("kernel");
  await fetched(initrd, address);
  done("initrd");

  const installer = await lease("installer", false);
  const from = ipv4Text(installer.address);
  const base = kernel.slice(0, kernel.lastIndexOf("/"));
  await fetched(`${base}/authorized_keys`, from);
  if (fault === "no-hello") return result();
  const hostKey = `ssh-ed25519 ${createHash("sha256").update(server.name).digest("base64")}`;
  const hello = { hostKey, address: from, mac: server.mac, uuid: server.uuid, serial: server.name, firmware: server.firmware };
  await fetched(`${base}/hello`, from, JSON.stringify(hello));
  done("hello");
  return result();

  /** A transfer that broke off cannot go on: firmware begins again with DHCP. */
  async function program(): Promise<void> {
    for (let round = 1; ; round++) {
      try {
        await fetchByTftp(transfer);
        return;
      } catch (error) {
        if (round === ROUNDS) throw error;
        await lease("firmware", false);
      }
    }
  }

  /** DISCOVER, OFFER, REQUEST, ACK, each asked again until it is answered. */
  async function lease(who: "firmware" | "ipxe" | "installer", declines: boolean): Promise<Given> {
    for (let round = 0; round < TRIES; round++) {
      const transaction = Math.floor(random() * 0xffffffff);
      const offer = await ask({ type: DISCOVER, hardware, transaction, options: optionsOf(who) }, [OFFER]);
      if (!offer) break;
      const offered = givenBy(offer);
      if (fault === "takes-nothing") throw new Error(`${server.name} was offered ${ipv4Text(offered.address)} and takes nothing`);
      const chosen = new Map([
        ...optionsOf(who),
        [OPTION.requestedAddress, four(offered.address)],
        [OPTION.serverIdentifier, four(offered.server)],
      ]);
      const answer = await ask({ type: REQUEST, hardware, transaction, options: chosen }, [ACK, NAK]);
      if (!answer) continue;
      if (answer.options.get(OPTION.messageType)?.[0] === NAK) continue;
      const given = givenBy(answer);
      if (!declines || round > 0) return given;
      relay.tell({ type: DECLINE, hardware, transaction: transaction ^ 1, options: chosen });
    }
    throw new Error(`${server.name} (${who}): no DHCP server answered`);
  }

  async function ask(question: Question, types: readonly number[]) {
    for (let attempt = 0; attempt < tries; attempt++) {
      // RFC 2131 §4.1: not all at the same moment
      const patience = patienceMs * 2 ** Math.min(attempt, 3) * (0.75 + random() / 2);
      const asked = performance.now();
      const answer = await relay.ask(question, types, patience);
      if (!answer) continue;
      answerMs.push(performance.now() - asked);
      return answer;
    }
    return undefined;
  }

  function optionsOf(who: "firmware" | "ipxe" | "installer"): Map<number, Uint8Array> {
    const arch = server.firmware === "uefi" ? 7 : 0;
    const options = new Map<number, Uint8Array>([
      [OPTION.parameterList, ASKED],
      [OPTION.maximumSize, Uint8Array.of(1472 >> 8, 1472 & 255)],
    ]);
    if (who === "installer") return options.set(OPTION.clientIdentifier, Uint8Array.of(1, ...hardware));
    options.set(OPTION.vendorClass, Buffer.from(`PXEClient:Arch:${String(arch).padStart(5, "0")}:UNDI:003016`));
    options.set(OPTION.architecture, Uint8Array.of(0, arch));
    options.set(OPTION.networkInterface, Uint8Array.of(1, 3, 16));
    options.set(OPTION.machineIdentifier, Uint8Array.of(0, ...Buffer.from(server.uuid, "hex")));
    if (who === "ipxe") {
      options.set(OPTION.userClass, Buffer.from("iPXE"));
      // features: menu, HTTP, DNS, TFTP (http://ipxe.org/howto/dhcpd)
      options.set(OPTION.ipxe, Uint8Array.of(39, 1, 1, 19, 1, 1, 20, 1, 1, 22, 1, 1));
    }
    return options;
  }

  /** As the script asks: several times, a while apart. */
  async function fetched(url: string, from: string, body?: string): Promise<string> {
    let last: unknown;
    for (let attempt = 0; attempt < FETCHES; attempt++) {
      try {
        return await get(url, from, body);
      } catch (error) {
        last = error;
        await new Promise((resolve) => setTimeout(resolve, patienceMs * (0.5 + random())));
      }
    }
    throw new Error(`${server.name}: ${url.split("/").at(-1)}: ${last instanceof Error ? last.message : last}`);
  }
}

/** One request from the machine's own address; the text of what came, at most its first 16 KiB. */
function get(url: string, from: string, body: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? "GET" : "POST";
    const asking = request(url, { method, localAddress: from, agent: false, timeout: 30_000 }, (response) => {
      let text = "";
      response.on("data", (data: Buffer) => {
        if (text.length < 16_384) text += data.toString("latin1");
      });
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200 || response.statusCode === 204) resolve(text);
        else reject(new Error(`HTTP ${response.statusCode}: ${text.trim()}`));
      });
    });
    asking.on("timeout", () => asking.destroy(new Error("no answer in 30 s")));
    asking.on("error", reject);
    asking.end(body);
  });
}

function four(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}
