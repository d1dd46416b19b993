import { VIRTUAL_CLUSTER } from "../core/resources.ts";
import { turns } from "../core/turns.ts";
import type { Kube } from "../kube/index.ts";
import { chooseUser, type Isolation } from "./isolation.ts";
import { choosePort, type PortRange } from "./ports.ts";

/** What of this host each control plane has to itself. */
export interface Seat {
  readonly port: number;
  /** 0 where control planes are not kept apart. */
  readonly userID: number;
}

/** The lowest port and user that nobody has; what it had already it keeps. @throws IRW_TENANT_PORTS, IRW_TENANT_USERS */
export type Choose = (had?: Partial<Seat>) => Promise<Seat>;

export interface Seats {
  /** A seat is written down by whoever chose it before the next is chosen. */
  inTurn<T>(take: (choose: Choose) => Promise<T>): Promise<T>;
}

export interface SeatsOptions {
  /** The host control plane. */
  readonly kube: Kube;
  readonly ports: PortRange;
  readonly isolation: Isolation | undefined;
  /** Seats of control planes that are no tenant's yet. */
  readonly alsoTaken: () => Promise<readonly Seat[]>;
}

export function seats({ kube, ports, isolation, alsoTaken }: SeatsOptions): Seats {
  const line = turns();

  async function choose(had: Partial<Seat> = {}): Promise<Seat> {
    // those of tenants that are being deleted, too
    const { items } = await kube.list(VIRTUAL_CLUSTER);
    const taken = [...items.map((one) => one.status ?? {}), ...(await alsoTaken())];
    return {
      port: had.port ?? choosePort(ports, taken),
      userID: isolation ? (had.userID ?? chooseUser(isolation, taken)) : 0,
    };
  }

  return { inTurn: (take) => line(() => take(choose)) };
}
