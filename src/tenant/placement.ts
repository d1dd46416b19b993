import { IronwrightError } from "../core/errors.ts";

/** Where a tenant's objects are, and how much they may weigh there. */
export interface Placement {
  readonly shard: string;
  readonly quotaBytes: number;
}

export interface DatastoreLimits {
  readonly tenantsPerShard: number;
  /** Of a tenant that says nothing else. */
  readonly quotaBytes: number;
}

/** A tenant's wish for its datastore. */
export interface DatastoreWish {
  /** `dedicated`: an etcd of its own; by default it shares one. It is placed once, and stays. */
  readonly kind?: "shared" | "dedicated";
  readonly quotaBytes?: number;
}

/** etcd's own advice for the most a database should hold. */
export const SHARD_BYTES = 8 * 2 ** 30;
/**
 * Quotas in one shard may sum up to this: each tenant may go a quarter over before etcd stops it, pages of 4 KiB that hold
 * two objects of just over 2 KiB each double that, and 1 GiB is for history between compactions.
 */
export const BUDGET_BYTES = (SHARD_BYTES - 2 ** 30) / 2 / 1.25;

const NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const SHARED = /^shard-([0-9]+)$/;

/** A plane id names a user, a role, a directory and keys: @throws IRW_DATASTORE_REFUSED */
export function checkId(id: string): void {
  if (!NAME.test(id) || id === "root") throw refused(id, "its id must be letters, digits and dashes, and not root");
}

export function isShared(shard: string): boolean {
  return SHARED.test(shard);
}

/**
 * Chooses the shard for a tenant: where it is, else the fullest shared one with room for it, so that shards empty out,
 * else a new one. Pure.
 * @throws IRW_DATASTORE_REFUSED
 */
export function place(
  id: string,
  wish: DatastoreWish,
  limits: DatastoreLimits,
  placed: ReadonlyMap<string, Placement>,
  shards: readonly string[],
): Placement {
  checkId(id);
  const before = placed.get(id);
  const dedicated = before ? !isShared(before.shard) : wish.kind === "dedicated";
  if (before && wish.kind !== undefined && (wish.kind === "dedicated") !== dedicated) {
    throw refused(id, `it is placed in ${before.shard}; its objects are not moved to another datastore`);
  }
  const quotaBytes = wish.quotaBytes ?? (dedicated ? BUDGET_BYTES : limits.quotaBytes);
  if (quotaBytes > BUDGET_BYTES)
    throw refused(id, `a quota of ${quotaBytes} bytes is more than the ${BUDGET_BYTES} an etcd of ${SHARD_BYTES} can promise`);
  if (dedicated) return { shard: before?.shard ?? `own-${id}`, quotaBytes };

  const others = [...placed].filter(([other]) => other !== id).map(([, placement]) => placement);
  const of = (shard: string) => others.filter((one) => one.shard === shard);
  const hasRoom = (shard: string) =>
    of(shard).length < limits.tenantsPerShard && of(shard).reduce((sum, one) => sum + one.quotaBytes, quotaBytes) <= BUDGET_BYTES;
  if (before) {
    if (before.quotaBytes >= quotaBytes || hasRoom(before.shard)) return { shard: before.shard, quotaBytes };
    throw refused(id, `${before.shard} cannot promise ${quotaBytes} bytes beside its other tenants`);
  }
  const shared = shards.filter(isShared).sort((one, other) => of(other).length - of(one).length || numberOf(one) - numberOf(other));
  return { shard: shared.find(hasRoom) ?? `shard-${firstFree(shared)}`, quotaBytes };
}

function firstFree(shards: readonly string[]): number {
  const taken = new Set(shards.map(numberOf));
  let free = 0;
  while (taken.has(free)) free += 1;
  return free;
}

function numberOf(shard: string): number {
  return Number(SHARED.exec(shard)?.[1] ?? -1);
}

function refused(tenant: string, reason: string): IronwrightError {
  return new IronwrightError("IRW_DATASTORE_REFUSED", { tenant, reason });
}
