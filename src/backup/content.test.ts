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
const keys = Array.from({ length: 300 }, (_, at) => ({
  key: base64(`k${String(at).padStart(4, "0")}`),
  value: base64("v".repeat(at)),
  lease: at % 3 ? "0" : "7",
}));

/** An etcd's answers by the gateway's rules: pages by key, 64-bit numbers as text. What real ones do is the flow test's. */
function answers(refusals = 0): Etcd {
  let left = refusals;
  const call: Etcd["call"] = async (path, body) => {
    const asked = body as { key?: string; limit?: number; count_only?: boolean; ID?: string };
    if (path === "lease/timetolive") return { TTL: "100", grantedTTL: "3600" };
    if (asked.count_only) return { header: { revision: "42" }, count: String(keys.length) };
    if (left-- > 0) throw new IronwrightError("IRW_DATASTORE", { endpoint: "e", reason: "required revision has been compacted" });
    const from = Buffer.from(asked.key ?? "", "base64");
    const rest = keys.filter((one) => Buffer.compare(Buffer.from(one.key, "base64"), from) >= 0);
    return { kvs: rest.slice(0, asked.limit), more: rest.length > (asked.limit ?? 0) };
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
