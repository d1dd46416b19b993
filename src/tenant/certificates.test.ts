import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { createCa, issue, type KeyedCertificate } from "../supervise/index.ts";
import { clockDoubt, expiries, freshness, nextRenewal, renewed } from "./certificates.ts";
import { type Bundle, completeBundle, LIVES } from "./pki.ts";

const START = new Date("2026-01-01T00:00:00Z");
const DAY = 86_400_000;
let shard: KeyedCertificate;
let bundle: Bundle;

beforeAll(async () => {
  shard = await createCa("shard", { now: START });
  bundle = await renewedAt({}, 0);
});

function onDay(days: number): Date {
  return new Date(START.getTime() + days * DAY);
}

function renewedAt(before: Bundle, days: number): Promise<Bundle> {
  const now = onDay(days);
  const certificate = (life: number) => issue({ ca: shard, commonName: "uid", usages: ["client"], days: life, now });
  return completeBundle(before, {
    tenant: "default.acme",
    sans: ["localhost"],
    datastore: { ca: shard.certificate, certificate },
    now,
    random: randomBytes,
  });
}

test("every certificate is known, the first to end first", () => {
  const all = expiries(bundle);
  expect(all.map((one) => one.name).sort()).toEqual(
    [
      "apiserver",
      "ca",
      "controller-manager",
      "daemon",
      "etcd",
      "etcd-ca",
      "front-proxy",
      "front-proxy-ca",
      "kubelet-client",
      "people",
      "scheduler",
    ].sort(),
  );
  expect(all[0]?.ends).toEqual(onDay(LIVES.leafMs / DAY));
});

test.each([
  [4, []],
  [5, ["apiserver", "controller-manager", "daemon", "etcd", "front-proxy", "kubelet-client", "scheduler"]],
  [9, ["apiserver", "controller-manager", "daemon", "etcd", "front-proxy", "kubelet-client", "scheduler"]],
  [250, ["apiserver", "controller-manager", "daemon", "etcd", "front-proxy", "kubelet-client", "people", "scheduler"]],
])("after %d days are due: %j", async (days, names) => {
  expect([...renewed(bundle, await renewedAt(bundle, days))].sort()).toEqual(names);
});

test("the next renewal is when a third of the first leaf's life is left", () => {
  const days = ((nextRenewal(bundle)?.getTime() ?? 0) - START.getTime()) / DAY;
  expect(days).toBeGreaterThan(4.5);
  expect(days).toBeLessThan(4.7);
});

describe("the condition", () => {
  test.each([
    [0, "True", "Fresh", "the first to end is apiserver, 2026-01-08T00:00:00.000Z"],
    [4.9, "True", "Fresh", "the first to end"],
    [6.5, "False", "NotRenewed", "apiserver, 2026-01-08"],
    [7.1, "False", "Ended", "apiserver, 2026-01-08"],
  ])("after %d days without renewal is %s %s", (days, status, reason, says) => {
    const said = freshness(bundle, onDay(days));
    expect(said).toMatchObject({ type: "CertificatesFresh", status, reason });
    expect(said.message).toContain(says);
  });

  test("says nothing new while nothing is", () => {
    expect(freshness(bundle, onDay(1))).toEqual(freshness(bundle, onDay(2)));
  });

  test("warns of an authority's end two years before", async () => {
    const fresh = await renewedAt(bundle, 2950);
    expect(freshness(fresh, onDay(2950))).toMatchObject({ status: "False", reason: "AuthorityEndsSoon" });
    expect(freshness(await renewedAt(bundle, 2900), onDay(2900))).toMatchObject({ status: "True" });
  });
});

describe("the clock", () => {
  test.each([
    ["is believed", 0, undefined],
    ["is believed after a month off", 36, undefined],
    ["that is behind what was issued is not believed", -1, "behind"],
    ["that says all ended long ago is doubted", 400, "ahead"],
    ["that says an authority is over issues nothing", 3651, "after the authority"],
  ])("%s", (_, days, kind) => {
    expect(clockDoubt(bundle, onDay(days))?.kind).toBe(kind);
  });

  test("nothing is known: nothing speaks against it", () => {
    expect(clockDoubt({}, START)).toBeUndefined();
  });

  test("an authority that is on its way out does not count", async () => {
    const out = { ...(await renewedAt(bundle, 100)), "ca-old.crt": (await createCa("old", { days: 1, now: START })).certificate };
    expect(clockDoubt(out, onDay(100))).toBeUndefined();
    expect(freshness(out, onDay(100)).status).toBe("True");
  });
});
