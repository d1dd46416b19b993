import fc from "fast-check";
import { expect, test } from "vitest";
import { createTurns } from "./http-turns.ts";

/** Clients with so many transfers of so many turns each; the order in which turns were had. */
async function play(most: number, transfers: readonly { readonly client: string; readonly turns: number }[]) {
  const turns = createTurns(most);
  const had: string[] = [];
  let running = 0;
  let highest = 0;
  await Promise.all(
    transfers.map(async ({ client, turns: count }) => {
      for (let time = 0; time < count; time++) {
        const end = await turns.take(client);
        running += 1;
        highest = Math.max(highest, running);
        had.push(client);
        await Promise.resolve();
        running -= 1;
        end();
        end();
      }
    }),
  );
  return { had, highest };
}

test("a thousand at once each progress: nobody has a second turn before all had their first", async () => {
  const transfers = Array.from({ length: 1000 }, (_, at) => ({ client: `10.77.${at >> 8}.${at & 255}`, turns: 3 }));
  const { had, highest } = await play(16, transfers);
  expect(new Set(had.slice(0, 1000)).size).toBe(1000);
  expect([had.length, highest]).toEqual([3000, 16]);
});

test("a client with many connections has one client's part", async () => {
  const greedy = Array.from({ length: 50 }, () => ({ client: "greedy", turns: 10 }));
  const { had } = await play(1, [...greedy, { client: "modest", turns: 10 }]);
  // of 510 turns; it asks anew after each, so that another may go first
  expect(had.lastIndexOf("modest")).toBeLessThan(40);
});

test("every turn that is asked for is had, and never more at once than there may be", async () => {
  const transfer = fc.record({ client: fc.constantFrom("a", "b", "c", "d"), turns: fc.integer({ min: 1, max: 5 }) });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(transfer, { maxLength: 20 }), async (most, transfers) => {
      const { had, highest } = await play(most, transfers);
      expect(had.length).toBe(transfers.reduce((sum, { turns }) => sum + turns, 0));
      expect(highest).toBeLessThanOrEqual(most);
    }),
    { numRuns: 200 },
  );
});
