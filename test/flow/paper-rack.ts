import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { bootPaperRack, type Fault, type Line, type PaperRun } from "../../src/rack/index.ts";
import type { layWire, Wire } from "../bench/wire.ts";

/** The relay agent that all of them ask through. */
export const RELAY = "10.77.255.254";

/** In the paper servers' namespace, any address of these is its own: they take what they are leased. */
export const LEASED = ["10.77.16.0/20", "10.77.32.0/19"];

/** The boot plane's interface on that wire. */
export const PAPER_INTERFACE = {
  name: "prov0",
  address: "10.77.0.1/16",
  pool: { from: "10.77.16.0", to: "10.77.63.255" },
  mode: "reservation",
  routerAdvertisements: false,
} as const;

export function layPaperWire(name: string, lay: typeof layWire): Wire {
  const wire = lay(name, { here: "10.77.0.1/16", there: `${RELAY}/16` });
  for (const addresses of LEASED) execFileSync("ip", ["-n", wire.there, "route", "add", "local", addresses, "dev", "lo"]);
  return wire;
}

export interface PaperOrder {
  readonly count: number;
  readonly line?: Line;
  readonly patienceMs: number;
  readonly tries?: number;
  /** Of the line's and the clients' chance. */
  readonly seed: number;
  readonly leaseOnly?: boolean;
  /** Of the first servers, one each. */
  readonly faults?: readonly Fault[];
}

/** Paper servers in a process of their own, in the wire's namespace. */
export async function startPaperRack(wire: Wire, order: PaperOrder): Promise<PaperRun> {
  const child = wire.start(wire.there, process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(order)]);
  let out = "";
  let said = "";
  child.stdout?.on("data", (data) => {
    out += data;
  });
  child.stderr?.on("data", (data) => {
    said += data;
  });
  await new Promise((resolve) => child.once("close", resolve));
  if (out === "") throw new Error(`the paper rack ended: ${said.slice(-2000)}`);
  return JSON.parse(out) as PaperRun;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { faults = [], seed, ...order } = JSON.parse(process.argv[2] ?? "{}") as PaperOrder;
  const faultOf = ({ name }: { name: string }) => faults[Number(name.replace("paper-", ""))];
  const run = await bootPaperRack({ ...order, relay: RELAY, server: "10.77.0.1", faultOf, random: chance(seed) });
  process.stdout.write(JSON.stringify(run));
}

/** Mulberry32. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
