import { X509Certificate } from "node:crypto";
import { formatDuration, parseDuration } from "../core/duration.ts";
import type { VirtualCluster } from "../core/resources.ts";
import type { KeyProgress } from "../core/virtual-clusters.ts";
import { createSigningKeys, crossSign, type KeyedCertificate } from "../supervise/index.ts";
import { AUTHORITIES, type Authority, type Bundle, keyedOf, type Lives, newAuthority } from "./pki.ts";

/** Kept in the bundle itself, so that a stage and its keys are written in one. */
export interface Rotation {
  readonly authorities: KeyProgress;
  /** They have no `Trusting`: one apiserver is who signs and who verifies. */
  readonly serviceAccountKeys: KeyProgress;
}

export interface Wanted {
  /** Generations; one more than there is asks for a change. */
  readonly authorities: number;
  readonly serviceAccountKeys: number;
  /** How long what was issued by old keys is accepted after the new ones issue. */
  readonly overlapMs: number;
  /** The user's own authority, when it is to come from him. */
  readonly authority?: KeyedCertificate | undefined;
}

/** What a stage waits for besides time; asked only when the time has come. */
export interface Readiness {
  readonly now: Date;
  /** How long readers of files may take to see the next authority. */
  readonly spreadMs: number;
  readonly lives?: Lives;
  /** Why the control plane does not accept the next authority yet. */
  doubtNext(bundle: Bundle): Promise<string | undefined>;
  /** Who would be cut off if the old authority went. */
  doubtOld(bundle: Bundle): Promise<string | undefined>;
}

export interface Moved {
  readonly bundle: Bundle;
  /** What happened, for an event. */
  readonly news: readonly string[];
  /** What is waited for, for people. */
  readonly waiting?: string;
  /** When to look again. */
  readonly at?: Date;
}

/** Certificates of kubelets live an hour, and are issued with five minutes behind them. */
export const SHORTEST_OVERLAP_MS = 65 * 60_000;
/** Client-go reads a changed file of authorities within five minutes. */
export const SPREAD_MS = 6 * 60_000;
const OVERLAP = "168h";
const ROTATION = "rotation";

/** What the specification asks for; problems are words for people, each with its field. */
export function wantedKeys(
  { spec }: Pick<VirtualCluster, "spec">,
  shortestOverlapMs = SHORTEST_OVERLAP_MS,
): { readonly wanted: Wanted; readonly problems: readonly string[] } {
  const { authorities = 1, serviceAccountKeys = 1, overlap = OVERLAP } = spec.pki ?? {};
  const overlapMs = parseDuration(overlap) ?? 0;
  const problems =
    overlapMs < shortestOverlapMs
      ? [`spec.pki.overlap: expected a duration of at least ${formatDuration(shortestOverlapMs)}, got ${overlap}`]
      : [];
  return { wanted: { authorities, serviceAccountKeys, overlapMs }, problems };
}

export function rotationOf(bundle: Bundle): Rotation {
  const first: KeyProgress = { generation: 1, stage: "Settled" };
  return { authorities: first, serviceAccountKeys: first, ...(JSON.parse(bundle[ROTATION] ?? "{}") as Partial<Rotation>) };
}

/**
 * Takes a change of keys one stage further, when its time has come and nobody is cut off by it. Whoever is killed in between
 * finds the last stage in the bundle and goes on from there.
 */
export async function moveOn(before: Bundle, wanted: Wanted, ready: Readiness): Promise<Moved> {
  const first = await moveAuthorities(before, wanted, ready);
  const second = await moveServiceAccountKeys(first.bundle, wanted, ready);
  const waiting = [first.waiting, second.waiting].filter((one) => one !== undefined);
  const at = [first.at, second.at].filter((one) => one !== undefined).sort((a, b) => a.getTime() - b.getTime())[0];
  return {
    bundle: second.bundle,
    news: [...first.news, ...second.news],
    ...(waiting.length > 0 ? { waiting: waiting.join("; ") } : {}),
    ...(at ? { at } : {}),
  };
}

