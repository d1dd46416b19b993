import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { lostInVain, withOneMore } from "../plan/growth.fixture.ts";
import { plan } from "../plan/index.ts";
import { carriedOut } from "./aftermath.ts";
import { readCases } from "./read.ts";
import { simulate } from "./replay.ts";

/** Of a case's machines, so many are doubled one by one. */
const MOST_MACHINES = 12;

/** What holds of every case, whatever it is about. */
describe.each(["cases.json", "more-cases.json"])("%s", (name) => {
  const cases = readCases(readFileSync(new URL(`../../../test/scheduling/${name}`, import.meta.url), "utf8"), name);
  const all = cases.map((one) => [one.id, simulate(one.given, cases).world] as const);

  test.each(all)("%s: a plan carried out and made again is empty", (_id, world) => {
    const after = plan(carriedOut(world, { plan: plan(world) }));
    expect(after.claims.map((one) => one.machine)).toEqual([]);
    expect(after.actions ?? []).toEqual([]);
  });

  test.each(all)("%s: a tenant without demand or quota changes nothing", (_id, world) => {
    // a pool of a fixed size is a demand
    const pools = (world.tenants[0]?.pools ?? []).filter((pool) => pool.replicas === undefined);
    const stranger = { tenant: "zz.stranger", pools, nodes: [], pods: [], daemons: [] };
    expect(plan({ ...world, tenants: [...world.tenants, stranger] })).toEqual(plan(world));
  });

  test.each(all)("%s: one more free machine costs nobody a place but in favour of who comes before", (_id, world) => {
    for (let nth = 0; nth < Math.min(world.machines.length, MOST_MACHINES); nth += 1) {
      const larger = withOneMore(world, nth);
      if (larger) expect(lostInVain(world, larger)).toEqual([]);
    }
  });

  test.each(all)("%s: no machine is in two claims, and none that others hold is installed now", (_id, world) => {
    const { claims } = plan(world);
    expect(new Set(claims.map((one) => one.machine)).size).toBe(claims.length);
    for (const claim of claims) {
      const machine = world.machines.find((one) => one.name === claim.machine);
      const isFree = machine === undefined || (machine.unavailable === undefined && machine.readyInS === undefined);
      expect(claim.awaiting !== undefined || isFree).toBe(true);
    }
  });
});
