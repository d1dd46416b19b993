import { expect, test } from "vitest";
import { orAborted } from "./aborted.ts";

test("what is done before the signal is the result, its failure too", async () => {
  const { signal } = new AbortController();
  expect(await orAborted(Promise.resolve(7), signal)).toBe(7);
  await expect(orAborted(Promise.reject(new Error("it broke")), signal)).rejects.toThrow("it broke");
});

test("the signal's reason comes first where the work goes on, and where it failed later nobody is left to hear of it", async () => {
  const cut = new AbortController();
  const work = Promise.withResolvers<number>();
  const waiting = orAborted(work.promise, cut.signal);
  cut.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  await expect(orAborted(Promise.resolve(7), cut.signal)).rejects.toThrow("enough");
  work.reject(new Error("too late"));
});
