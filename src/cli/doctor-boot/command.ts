import { Command, InvalidArgumentError } from "commander";
import { readIndex } from "../../config/artifacts.ts";
import { type Config, loadConfig } from "../../config/index.ts";
import { IronwrightError } from "../../core/errors.ts";
import type { GlobalOptions } from "../options.ts";
import { plain } from "../print.ts";
import { type Finding, findingLines, judge } from "./judge.ts";
import type { Observation, ProbePlan } from "./observed.ts";
import { findPort, type Place, type Port, probe, standOn } from "./place.ts";

/** What clients wait for the first answer; all kinds ask at once. */
const WAIT_S = 4;

interface Options {
  readonly interface?: string;
  readonly netns?: string;
  readonly server?: string;
  readonly mac?: string;
  readonly wait: number;
  readonly output?: string;
}

export function doctorBootCommand(global: () => GlobalOptions): Command {
  return new Command("boot")
    .description("play a client of each kind on a network, and say what is wrong with it; as root, exit code 1 on a fault")
    .option("-i, --interface <name>", "the network to look at; default: the first of boot.interfaces")
    .option("--netns <name>", "network namespace the interface is in")
    .option("-s, --server <address>", "the boot plane's address, where this host's configuration does not say it")
    .option("--mac <mac>", "ask as this machine, which must be off, instead of as an unknown one", macOf)
    .option("-w, --wait <seconds>", "how long to wait for each answer", secondsOf, WAIT_S)
    .option("-o, --output <form>", "json")
    .action(async (options: Options) => {
      const findings = await examine(loadConfig({ ...global(), env: process.env }), options);
      const bad = findings.filter(({ wrong }) => wrong !== undefined).length;
      if (options.output === "json") console.log(JSON.stringify({ findings }, null, 2));
      else {
        for (const line of findingLines(findings)) console.log(plain(line));
        console.log(bad === 0 ? "\nMachines can boot here." : `\n${bad} of ${findings.length} need attention.`);
      }
      if (bad > 0) process.exitCode = 1;
    });
}

async function examine(config: Config, options: Options): Promise<readonly Finding[]> {
  const { native } = readIndex(config.artifacts);
  const name = options.interface ?? config.boot.interfaces[0]?.name;
  if (name === undefined) throw new Error("name the network with --interface: the configuration names none in boot.interfaces");
  const port = await findPort(name, options.netns);
  if (!port) throw new IronwrightError("IRW_DOCTOR_INTERFACE", { interface: name, namespace: options.netns ?? "this one" });
  const configured = config.boot.interfaces.map(({ address }) => address.split("/")[0] ?? "");
  const servers = options.server === undefined ? configured : [options.server];
  const place = await standOn(port, servers, options.mac);
  const stop = () => void place.remove().finally(() => process.exit(130));
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    console.error(
      `About to send DHCP DISCOVERs on ${name} as ${place.mac}, ${place.how}. One address is leased, used to fetch a boot program, and released.`,
    );
    const seen = await look(native, place, port, { servers, httpPort: config.boot.httpPort, waitMs: options.wait * 1000 });
    const mode = options.server === undefined ? config.boot.interfaces.find((at) => at.name === name)?.mode : undefined;
    return judge(seen, { servers, isQuietProxy: mode === "proxy" && options.mac === undefined });
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    await place.remove();
  }
}

async function look(
  native: string,
  place: Place,
  port: Port,
  { servers, ...rest }: { readonly servers: readonly string[] } & Pick<ProbePlan, "httpPort" | "waitMs">,
): Promise<readonly Observation[]> {
  const [server] = servers;
  const plan: ProbePlan = { task: "boot", mac: place.mac, interface: place.interface, server, configure: place.own, ...rest };
  const seen = await probe(native, place, 68, plan);
  const [relay] = port.addresses;
  const isHere = server !== undefined && port.addresses.includes(server);
  if (seen.some(({ saw }) => saw === "offer") || server === undefined || relay === undefined || isHere) return seen;
  // silence: would the boot plane answer, if only a relay asked it?
  const asked = await probe(native, { interface: port.name, namespace: port.namespace }, 67, { ...plan, task: "relay", relay });
  return [...seen, ...asked];
}

function secondsOf(text: string): number {
  const value = Number(text);
  if (!(value >= 0.2 && value <= 30)) throw new InvalidArgumentError("0.2 to 30 seconds.");
  return value;
}

function macOf(text: string): string {
  const mac = text.toLowerCase().replaceAll("-", ":");
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) throw new InvalidArgumentError("six octets, e.g. 52:54:00:12:34:56.");
  return mac;
}
