import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import type { CellState, Supervisor } from "../supervise/index.ts";
import type { Entrance } from "./entrance.ts";
import type { TenantTraffic } from "./gateway/tenant.ts";
import { idOfCell } from "./place.ts";

/** What is seen of one control plane from outside. */
interface Seen {
  readonly cell: CellState;
  readonly traffic?: TenantTraffic;
}

export interface PlaneWatch {
  stop(): Promise<void>;
}

export interface WatchOptions {
  readonly supervisor: Supervisor;
  readonly way: Entrance;
  readonly clock: Clock;
  readonly log: Logger;
  onTraffic(traffic: readonly TenantTraffic[]): void;
  /** A control plane fell asleep, was woken by a caller, or a process of it ended. */
  onChange(cell: string): void;
}

const EVERY_MS = 1_000;

/** Looks at the supervisor and the gateway, which go on by themselves: neither knows who would want to hear of it. */
export function watchPlanes({ supervisor, way, clock, log, onTraffic, onChange }: WatchOptions): PlaneWatch {
  const ending = new AbortController();
  let last: ReadonlyMap<string, Seen> = new Map();

  async function look(): Promise<void> {
    const [cells, traffic] = await Promise.all([supervisor.cellStates(), way.traffic()]);
    onTraffic(traffic);
    const byId = new Map(traffic.map((one) => [one.id, one]));
    const now = new Map<string, Seen>();
    for (const cell of cells) {
      const there = byId.get(idOfCell(cell.name));
      now.set(cell.name, { cell, ...(there ? { traffic: there } : {}) });
    }
    const before = last;
    last = now;
    for (const [name, seen] of now) {
      const was = before.get(name);
      if (was && tokenOf(was) !== tokenOf(seen)) onChange(name);
    }
  }

  const watching = (async () => {
    while (!ending.signal.aborted) {
      // both may be away for a moment, and come back
      await look().catch((error: unknown) => log.debug({ reason: reasonOf(error) }, "control planes could not be looked at"));
      await clock.sleep(EVERY_MS, ending.signal).catch(() => {});
    }
  })();

  return {
    async stop() {
      ending.abort(new Error("the watch of control planes ends"));
      await watching;
    },
  };
}

function tokenOf({ cell, traffic }: Seen): string {
  return `${cell.state} ${traffic?.woken ?? false} ${cell.children.map((child) => `${child.state}${child.restarts}`).join()}`;
}
