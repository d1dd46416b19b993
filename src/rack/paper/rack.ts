import { GOOD_LINE, type Line } from "./line.ts";
import { openRelay } from "./relay.ts";
import { type Boot, bootPaperServer, type Fault, type PaperServer, paperServers } from "./server.ts";

export interface PaperRackOptions {
  readonly count: number;
  /** An address of this host on the servers' network, which they all ask through. */
  readonly relay: string;
  /** The boot plane's. */
  readonly server: string;
  readonly line?: Line;
  readonly patienceMs?: number;
  readonly tries?: number;
  /** Servers switched on at the same time; all of them when absent. */
  readonly atOnce?: number;
  readonly leaseOnly?: boolean;
  faultOf?(server: PaperServer): Fault | undefined;
  /** In [0, 1). */
  readonly random?: () => number;
}

export interface PaperRun {
  readonly booted: readonly Boot[];
  /** What the others would show on their screens. */
  readonly failed: readonly { readonly server: PaperServer; readonly why: string }[];
  readonly seconds: number;
}

/**
 * Switches on a rack of SIMULATED servers. They fetch from addresses that the boot plane leases them, so this host must take those
 * for its own: `ip route add local <pool> dev lo` in a namespace of its own.
 */
export async function bootPaperRack(options: PaperRackOptions): Promise<PaperRun> {
  const { line = GOOD_LINE, random = Math.random, patienceMs = 4000, count } = options;
  const relay = await openRelay({ address: options.relay, server: options.server, line, random });
  const began = performance.now();
  const booted: Boot[] = [];
  const failed: { server: PaperServer; why: string }[] = [];
  const queue = paperServers(count);
  const work = async () => {
    for (let server = queue.shift(); server; server = queue.shift()) {
      const { leaseOnly = false, tries } = options;
      const fault = options.faultOf?.(server);
      try {
        booted.push(await bootPaperServer(server, { relay, line, random, patienceMs, tries, leaseOnly, fault }));
      } catch (error) {
        failed.push({ server, why: error instanceof Error ? error.message : String(error) });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.atOnce ?? count, count) }, work));
  await relay.close();
  return { booted, failed, seconds: (performance.now() - began) / 1000 };
}
