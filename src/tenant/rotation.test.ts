import { randomBytes, X509Certificate } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { createCa, issue, type KeyedCertificate } from "../supervise/index.ts";
import { type Bundle, completeBundle, keyedOf, LIVES, trustOf } from "./pki.ts";
import { moveOn, type Readiness, rotationOf, SHORTEST_OVERLAP_MS, SPREAD_MS, type Wanted, wantedKeys } from "./rotation.ts";

const START = new Date("2026-01-01T00:00:00Z");
const WANTED: Wanted = { authorities: 2, serviceAccountKeys: 1, overlapMs: 7_200_000 };
let shard: KeyedCertificate;
let settled: Bundle;

beforeAll(async () => {
  shard = await createCa("shard", { now: START });
  settled = await whole({}, START);
});

function whole(bundle: Bundle, now: Date): Promise<Bundle> {
  const certificate = (days: number) => issue({ ca: shard, commonName: "uid", usages: ["client"], days, now });
  return completeBundle(bundle, {
    tenant: "default.acme",
    sans: ["localhost"],
    datastore: { ca: shard.certificate, certificate },
    now,
    lives: LIVES,
    random: randomBytes,
  });
}

function after(ms: number): Date {
  return new Date(START.getTime() + ms);
}

function ready(now: Date, change: Partial<Readiness> = {}): Readiness {
  const sure = () => Promise.resolve(undefined);
  return { now, spreadMs: SPREAD_MS, lives: LIVES, doubtNext: sure, doubtOld: sure, ...change };
}

/** One look of the daemon: the stage, and what follows from it. */
async function look(bundle: Bundle, now: Date, change: Partial<Readiness> = {}, wanted = WANTED) {
  const moved = await moveOn(bundle, wanted, ready(now, change));
  return { ...moved, bundle: await whole(moved.bundle, now) };
}

function issuerOf(bundle: Bundle, file: string): string {
  return new X509Certificate(bundle[`${file}.crt`] ?? "").issuer;
}

function authoritiesIn(pem: string | undefined): number {
  return pem?.match(/BEGIN CERTIFICATE/g)?.length ?? 0;
}

test("nothing is asked for: nothing moves", async () => {
  const moved = await moveOn(settled, { ...WANTED, authorities: 1 }, ready(START));
  expect(moved).toEqual({ bundle: settled, news: [] });
});

test("first both are trusted and the old one issues", async () => {
  const { bundle, at } = await look(settled, START);
  expect(rotationOf(bundle).authorities).toMatchObject({ generation: 2, stage: "Trusting" });
  expect(authoritiesIn(trustOf(bundle))).toBe(2);
  expect(authoritiesIn(bundle["front-proxy-ca-bundle.crt"])).toBe(2);
  for (const file of ["apiserver", "people", "kubelet-client"]) expect(bundle[`${file}.crt`]).toBe(settled[`${file}.crt`]);
  expect(bundle["ca.key"]).toBe(settled["ca.key"]);
  expect(at).toEqual(after(SPREAD_MS));
});

test("the next one issues when its time has come and the control plane was seen to accept it, not before", async () => {
  const { bundle: trusting } = await look(settled, START);
  expect((await look(trusting, after(SPREAD_MS - 1))).bundle).toEqual(trusting);
  const doubted = await look(trusting, after(SPREAD_MS), { doubtNext: () => Promise.resolve("asleep") });
  expect(doubted).toMatchObject({ bundle: trusting, waiting: "asleep" });

  const { bundle } = await look(trusting, after(SPREAD_MS));
  expect(rotationOf(bundle).authorities).toMatchObject({ generation: 2, stage: "Overlapping" });
  for (const file of ["apiserver", "people", "kubelet-client", "daemon"]) expect(issuerOf(bundle, file)).toBe("CN=kubernetes-2");
  expect(issuerOf(bundle, "front-proxy")).toBe("CN=front-proxy-2");
  expect(bundle["ca-next.key"]).toBeUndefined();
  // who knows the old one alone finds it behind the new one's leaf
  const [, between] = keyedOf(bundle, "apiserver").certificate.split(/(?=-----BEGIN)/);
  expect(new X509Certificate(between ?? "").verify(new X509Certificate(settled["ca.crt"] ?? "").publicKey)).toBe(true);
  expect(new X509Certificate(bundle["apiserver.crt"] ?? "").verify(new X509Certificate(between ?? "").publicKey)).toBe(true);
  // the old one's key can issue no more
  expect(Object.values(bundle)).not.toContain(settled["ca.key"]);
});

