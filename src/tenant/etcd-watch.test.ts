import fc from "fast-check";
import { expect, test } from "vitest";
import { decode, encode, type Grpc } from "./etcd-grpc.ts";
import { watchWrites, weigh } from "./etcd-watch.ts";

const signal = new AbortController().signal;

function answering(answer: (request: Buffer) => readonly Buffer[]): Grpc {
  return {
    async *call(_method, request) {
      yield* answer(request);
    },
    close() {},
  };
}

/** The range requests of etcd over these keys, with its page limit. */
function ofKeys(keys: readonly Buffer[], value: Buffer): Grpc {
  const sorted = [...keys].sort(Buffer.compare);
  return answering((request) => {
    const fields = new Map([...decode(request)].map((field) => [field.number, field]));
    const [from, limit] = [fields.get(1)?.bytes ?? Buffer.alloc(0), fields.get(3)?.value ?? 0];
    const rest = sorted.filter((key) => Buffer.compare(key, from) >= 0);
    const page = rest.slice(0, limit).map((key) => [2, encode([1, key], [2, 3], [5, value])] as const);
    return [encode([1, encode([1, 5])], ...page, [3, rest.length > limit ? 1 : 0], [4, rest.length])];
  });
}

test("every key is weighed once, keys that are no text, too", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.uint8Array({ minLength: 1, maxLength: 6 }), { maxLength: 700, selector: String }), async (tails) => {
      const keys = tails.map((tail) => Buffer.concat([Buffer.from("/a/"), tail]));
      const bytes = keys.reduce((sum, key) => sum + key.length + 10, 0);
      expect(await weigh(ofKeys(keys, Buffer.alloc(10)), { first: "/a/", end: "/a0" }, signal)).toEqual({ keys: keys.length, bytes });
    }),
    { numRuns: 30 },
  );
});

test("large values come a few at a time", async () => {
  const limits: number[] = [];
  const keys = Array.from({ length: 200 }, (_, index) => Buffer.from(`/a/${String(index).padStart(3, "0")}`));
  const inner = ofKeys(keys, Buffer.alloc(2 ** 19));
  const spied: Grpc = {
    call(method, request, on) {
      limits.push([...decode(request)].find((field) => field.number === 3)?.value ?? 0);
      return inner.call(method, request, on);
    },
    close() {},
  };
  expect((await weigh(spied, { first: "/a/", end: "/a0" }, signal)).keys).toBe(200);
  expect(limits.slice(0, 2)).toEqual([64, 16]);
});

test("a watch tells puts from deletions, by their weight, and says why it ended", async () => {
  const kv = (key: string, value: string) => encode([1, key], [5, value]);
  const grpc = answering(() => [
    encode([3, 1]),
    encode([11, encode([2, kv("/a/x", "12345")])], [11, encode([1, 1], [2, kv("/a/y", "")])]),
    encode([4, 1], [6, "etcdserver: permission denied"]),
  ]);
  const seen: unknown[] = [];
  const opened: string[] = [];
  const ended = watchWrites(
    grpc,
    (write) => void seen.push(write),
    () => void opened.push("open"),
    signal,
  );
  await expect(ended).rejects.toThrow("permission denied");
  expect(opened).toEqual(["open"]);
  expect(seen).toEqual([
    { key: "/a/x", bytes: 9, deleted: false },
    { key: "/a/y", bytes: 4, deleted: true },
  ]);
});

test("what is encoded is decoded; what is cut off or no message is refused, and nothing hangs", () => {
  expect([...decode(encode([1, 300], [2, "ab"]))]).toEqual([
    { number: 1, value: 300 },
    { number: 2, value: 0, bytes: Buffer.from("ab") },
  ]);
  expect(() => [...decode(encode([2, "abc"]).subarray(0, 3))]).toThrow("cut off");
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        for (const field of decode(Buffer.from(bytes))) expect(field.number).toBeGreaterThanOrEqual(0);
      } catch (error) {
        expect(String(error)).toMatch(/cut off|a field of kind/);
      }
    }),
  );
});