async function moveAuthorities(before: Bundle, wanted: Wanted, ready: Readiness): Promise<Moved> {
  const { authorities } = rotationOf(before);
  const { now } = ready;
  if (authorities.stage === "Settled") {
    const foreign = wanted.authority !== undefined && !sameKey(wanted.authority.certificate, before["ca.crt"]);
    // the user's own is replaced by the user's own alone
    if (!foreign && (wanted.authority !== undefined || wanted.authorities <= authorities.generation)) return { bundle: before, news: [] };
    const generation = Math.max(wanted.authorities, authorities.generation + 1);
    const bundle = await withNext(before, generation, wanted, ready);
    const at = new Date(now.getTime() + ready.spreadMs);
    return {
      bundle: withProgress(bundle, "authorities", {
        generation,
        stage: "Trusting",
        since: now.toISOString(),
        begun: now.toISOString(),
      }),
      news: [`authority ${generation} is trusted beside the one before it`],
      waiting: waitsFor(at, "everybody reads the next authority"),
      at,
    };
  }
  const since = new Date(authorities.since ?? now);
  if (authorities.stage === "Trusting") {
    const at = new Date(since.getTime() + ready.spreadMs);
    if (now < at) return { bundle: before, news: [], waiting: waitsFor(at, "everybody reads the next authority"), at };
    const doubt = await ready.doubtNext(before);
    if (doubt) return { bundle: before, news: [], waiting: doubt, at: soon(now) };
    return {
      bundle: withProgress(switched(before), "authorities", { ...authorities, stage: "Overlapping", since: now.toISOString() }),
      news: [`authority ${authorities.generation} issues from now on; kubeconfigs that people carry are to be fetched anew`],
      at: soon(now),
    };
  }
  const at = new Date(since.getTime() + wanted.overlapMs);
  if (now < at) return { bundle: before, news: [], waiting: waitsFor(at, "certificates of the old authority end"), at };
  const doubt = await ready.doubtOld(before);
  if (doubt) return { bundle: before, news: [], waiting: doubt, at: soon(now) };
  return {
    bundle: withProgress(withoutOld(before), "authorities", { generation: authorities.generation, stage: "Settled" }),
    news: [`the authority before ${authorities.generation} is trusted no more`],
  };
}

async function moveServiceAccountKeys(before: Bundle, wanted: Wanted, { now }: Readiness): Promise<Moved> {
  const { serviceAccountKeys: keys } = rotationOf(before);
  if (keys.stage === "Settled") {
    if (wanted.serviceAccountKeys <= keys.generation) return { bundle: before, news: [] };
    const made = await createSigningKeys();
    const bundle = {
      ...before,
      "service-account.key": made.privateKey,
      "service-account.pub": made.publicKey,
      "service-account-old.pub": before["service-account.pub"] ?? "",
    };
    return {
      bundle: withProgress(bundle, "serviceAccountKeys", {
        generation: wanted.serviceAccountKeys,
        stage: "Overlapping",
        since: now.toISOString(),
      }),
      news: [`tokens of service accounts are signed by key ${wanted.serviceAccountKeys} from now on`],
      at: soon(now),
    };
  }
  const at = new Date(new Date(keys.since ?? now).getTime() + wanted.overlapMs);
  if (now < at) return { bundle: before, news: [], waiting: waitsFor(at, "tokens of the old service account key end"), at };
  const { "service-account-old.pub": _gone, ...rest } = before;
  return {
    bundle: withProgress(rest, "serviceAccountKeys", { generation: keys.generation, stage: "Settled" }),
    news: [`tokens signed before service account key ${keys.generation} are accepted no more`],
  };
}

async function withNext(before: Bundle, generation: number, wanted: Wanted, ready: Readiness): Promise<Bundle> {
  const bundle: Record<string, string> = { ...before };
  for (const authority of AUTHORITIES) {
    const next = (authority === "ca" && wanted.authority) || (await newAuthority(authority, generation, ready));
    bundle[`${authority}-next.crt`] = next.certificate;
    bundle[`${authority}-next.key`] = next.key;
    bundle[`${authority}-next-cross.crt`] = await crossSign(next, keyedOf(before, authority));
  }
  return bundle;
}

/** The next one issues; the old one's key goes, for it never issues again. */
function switched(before: Bundle): Bundle {
  const bundle: Record<string, string> = { ...before };
  for (const authority of AUTHORITIES) {
    bundle[`${authority}-old.crt`] = before[`${authority}.crt`] ?? "";
    bundle[`${authority}.crt`] = before[`${authority}-next.crt`] ?? "";
    bundle[`${authority}.key`] = before[`${authority}-next.key`] ?? "";
    bundle[`${authority}-cross.crt`] = before[`${authority}-next-cross.crt`] ?? "";
    for (const gone of ["next.crt", "next.key", "next-cross.crt"]) delete bundle[`${authority}-${gone}`];
  }
  return bundle;
}

function withoutOld(before: Bundle): Bundle {
  const gone = new Set(AUTHORITIES.flatMap((authority: Authority) => [`${authority}-old.crt`, `${authority}-cross.crt`]));
  return Object.fromEntries(Object.entries(before).filter(([file]) => !gone.has(file)));
}

function withProgress(bundle: Bundle, part: keyof Rotation, progress: KeyProgress): Bundle {
  return { ...bundle, [ROTATION]: JSON.stringify({ ...rotationOf(bundle), [part]: progress }) };
}

function waitsFor(at: Date, what: string): string {
  return `until ${at.toISOString()} ${what}`;
}

const LOOK_AGAIN_MS = 10_000;

function soon(now: Date): Date {
  return new Date(now.getTime() + LOOK_AGAIN_MS);
}

/** A certificate of the same key may be renewed without anybody's trust changing. */
function sameKey(certificate: string, other: string | undefined): boolean {
  if (!other) return false;
  const key = (pem: string) => new X509Certificate(pem).publicKey.export({ type: "spki", format: "der" }).toString("hex");
  return key(certificate) === key(other);
}
