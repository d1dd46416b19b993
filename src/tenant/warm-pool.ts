import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { isError } from "../core/errors.ts";
import { SYSTEM_NAMESPACE } from "../core/names.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import { type Kube, SECRET, SERVICE_ACCOUNT, type Secret } from "../kube/index.ts";
import { reconciler } from "../work/index.ts";
import type { Datastore } from "./datastore.ts";
import type { Entrance } from "./entrance.ts";
import type { Holds } from "./holds.ts";
import { type Bundle, type BundleOptions, completeBundle } from "./pki.ts";
import { type ControlPlane, namelessRef, type Runtime } from "./runtime.ts";
import type { Seat } from "./seats.ts";
import { decoded, encoded } from "./secrets.ts";
import type { TenantSpec } from "./spec.ts";

/** A control plane that is given to the next tenant, with all that is its own already. */
export interface WarmPlane extends Seat {
  readonly id: string;
  readonly bundle: Bundle;
}

export interface WarmPoolOptions {
  /** The host control plane. */
  readonly kube: Kube;
  /** How many are kept. */
  readonly size: number;
  /** What a tenant gets that asks for nothing else. */
  readonly spec: TenantSpec;
  readonly address: string;
  readonly runtime: Runtime;
  readonly datastore: Datastore;
  readonly way: Entrance;
  readonly held: Holds;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
  /** Names of its apiserver's certificate that are no tenant's. */
  readonly sans: readonly string[];
  readonly lives?: BundleOptions["lives"];
  /** A port and a user that nobody has, in a turn with others who choose. */
  choose(keep: (place: Seat) => Promise<unknown>): Promise<unknown>;
}

/** Control planes that were started before anybody asked for them, and sleep until somebody does. */
export interface WarmPool {
  /** Ports and users of those that wait here. */
  taken(): Promise<readonly Seat[]>;
  /** One that is this tenant's from now on, or the one it took before; undefined when none fits. */
  take(cluster: VirtualCluster, spec: TenantSpec): Promise<WarmPlane | undefined>;
  /** The tenant's status names it: it is no longer the pool's. */
  given(id: string): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}

const TYPE = "ironwright.dev/warm-control-plane";
const LABEL = "ironwright.dev/warm";
const ANNOTATIONS = {
  port: "ironwright.dev/port",
  userID: "ironwright.dev/user",
  version: "ironwright.dev/version",
  owner: "ironwright.dev/owner",
} as const;
type Stage = "making" | "ready" | "taken";
const KEY = "pool";
const LOOK_AGAIN_MS = 5_000;
const SETTLE_TRIES = 100;

