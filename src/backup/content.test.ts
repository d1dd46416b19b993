import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { IronwrightError, isError } from "../core/errors.ts";
import type { Etcd } from "../tenant/index.ts";
import { dumpEtcd, readContent } from "./content.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "iwk-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const base64 = (text: string) => Buffer.from(text).toString("base64");
interface Key {
  readonly key: string;
  readonly value: string;
  readonly lease: string;
}
const keys: readonly Key[] = Array.from({ length: 300 }, (_, at) => ({
  key: base64(`k${String(at).padStart(4, "0")}`),
  value: base64("v".repeat(at)),
  lease: at % 3 ? "0" : "7",
}));

/** An etcd's answers by the gateway's rules: pages by key, 64-bit numbers as text. What real ones do is the flow test's. */
function answers(refusals = 0, all = keys, onAnswer: (kvs: readonly Key[]) => void = () => {}): Etcd {
  let left = refusals;
  const call: Etcd["call"] = async (path, body) => {
    const asked = body as { key?: string; range_end?: string; limit?: number; count_only?: boolean; ID?: string };
    if (path === "lease/timetolive") return { TTL: "100", grantedTTL: "3600" };
    if (asked.count_only) return { header: { revision: "42" }, count: String(all.length) };
    if (left-- > 0) throw new IronwrightError("IRW_DATASTORE", { endpoint: "e", reason: "required revision has been compacted" });
    const from = Buffer.from(asked.key ?? "", "base64");
    const end = Buffer.from(asked.range_end ?? "", "base64");
    const rest = all.filter((one) => {
      const key = Buffer.from(one.key, "base64");
      return Buffer.compare(key, from) >= 0 && (end.equals(Buffer.of(0)) || Buffer.compare(key, end) < 0);
    });
    const kvs = rest.slice(0, asked.limit);
    onAnswer(kvs);
    return { kvs, more: rest.length > kvs.length };
  };
  return { call } as Etcd;
}

test("every key comes back in order, a lease before what goes with it", async () => {
  const file = join(dir, "content");
  expect(await dumpEtcd(answers(), file)).toEqual({ revision: "42", keys: 300 });
  const entries = await Array.fromAsync(readContent(file));
  expect(entries[0]).toEqual({ lease: 7n, seconds: 3600 });
  expect(entries.slice(1).map((one) => ("key" in one ? one.key.toString("base64") : ""))).toEqual(keys.map((one) => one.key));
});

test("values as large as etcd takes, after thousands of tiny ones, never make an answer that fills the memory", async () => {
  const largest = 1.5 * 2 ** 20;
  const tiny = Array.from({ length: 3_000 }, (_, at) => ({ key: base64(`a${String(at).padStart(4, "0")}`), value: "", lease: "0" }));
  const value = base64("v".repeat(largest));
  // of one string, so that the test itself is small
  const large = Array.from({ length: 80 }, (_, at) => ({ key: base64(`b${String(at).padStart(4, "0")}`), value, lease: "0" }));
  // a key is as good a place to put it
  const long = { key: base64(`c${"k".repeat(largest)}`), value: "", lease: "0" };
  const weights: number[] = [];
  const etcd = answers(0, [...tiny, ...large, long], (kvs) =>
    weights.push(kvs.reduce((sum, one) => sum + ((one.key.length + one.value.length) * 3) / 4, 0)),
  );
  const file = join(dir, "large");
  expect((await dumpEtcd(etcd, file)).keys).toBe(3_081);
  expect(Math.max(...weights)).toBeLessThanOrEqual(64 * (largest + 8));
  // it learns: from the first heavy answer on, less and less is asked for
  const heavy = weights.filter((one) => one > largest);
  expect(heavy.slice(4).every((one) => one < 8 * 2 ** 20)).toBe(true);
  let last = 0;
  for await (const entry of readContent(file)) if ("key" in entry) last = entry.key.length;
  expect(last).toBe(largest + 1);
  rmSync(file);
});

test("keys of any bytes and any length are all read, each once", async () => {
  const file = join(dir, "any");
  const key = fc
    .tuple(fc.constantFrom("", "a", "/registry/pods/", "p".repeat(300), "\u00ff\u00ff"), fc.uint8Array({ minLength: 1, maxLength: 3 }))
    .map(([prefix, rest]) => Buffer.concat([Buffer.from(prefix, "latin1"), rest]))
    // etcd has no key before the one of a zero byte
    .filter((bytes) => Buffer.compare(bytes, Buffer.of(0)) >= 0);
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(key, { minLength: 100, maxLength: 400, selector: (bytes) => bytes.toString("hex") }), async (any) => {
      const sorted = any.toSorted(Buffer.compare);
      const etcd = answers(
        0,
        sorted.map((bytes) => ({ key: bytes.toString("base64"), value: "", lease: "0" })),
      );
      await dumpEtcd(etcd, file);
      const read = (await Array.fromAsync(readContent(file))).map((one) => ("key" in one ? one.key.toString("hex") : ""));
      expect(read).toEqual(sorted.map((bytes) => bytes.toString("hex")));
    }),
    { numRuns: 30 },
  );
});

test("a revision that is compacted while it is read is read anew, and not for ever", async () => {
  const file = join(dir, "again");
  expect((await dumpEtcd(answers(2), file)).keys).toBe(300);
  await expect(dumpEtcd(answers(3), file)).rejects.toMatchObject({ code: "IRW_DATASTORE" });
});

test("content that is cut, altered or something else is refused or read, and never more", async () => {
  const file = join(dir, "whole");
  await dumpEtcd(answers(), file);
  const whole = readFileSync(file);
  const spoiled = join(dir, "spoiled");
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }), fc.boolean(), async (at, noise, cuts) => {
      const copy = Buffer.from(whole);
      copy.set(noise.subarray(0, copy.length - at), at);
      writeFileSync(spoiled, cuts ? whole.subarray(0, at) : copy);
      const entries = await Array.fromAsync(readContent(spoiled)).catch((error: unknown) => error);
      expect(Array.isArray(entries) ? !cuts : isError(entries, "IRW_BACKUP_ARCHIVE")).toBe(true);
    }),
    { numRuns: 200 },
  );
});