test("the old one goes after the overlap, when nobody would be cut off", async () => {
  const { bundle: trusting } = await look(settled, START);
  const { bundle: overlapping } = await look(trusting, after(SPREAD_MS));
  const end = after(SPREAD_MS + WANTED.overlapMs);
  expect((await look(overlapping, after(SPREAD_MS + WANTED.overlapMs - 1))).bundle).toEqual(overlapping);
  const held = await look(overlapping, end, { doubtOld: () => Promise.resolve("node a") });
  expect(held).toMatchObject({ bundle: overlapping, waiting: "node a" });

  const { bundle } = await look(overlapping, end);
  expect(rotationOf(bundle).authorities).toEqual({ generation: 2, stage: "Settled" });
  expect(authoritiesIn(trustOf(bundle))).toBe(1);
  expect(authoritiesIn(keyedOf(bundle, "apiserver").certificate)).toBe(1);
  expect(bundle["apiserver.crt"]).toBe(overlapping["apiserver.crt"]);
  expect((await moveOn(bundle, WANTED, ready(end))).bundle).toBe(bundle);
});

test("what must not be lost stays through all of it", async () => {
  let bundle = settled;
  for (const ms of [0, SPREAD_MS, SPREAD_MS + WANTED.overlapMs]) bundle = (await look(bundle, after(ms))).bundle;
  for (const file of ["encryption-key", "service-account.key", "service-account.pub"]) expect(bundle[file]).toBe(settled[file]);
});

test("a service account key is changed with the old one still known, then forgotten", async () => {
  const wanted = { ...WANTED, authorities: 1, serviceAccountKeys: 2 };
  const { bundle } = await look(settled, START, {}, wanted);
  expect(bundle["service-account-old.pub"]).toBe(settled["service-account.pub"]);
  expect(bundle["service-account.key"]).not.toBe(settled["service-account.key"]);
  expect((await look(bundle, after(wanted.overlapMs - 1), {}, wanted)).bundle).toEqual(bundle);
  const { bundle: done } = await look(bundle, after(wanted.overlapMs), {}, wanted);
  expect(done["service-account-old.pub"]).toBeUndefined();
  expect(rotationOf(done).serviceAccountKeys).toEqual({ generation: 2, stage: "Settled" });
});

test("the user's own authority is replaced by the user's own alone", async () => {
  const mine = await createCa("mine", { now: START });
  const own = await whole({ "ca.crt": mine.certificate, "ca.key": mine.key }, START);
  const counted = await moveOn(own, { ...WANTED, authorities: 5, authority: mine }, ready(START));
  expect(counted.bundle).toBe(own);
  const other = await createCa("mine too", { now: START });
  const { bundle } = await moveOn(own, { ...WANTED, authorities: 1, authority: other }, ready(START));
  expect(bundle["ca-next.crt"]).toBe(other.certificate);
  expect(rotationOf(bundle).authorities).toMatchObject({ generation: 2, stage: "Trusting" });
});

test.each([["64m"], ["0s"], ["soon"]])("an overlap of %s is refused with its field", (overlap) => {
  const { problems } = wantedKeys({ spec: { pki: { overlap } } });
  expect(problems).toEqual([`spec.pki.overlap: expected a duration of at least 1h5m, got ${overlap}`]);
  expect(wantedKeys({ spec: { pki: { overlap: `${SHORTEST_OVERLAP_MS / 1000}s` } } }).problems).toEqual([]);
});
