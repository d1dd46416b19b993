import { expect, test } from "vitest";
import { turns } from "./turns.ts";

test("one at a time, in their order, and after one that failed", async () => {
  const inTurn = turns();
  const seen: string[] = [];
  let running = 0;
  const work = (name: string) => async () => {
    running += 1;
    expect(running).toBe(1);
    await Promise.resolve();
    seen.push(name);
    running -= 1;
    if (name === "b") throw new Error("b fails");
    return name;
  };
  const ends = await Promise.allSettled(["a", "b", "c"].map((name) => inTurn(work(name))));
  expect(seen).toEqual(["a", "b", "c"]);
  expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});
