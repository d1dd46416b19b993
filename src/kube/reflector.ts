import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { isError, reasonOf } from "../core/errors.ts";
import type { Kind, Resource } from "../core/resources.ts";
import type { Kube, WatchEvent } from "./kube.ts";

export interface ReflectorOptions<T extends Resource> {
  readonly kube: Kube;
  readonly kind: Kind<T>;
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly log: Logger;
  readonly clock: Clock;
  /** Something about this key changed, or it is gone. Never called before the first list is complete in the store. */
  onChange?(key: string): void;
}

/** A local, eventually consistent copy of a collection. It never stops for good: after any error it tries again. */
export interface Reflector<T extends Resource> {
  /** Resolves when the first list is in the store; rejects only when stopped before that. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** `name`, or `namespace/name` for a namespaced kind. Shared by all callers: copy before you change. Without managedFields. */
  get(key: string): T | undefined;
  list(): readonly T[];
  keys(): readonly string[];
  /** Milliseconds since the apiserver last said anything (an event, a bookmark, a list): how old the copy may be. */
  age(): number;
}

const RESYNC_MS = 600_000;
const WATCH_SECONDS = { from: 270, to: 330 } as const;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 10_000;
/** A watch that ends sooner, without a word, is counted as a failure: it must not become a busy loop. */
const SHORT_WATCH_MS = 1_000;

/** The key a reflector stores an object under. */
export function keyOf(object: Resource): string {
  const { namespace, name } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}

export function reflector<T extends Resource>(options: ReflectorOptions<T>): Reflector<T> {
  const { kube, kind, clock, log } = options;
  const about = { kind: kind.kind, server: kube.server };
  const where = selected(options);
  const ending = new AbortController();
  const synced = Promise.withResolvers<void>();
  // a reflector that is never awaited must not end the process when it is stopped early
  synced.promise.catch(() => {});
  let store = new Map<string, T>();
  /** What the next watch starts after; undefined asks for a new list. */
  let version: string | undefined;
  let heardAt = 0;
  let listedAt = 0;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    let failures = 0;
    while (!ending.signal.aborted) {
      try {
        if (version === undefined || now() - listedAt > RESYNC_MS) await list();
        const heard = await watch();
        if (failures > 0) log.info(about, "watching again");
        failures = heard ? 0 : failures + 1;
      } catch (error) {
        if (ending.signal.aborted) return;
        if (isError(error, "IRW_KUBE_EXPIRED")) version = undefined;
        // the first is news, and then now and then
        if (failures % 20 === 0) log.warn({ ...about, reason: reasonOf(error), tries: failures + 1 }, "lost the watch; trying again");
        failures += 1;
      }
      if (failures > 0) await clock.sleep(pause(failures), ending.signal).catch(() => {});
    }
  }

  async function list(): Promise<void> {
    const { items, resourceVersion } = await kube.list(kind, { ...where, signal: ending.signal });
    const next = new Map(items.map((item) => [keyOf(item), slim(item)]));
    const changed = differing(store, next);
    store = next;
    version = resourceVersion;
    heardAt = listedAt = now();
    synced.resolve();
    for (const key of changed) tell(key);
  }

  /** @returns whether the apiserver said anything, or kept the watch open for a while */
  async function watch(): Promise<boolean> {
    const began = now();
    let heard = false;
    const timeoutSeconds = Math.round(WATCH_SECONDS.from + Math.random() * (WATCH_SECONDS.to - WATCH_SECONDS.from));
    for await (const event of kube.watch(kind, { ...where, resourceVersion: version ?? "", timeoutSeconds, signal: ending.signal })) {
      heard = true;
      heardAt = now();
      take(event);
    }
    return heard || now() - began > SHORT_WATCH_MS;
  }

  function take(event: WatchEvent<T>): void {
    if (event.type === "BOOKMARK") {
      version = event.resourceVersion;
      return;
    }
    const key = keyOf(event.object);
    version = event.object.metadata.resourceVersion ?? version;
    if (event.type === "DELETED") store.delete(key);
    else store.set(key, slim(event.object));
    tell(key);
  }

  function tell(key: string): void {
    try {
      options.onChange?.(key);
    } catch (error) {
      log.error({ ...about, key, err: error }, "a listener failed");
    }
  }

  function now(): number {
    return clock.now().getTime();
  }

  return {
    start() {
      running ??= run();
      return synced.promise;
    },
    async stop() {
      ending.abort(new Error(`the reflector of ${kind.plural} is stopped`));
      synced.reject(ending.signal.reason);
      await running;
    },
    get: (key) => store.get(key),
    list: () => [...store.values()],
    keys: () => [...store.keys()],
    age: () => now() - heardAt,
  };
}

function selected({ namespace, labelSelector, fieldSelector }: { namespace?: string; labelSelector?: string; fieldSelector?: string }) {
  return { ...(namespace ? { namespace } : {}), ...(labelSelector ? { labelSelector } : {}), ...(fieldSelector ? { fieldSelector } : {}) };
}

/** Keys that came, went or changed between two lists. */
function differing(before: ReadonlyMap<string, Resource>, after: ReadonlyMap<string, Resource>): string[] {
  const came = [...after].filter(([key, object]) => {
    const old = before.get(key);
    return !old || old.metadata.resourceVersion !== object.metadata.resourceVersion || old.metadata.uid !== object.metadata.uid;
  });
  return [...came.map(([key]) => key), ...[...before.keys()].filter((key) => !after.has(key))];
}

/** Half of a small object is its managedFields; a replace without them leaves the apiserver's record of them as it is. */
function slim<T extends Resource>(object: T): T {
  const { managedFields: _dropped, ...metadata } = object.metadata as T["metadata"] & { managedFields?: unknown };
  return { ...object, metadata };
}

function pause(failures: number): number {
  return Math.min(FIRST_WAIT_MS * 2 ** (failures - 1), LONGEST_WAIT_MS) * (0.5 + Math.random());
}