export function warmPool(options: WarmPoolOptions): WarmPool {
  const { kube, size, spec, runtime, datastore, way, held, clock, log } = options;
  const pool = reconciler({ name: "warm-pool", log, clock, concurrency: 1, keys: () => [KEY], reconcile: (_, signal) => keepFull(signal) });

  async function all(): Promise<readonly Secret[]> {
    const { items } = await kube.list(SECRET, { namespace: SYSTEM_NAMESPACE, labelSelector: LABEL });
    return items.filter((one) => one.type === TYPE);
  }

  async function keepFull(signal: AbortSignal): Promise<{ readonly afterMs: number } | undefined> {
    let kept = 0;
    for (const secret of await all()) {
      const stage = stageOf(secret);
      if (stage === "taken") await settle(secret, signal);
      else if (kept >= size || secret.metadata.annotations?.[ANNOTATIONS.version] !== spec.version) await destroy(secret, signal);
      else {
        kept += 1;
        if (stage === "making") await make(secret, signal);
        else await renew(secret, signal);
      }
    }
    if (kept >= size) return undefined;
    // whoever waits for one of his own comes first
    const { items } = await kube.list(VIRTUAL_CLUSTER);
    if (items.some((one) => !one.metadata.deletionTimestamp && (one.status?.phase ?? "Creating") === "Creating"))
      return { afterMs: LOOK_AGAIN_MS };
    await options.choose(async (place) => {
      const id = options.random(6).toString("hex");
      await kube.create(SECRET, secretOf(id, place, "making", spec.version));
    });
    return { afterMs: 0 };
  }

  async function planeOf(secret: Secret, signal: AbortSignal): Promise<{ readonly plane: ControlPlane; readonly secret: Secret }> {
    const { id, port, userID, bundle: before } = warmOf(secret);
    const access = await datastore.admit(id, signal, spec.datastore);
    const bundle = await completeBundle(before, {
      tenant: `warm-${id}`,
      sans: options.sans,
      datastore: { ca: access.ca, certificate: (days) => datastore.certificate(id, days) },
      now: clock.now(),
      random: options.random,
      ...(options.lives ? { lives: options.lives } : {}),
    });
    // durable before any process uses it
    const written = bundle === before ? secret : await kube.replace(SECRET, { ...secret, data: encoded(bundle) });
    const plane = { ref: namelessRef(id), id, spec, port, user: userID, address: options.address, bundle, datastore: access };
    return { plane, secret: written };
  }

  async function make(before: Secret, signal: AbortSignal): Promise<void> {
    const began = clock.now().getTime();
    const { plane, secret } = await planeOf(before, signal);
    await runtime.ensure(plane, signal);
    await way.open(plane, [], signal);
    const { kube: inside } = await held.take(plane.id, plane, async () => [], signal);
    // its controllers have done what they do once
    for (let left = SETTLE_TRIES; left > 0 && !(await inside.get(SERVICE_ACCOUNT, "default", "default")); left -= 1)
      await clock.sleep(50, signal);
    await held.let(plane.id);
    await way.rest(plane, [], signal);
    const slept = await runtime.hibernate(plane.id);
    await kube.replace(SECRET, staged(secret, "ready"));
    log.info({ plane: plane.id, ms: clock.now().getTime() - began, state: slept.state }, "a control plane is ready for whoever asks next");
  }

  /** Its certificates end while it waits. */
  async function renew(before: Secret, signal: AbortSignal): Promise<void> {
    const { plane, secret } = await planeOf(before, signal);
    if (secret !== before) await runtime.refresh(plane);
  }

  /** What was taken is its tenant's, or is in nobody's hands when that one went before it had it. */
  async function settle(secret: Secret, signal: AbortSignal): Promise<void> {
    const owner = ownerOf(secret);
    const cluster = owner && (await kube.get(VIRTUAL_CLUSTER, owner.name, owner.namespace));
    if (!cluster || cluster.metadata.uid !== owner.uid) return destroy(secret, signal);
    if (cluster.status?.plane === warmOf(secret).id) await forget(secret);
    // one that came by another control plane meanwhile
    else if (cluster.status?.port !== undefined) await destroy(secret, signal);
  }

  async function destroy(secret: Secret, signal: AbortSignal): Promise<void> {
    const { id } = warmOf(secret);
    await held.let(id);
    await way.close(id);
    await runtime.remove(id);
    await datastore.remove(id, signal);
    await forget(secret);
  }

  async function forget({ metadata }: Secret): Promise<void> {
    await kube.delete(SECRET, metadata.name, { namespace: SYSTEM_NAMESPACE, uid: metadata.uid ?? "" });
  }

  function fits({ spec: asked }: VirtualCluster, wanted: TenantSpec): boolean {
    const parts = ({ version, podCIDR, serviceCIDR, datastore: wish, limits }: TenantSpec) => ({
      version,
      podCIDR,
      serviceCIDR,
      wish,
      limits,
    });
    return asked.pki?.authoritySecret === undefined && isDeepStrictEqual(parts(wanted), parts(spec));
  }

  return {
    async taken() {
      return size === 0 ? [] : (await all()).map(warmOf);
    },

    async take(cluster, wanted) {
      if (size === 0 || !fits(cluster, wanted)) return undefined;
      const { uid = "", name, namespace = "" } = cluster.metadata;
      const secrets = await all();
      const mine = secrets.find((one) => ownerOf(one)?.uid === uid);
      if (mine) return warmOf(mine);
      for (const secret of secrets.filter((one) => stageOf(one) === "ready")) {
        try {
          return warmOf(await kube.replace(SECRET, staged(secret, "taken", JSON.stringify({ uid, name, namespace }))));
        } catch (error) {
          // somebody else has it
          if (!isError(error, "IRW_KUBE_CONFLICT")) throw error;
        }
      }
      return undefined;
    },

    async given(id) {
      await kube.delete(SECRET, nameOf(id), { namespace: SYSTEM_NAMESPACE });
      pool.nudge(KEY);
    },

    start: () => pool.start(),
    stop: () => pool.stop(),
  };
}

function nameOf(id: string): string {
  return namelessRef(id).name;
}

function secretOf(id: string, { port, userID }: Seat, stage: Stage, version: string): Secret {
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: {
      name: nameOf(id),
      namespace: SYSTEM_NAMESPACE,
      labels: { [LABEL]: stage },
      annotations: { [ANNOTATIONS.port]: String(port), [ANNOTATIONS.userID]: String(userID), [ANNOTATIONS.version]: version },
    },
    type: TYPE,
    data: {},
  };
}

function staged(secret: Secret, stage: Stage, owner?: string): Secret {
  const { labels, annotations } = secret.metadata;
  const metadata = {
    ...secret.metadata,
    labels: { ...labels, [LABEL]: stage },
    annotations: { ...annotations, ...(owner === undefined ? {} : { [ANNOTATIONS.owner]: owner }) },
  };
  return { ...secret, metadata };
}

function stageOf({ metadata }: Secret): Stage {
  const stage = metadata.labels?.[LABEL];
  return stage === "ready" || stage === "taken" ? stage : "making";
}

function ownerOf({ metadata }: Secret): { readonly uid: string; readonly name: string; readonly namespace: string } | undefined {
  const text = metadata.annotations?.[ANNOTATIONS.owner];
  return text === undefined ? undefined : (JSON.parse(text) as { uid: string; name: string; namespace: string });
}

function warmOf(secret: Secret): WarmPlane {
  const { name, annotations } = secret.metadata;
  const { [ANNOTATIONS.port]: port, [ANNOTATIONS.userID]: userID } = annotations ?? {};
  return { id: name.replace(/^warm-/, ""), port: Number(port), userID: Number(userID), bundle: decoded(secret) };
}
