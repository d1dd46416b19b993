import { existsSync, readdirSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { IronwrightError } from "../core/errors.ts";
import { turns } from "../core/turns.ts";
import type { Metrics } from "../observe/index.ts";
import type { Supervisor } from "../supervise/index.ts";
import type { Datastore } from "./datastore.ts";
import { readText, writePrivate } from "./files.ts";
import { checkId, type DatastoreLimits, isShared, type Placement, place, SHARD_BYTES } from "./placement.ts";
import { etcdShard, type Shard } from "./shard.ts";
import { keepUp, PACE, type Upkeep, type UpkeepPace } from "./upkeep.ts";

export interface ShardsOptions {
  /** `<dataDir>/datastore`: a directory a shard. */
  readonly dir: string;
  readonly etcdPath: string;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
  readonly limits: DatastoreLimits;
  readonly metrics?: Metrics;
  readonly pace?: UpkeepPace;
  /** Each etcd's own quota. */
  readonly shardBytes?: number;
}

interface Running {
  readonly shard: Shard;
  readonly upkeep: Upkeep;
}

/**
 * Tenants in etcd shards: at most so many in each, those of their own apart. Who is where stands beside each shard, in
 * `tenants/ID.json`, written before the tenant is let in and removed after nothing of it is left.
 */
export function etcdShards(options: ShardsOptions): Datastore {
  const { dir, etcdPath, supervisor, clock, random, log, limits, metrics, pace = PACE } = options;
  const placed = new Map<string, Placement>();
  const running = new Map<string, Running>();
  const listeners: ((id: string) => void)[] = [];
  let loaded: Promise<void> | undefined;
  const ending = new AbortController();

  const placing = turns();
  const defragmenting = turns();

  function recordOf(id: string, shard: string): string {
    return join(dir, shard, "tenants", `${id}.json`);
  }

  async function load(): Promise<void> {
    for (const shard of await namesIn(dir)) {
      const records = (await namesIn(join(dir, shard, "tenants"))).filter((name) => name.endsWith(".json"));
      for (const name of records) {
        const id = name.slice(0, -".json".length);
        const { quotaBytes } = JSON.parse((await readText(recordOf(id, shard))) ?? "{}") as { quotaBytes: number };
        placed.set(id, { shard, quotaBytes });
      }
      if (!existsSync(join(dir, shard, "tenants"))) await adopt(shard);
    }
  }

  /** Before there were records, the users of an etcd were all there was. */
  async function adopt(shard: string): Promise<void> {
    const etcd = await hold(shard).shard.start(ending.signal);
    for (const id of await etcd.users()) await record(id, { shard, quotaBytes: limits.quotaBytes });
    // or it is what a removal left that was cut off
    await dropEmpty(shard);
  }

  async function record(id: string, placement: Placement): Promise<void> {
    await writePrivate(recordOf(id, placement.shard), `${JSON.stringify({ quotaBytes: placement.quotaBytes })}\n`);
    placed.set(id, placement);
  }

  function shards(): readonly string[] {
    return [...new Set([...[...placed.values()].map((one) => one.shard), ...running.keys()])];
  }

  /** Begins to run it where it does not yet, and to look after it; waits for nothing. */
  function hold(name: string): Running {
    const before = running.get(name);
    if (before) return before;
    const shard = shardOf(name);
    const upkeep = keepUp({
      name,
      shard,
      clock,
      log,
      pace,
      ...(metrics ? { metrics } : {}),
      inTurn: defragmenting,
      onChange: (id) => {
        for (const listener of listeners) listener(id);
      },
    });
    const held = { shard, upkeep };
    running.set(name, held);
    return held;
  }

  function shardOf(name: string): Shard {
    const child = childName(name);
    const quotaBytes = options.shardBytes ?? SHARD_BYTES;
    return etcdShard({ name: child, dir: join(dir, name), etcdPath, quotaBytes, supervisor, now: () => clock.now(), random, log });
  }

  /** An empty one goes, unless it is the last that is shared: the next tenant need not wait for a new one. */
  async function dropEmpty(name: string): Promise<void> {
    if ([...placed.values()].some((one) => one.shard === name)) return;
    if (isShared(name) && !shards().some((other) => other !== name && isShared(other))) return;
    const { shard, upkeep } = running.get(name) ?? { shard: shardOf(name), upkeep: undefined };
    await upkeep?.stop();
    running.delete(name);
    await shard.destroy();
    if (existsSync(join(dir, name))) throw new IronwrightError("IRW_TENANT_LEFTOVER", { tenant: name, what: join(dir, name) });
  }

  function ready(): Promise<void> {
    loaded ??= load().catch((error: unknown) => {
      loaded = undefined;
      throw error;
    });
    return loaded;
  }

  async function startOne(name: string, signal: AbortSignal): Promise<void> {
    const { shard, upkeep } = hold(name);
    await shard.start(signal);
    for (const [id, placement] of placed) if (placement.shard === name) await upkeep.admitted(id, placement.quotaBytes);
  }

  return {
    async start(signal) {
      await ready();
      const wanted = new Set([...placed.values()].map((one) => one.shard));
      if (![...wanted].some(isShared)) wanted.add("shard-0");
      // one that does not come is no reason for the others to wait
      const results = await Promise.allSettled([...wanted].map((name) => startOne(name, signal)));
      for (const result of results) if (result.status === "rejected") throw result.reason;
    },

    async admit(id, signal, wish = {}) {
      await ready();
      const placement = await placing(async () => {
        const choice = place(id, wish, limits, placed, shards());
        await record(id, choice);
        return choice;
      });
      const { shard, upkeep } = hold(placement.shard);
      const access = await shard.admit(id, signal);
      await upkeep.admitted(id, placement.quotaBytes);
      return access;
    },

    async certificate(id, days) {
      await ready();
      const placement = placed.get(id);
      if (!placement) throw new IronwrightError("IRW_DATASTORE_REFUSED", { tenant: id, reason: "it was not let in yet" });
      return (running.get(placement.shard)?.shard ?? shardOf(placement.shard)).certificate(id, days);
    },

    usage: (id) => {
      const placement = placed.get(id);
      return placement && running.get(placement.shard)?.upkeep.usage(id);
    },

    onChange: (listener) => void listeners.push(listener),

    async remove(id, signal) {
      await ready();
      checkId(id);
      const placement = placed.get(id);
      if (!placement) return;
      const { shard, upkeep } = hold(placement.shard);
      upkeep.forget(id);
      await shard.remove(id, signal);
      await placing(async () => {
        await rm(recordOf(id, placement.shard), { force: true });
        placed.delete(id);
        await dropEmpty(placement.shard);
      });
    },

    async close() {
      ending.abort(new Error("the datastore is closing"));
      const all = [...running.values()];
      running.clear();
      await Promise.all(all.map(({ upkeep }) => upkeep.stop()));
      await Promise.all(all.map(({ shard }) => shard.close()));
    },
  };
}

function childName(shard: string): string {
  return `tenants-etcd-${shard.replace(/^shard-/, "")}`;
}

/** Each shard's directory, by the name of its child. */
export function shardDirectories(dir: string): Readonly<Record<string, string>> {
  const names = existsSync(dir) ? readdirSync(dir) : [];
  return Object.fromEntries(names.map((name) => [childName(name), join(dir, name)]));
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
