import { execFile, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Observation, ProbePlan } from "./observed.ts";

const execute = promisify(execFile);

/** Where the probe stands on the network. */
export interface Place {
  /** How it is plugged in, for people. */
  readonly how: string;
  readonly interface: string;
  /** Network namespace; undefined is the caller's own. */
  readonly namespace: string | undefined;
  readonly mac: string;
  /** The namespace is the probe's alone: it may take addresses there. */
  readonly own: boolean;
  remove(): Promise<void>;
}

interface Link {
  readonly address: string;
  readonly linkinfo?: { readonly info_kind?: string };
  readonly addr_info?: readonly { readonly family: string; readonly local: string }[];
}

/** What is known of an interface, or undefined where there is none. */
export interface Port {
  readonly name: string;
  readonly namespace: string | undefined;
  readonly isBridge: boolean;
  readonly addresses: readonly string[];
}

export async function findPort(name: string, namespace: string | undefined): Promise<Port | undefined> {
  const inside = namespace === undefined ? [] : ["-n", namespace];
  try {
    const [link] = JSON.parse(await ip(...inside, "-json", "-details", "addr", "show", "dev", name)) as readonly Link[];
    if (!link) return undefined;
    return {
      name,
      namespace,
      isBridge: link.linkinfo?.info_kind === "bridge",
      addresses: (link.addr_info ?? []).filter(({ family }) => family === "inet").map(({ local }) => local),
    };
  } catch {
    return undefined;
  }
}

/** Its name inside the probe's namespace. */
const NIC = "doctor0";

/**
 * A NIC of the probe's own, with a locally administered MAC, on the network of a port: a port of the bridge, or a macvlan beside the
 * interface. A macvlan cannot speak with the host it is on; where the boot plane is that host, the interface itself is used.
 * @param hosts the boot plane's own addresses
 * @param as a MAC to be, instead of one made up
 */
export async function standOn(port: Port, hosts: readonly string[], as?: string): Promise<Place> {
  const mac = as ?? ["02", ...Array.from({ length: 5 }, () => randomInt(256).toString(16).padStart(2, "0"))].join(":");
  const direct: Place = {
    how: `from ${port.name} itself: packets to the boot plane on this host do not cross the wire`,
    interface: port.name,
    namespace: port.namespace,
    mac,
    own: false,
    remove: async () => {},
  };
  if (!port.isBridge && port.addresses.some((address) => hosts.includes(address))) return direct;
  const namespace = `iw-doctor-${process.pid}`;
  const outside = port.namespace === undefined ? [] : ["-n", port.namespace];
  const remove = async () => {
    // the bridge's end of the cable goes with the other
    await ip("netns", "delete", namespace).catch(() => {});
  };
  await ip("netns", "add", namespace);
  try {
    if (port.isBridge) {
      const end = `iwd${process.pid}`.slice(0, 15);
      await ip(...outside, "link", "add", end, "type", "veth", "peer", "name", NIC, "address", mac, "netns", namespace);
      await ip(...outside, "link", "set", end, "master", port.name, "up");
    } else {
      await ip(
        ...outside,
        "link",
        "add",
        "link",
        port.name,
        "name",
        NIC,
        "address",
        mac,
        "netns",
        namespace,
        "type",
        "macvlan",
        "mode",
        "bridge",
      );
    }
    await ip("-n", namespace, "link", "set", "lo", "up");
    await ip("-n", namespace, "link", "set", NIC, "up");
  } catch {
    await remove();
    return direct;
  }
  const how = port.isBridge ? `from a port of its own on the bridge ${port.name}` : `from a NIC of its own beside ${port.name} (macvlan)`;
  return { how, interface: NIC, namespace, mac, own: true, remove };
}

/** Long enough for all that a probe does where everything is lost. */
const PROBE_MS = 90_000;

/** Runs the probe as a process of its own, with the one socket it needs; what it saw by then, also when a packet ended it. */
export async function probe(
  native: string,
  at: Pick<Place, "interface" | "namespace">,
  port: number,
  plan: ProbePlan,
): Promise<readonly Observation[]> {
  const program = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "probe.ts" : "probe.js", import.meta.url));
  const namespace = at.namespace === undefined ? [] : ["--netns", at.namespace];
  const socket = `${port === 67 ? plan.relay : "0.0.0.0"}:${port}@${at.interface}`;
  const command = [process.execPath, "--disable-warning=ExperimentalWarning", program, JSON.stringify(plan)];
  const child = spawn(native, ["sockets", ...namespace, "--udp", `probe=${socket}`, "--", ...command], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: PROBE_MS,
  });
  const seen: Observation[] = [];
  const said: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    // the package prints options it does not know on standard output as well
    if (line.startsWith("{")) seen.push(JSON.parse(line) as Observation);
  });
  createInterface({ input: child.stderr }).on("line", (line) => said.push(line));
  const exit = await new Promise<string | undefined>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(code === 0 ? undefined : (signal ?? `status ${code}`)));
  });
  if (exit !== undefined) {
    const last = said.filter((line) => /error|cannot|refused|in use/i.test(line)).at(-1) ?? said.at(-1) ?? "";
    seen.push({ saw: "trouble", detail: `the probe ended early (${exit}): ${last}` });
  }
  return seen;
}

async function ip(...args: string[]): Promise<string> {
  const { stdout } = await execute("ip", args);
  return stdout;
}
