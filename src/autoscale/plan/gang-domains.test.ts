import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Berths, type GangPlace, type GangShort, type GangWish, placeGang } from "./gang-domains.ts";

const RACK = "topology.ironwright.dev/rack";
const BLOCK = "topology.ironwright.dev/block";
const NVLINK = "topology.ironwright.dev/nvlink-domain";

function hosts(id: string, count: number, domains: Record<string, string> = {}, more: Partial<Berths> = {}): Berths {
  return { id, count, room: 1, opens: true, stage: 1, readyInS: 0, domains, ...more };
}

function wish(min: number, more: Partial<GangWish> = {}): GangWish {
  return { min, size: min, topology: {}, running: [], ...more };
}

function placed(result: GangPlace | GangShort): Record<string, number> {
  if ("fits" in result) throw new Error(`short: ${JSON.stringify(result)}`);
  return Object.fromEntries(result.picks.map((pick) => [pick.id, pick.members]));
}

describe("a gang is whole or absent", () => {
  test("elastic: at least its minimum, then as many as there are, never more than its size", () => {
    expect(placeGang(wish(4, { size: 6 }), [hosts("h", 5)])).toMatchObject({ members: 5, opened: 5 });
    expect(placeGang(wish(4, { size: 6 }), [hosts("h", 9)])).toMatchObject({ members: 6 });
    expect(placeGang(wish(4, { size: 6 }), [hosts("h", 3)])).toEqual({ fits: 3, needs: 4 });
    expect(placeGang(wish(1), [])).toEqual({ fits: 0, needs: 1 });
  });

  test("members share a machine where they fit: nodes that exist first, the last machine the smallest that holds the rest", () => {
    const berths = [
      hosts("node", 1, {}, { opens: false, stage: 0, room: 3 }),
      hosts("small", 2, {}, { room: 2 }),
      hosts("big", 2, {}, { room: 8 }),
    ];
    expect(placed(placeGang(wish(13), berths))).toEqual({ node: 3, big: 8, small: 2 });
    expect(placed(placeGang(wish(5), berths))).toEqual({ node: 3, small: 2 });
  });

  test("what failed lately or is on its way out is used last", () => {
    const berths = [hosts("wiped soon", 2, {}, { stage: 3, readyInS: 60 }), hosts("failed", 1, {}, { stage: 2 }), hosts("good", 2)];
    expect(placed(placeGang(wish(2), berths))).toEqual({ good: 2 });
    expect(placed(placeGang(wish(4), berths))).toEqual({ good: 2, failed: 1, "wiped soon": 1 });
  });
});

describe("topology", () => {
  test("required: the fullest rack that still fits, and no other", () => {
    const racks = [hosts("a", 3, { [RACK]: "r1" }), hosts("b", 4, { [RACK]: "r2" }), hosts("c", 8, { [RACK]: "r3" })];
    expect(placed(placeGang(wish(4, { topology: { required: RACK } }), racks))).toEqual({ b: 4 });
    expect(placeGang(wish(9, { topology: { required: RACK } }), racks)).toEqual({ fits: 8, needs: 9, level: RACK, domain: "r3" });
    expect(placed(placeGang(wish(4, { size: 6, topology: { required: RACK } }), racks))).toEqual({ c: 6 });
    expect(placeGang(wish(1, { topology: { required: RACK } }), [hosts("nowhere", 4)])).toEqual({ fits: 0, needs: 1 });
  });

  test("preferred: climbs to the required level and uses the fewest domains there", () => {
    const racks = [
      hosts("a", 4, { [RACK]: "r1", [BLOCK]: "b1" }),
      hosts("b", 3, { [RACK]: "r2", [BLOCK]: "b1" }),
      hosts("c", 5, { [RACK]: "r3", [BLOCK]: "b2" }),
    ];
    const topology = { preferred: RACK, required: BLOCK };
    expect(placed(placeGang(wish(6, { topology }), racks))).toEqual({ a: 4, b: 2 });
    expect(placed(placeGang(wish(5, { topology }), racks))).toEqual({ c: 5 });
    expect(placed(placeGang(wish(9, { topology: { preferred: RACK } }), racks))).toEqual({ c: 5, a: 4 });
    expect(placeGang(wish(8, { topology }), racks)).toMatchObject({ fits: 7, needs: 8, domain: "b1" });
  });

  test("a wish without labels falls back to machines that have none", () => {
    expect(placed(placeGang(wish(3, { topology: { preferred: RACK } }), [hosts("bare", 2), hosts("a", 2, { [RACK]: "r1" })]))).toEqual({
      a: 2,
      bare: 1,
    });
  });

  test("slices are whole in one domain each", () => {
    const domains = [hosts("a", 6, { [NVLINK]: "d1" }), hosts("b", 5, { [NVLINK]: "d2" }), hosts("c", 3, { [NVLINK]: "d3" })];
    const topology = { slice: { size: 4, level: NVLINK } };
    expect(placed(placeGang(wish(8, { topology }), domains))).toEqual({ a: 4, b: 4 });
    expect(placeGang(wish(12, { topology }), domains)).toEqual({ fits: 8, needs: 12 });
    expect(placed(placeGang(wish(4, { size: 16, topology }), domains))).toEqual({ a: 4, b: 4 });
    expect(placed(placeGang(wish(8, { topology }), [hosts("z", 9, { [NVLINK]: "d9" }), ...domains]))).toEqual({ z: 8 });
  });

  test("slices inside a required rack", () => {
    const domains = [
      hosts("a", 5, { [NVLINK]: "d1", [RACK]: "r1" }),
      hosts("b", 5, { [NVLINK]: "d2", [RACK]: "r2" }),
      hosts("c", 4, { [NVLINK]: "d3", [RACK]: "r2" }),
    ];
    expect(placed(placeGang(wish(8, { topology: { required: RACK, slice: { size: 4, level: NVLINK } } }), domains))).toEqual({
      b: 4,
      c: 4,
    });
  });

  test("between equal domains: the sooner, then the fewer new machines, then the name", () => {
    const topology = { required: RACK };
    const late = [hosts("a", 2, { [RACK]: "r1" }, { stage: 3, readyInS: 60 }), hosts("b", 4, { [RACK]: "r2" })];
    expect(placed(placeGang(wish(2, { topology }), late))).toEqual({ b: 2 });
    const shared = [hosts("a", 2, { [RACK]: "r1" }), hosts("b", 3, { [RACK]: "r2" }, { room: 2 })];
    expect(placed(placeGang(wish(2, { topology }), shared))).toEqual({ b: 2 });
    expect(placed(placeGang(wish(2, { topology }), [hosts("b", 2, { [RACK]: "r2" }), hosts("a", 2, { [RACK]: "r1" })]))).toEqual({ a: 2 });
  });
});

describe("a member failed", () => {
  const racks = [hosts("a", 1, { [RACK]: "r1" }), hosts("b", 8, { [RACK]: "r2" })];

  test("its replacement joins the others in their domain, or is missing there", () => {
    const at = (domain: string) => [{ members: 3, domains: { [RACK]: domain } }];
    const topology = { required: RACK };
    expect(placed(placeGang(wish(4, { topology, running: at("r1") }), racks))).toEqual({ a: 1 });
    expect(placeGang(wish(5, { topology, running: at("r1") }), racks)).toMatchObject({ fits: 1, needs: 2 });
    expect(placed(placeGang(wish(4, { topology: { preferred: RACK }, running: at("r2") }), racks))).toEqual({ b: 1 });
  });

  test("a slice is mended in its own domain", () => {
    const topology = { slice: { size: 4, level: RACK } };
    const running = [
      { members: 4, domains: { [RACK]: "r2" } },
      { members: 3, domains: { [RACK]: "r1" } },
    ];
    expect(placed(placeGang(wish(8, { topology, running }), racks))).toEqual({ a: 1 });
    expect(placeGang(wish(8, { topology, running: [{ members: 2, domains: { [RACK]: "r1" } }] }), racks)).toEqual({
      fits: 1,
      needs: 2,
      level: RACK,
      domain: "r1",
      broken: true,
    });
    expect(placed(placeGang(wish(12, { topology, running }), racks))).toEqual({ a: 1, b: 4 });
  });

  test("nothing is missing: nothing is placed", () => {
    expect(placeGang(wish(2, { running: [{ members: 2, domains: {} }] }), racks)).toMatchObject({ members: 0, picks: [] });
  });
});

describe("laws", () => {
  const berths = fc.array(
    fc.record({
      count: fc.integer({ min: 1, max: 3 }),
      room: fc.integer({ min: 0, max: 3 }),
      rack: fc.option(fc.constantFrom("r1", "r2", "r3"), { nil: undefined }),
      stage: fc.integer({ min: 0, max: 3 }),
    }),
    { maxLength: 7 },
  );
  const wishes = fc.record({
    min: fc.integer({ min: 1, max: 8 }),
    more: fc.integer({ min: 0, max: 4 }),
    required: fc.boolean(),
    preferred: fc.boolean(),
    slice: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
  });
  const block = (rack: string | undefined) => (rack === "r3" ? "b2" : "b1");

  test("as many as the best domain holds, no place twice, required domains and slices kept; short only when truly short", () => {
    fc.assert(
      fc.property(berths, wishes, (list, { min, more, required, preferred, slice }) => {
        const all: Berths[] = list.map(({ count, room, rack, stage }, n) => ({
          id: `m${n}`,
          count,
          room,
          stage,
          opens: stage > 0,
          readyInS: stage === 3 ? 60 : 0,
          domains: rack === undefined ? {} : { [RACK]: rack, [BLOCK]: block(rack) },
        }));
        const size = min + more;
        const topology = {
          ...(required ? { required: BLOCK } : {}),
          ...(preferred ? { preferred: RACK } : {}),
          ...(slice === undefined ? {} : { slice: { size: slice, level: RACK } }),
        };
        const result = placeGang({ min, size, topology, running: [] }, all);
        const room = (of: readonly Berths[]) => of.reduce((sum, one) => sum + one.count * one.room, 0);
        const inside = (level: string, domain: string, of = all) => of.filter((one) => one.domains[level] === domain);
        const units = (of: readonly Berths[]) =>
          slice === undefined
            ? room(of)
            : ["r1", "r2", "r3"].reduce((sum, rack) => sum + Math.floor(room(inside(RACK, rack, [...of])) / slice), 0);
        const step = slice ?? 1;
        const best = Math.max(...(required ? [units(inside(BLOCK, "b1")), units(inside(BLOCK, "b2"))] : [units(all)]));
        if ("fits" in result) {
          expect(best * step).toBeLessThan(Math.ceil(min / step) * step);
          expect(result.fits).toBe(best * step);
          return;
        }
        expect(result.members).toBe(Math.min(size, best * step));
        const perRack = new Map<string, number>();
        const blocks = new Set<string>();
        for (const pick of result.picks) {
          const from = all.find((one) => one.id === pick.id);
          if (!from) throw new Error("unknown berths");
          expect(pick.places).toBeLessThanOrEqual(from.count);
          expect(pick.members).toBeLessThanOrEqual(pick.places * from.room);
          perRack.set(from.domains[RACK] ?? "", (perRack.get(from.domains[RACK] ?? "") ?? 0) + pick.members);
          blocks.add(from.domains[BLOCK] ?? "");
        }
        expect(new Set(result.picks.map((pick) => pick.id)).size).toBe(result.picks.length);
        if (required) expect(blocks.size).toBe(1);
        if (slice !== undefined) {
          const odd = [...perRack.values()].filter((members) => members % slice !== 0);
          expect(odd.length).toBeLessThanOrEqual(result.members % slice === 0 ? 0 : 1);
          expect(perRack.has("")).toBe(false);
        }
        const whole = ["r1", "r2", "r3"].some((rack) => {
          const here = inside(RACK, rack);
          return units(here) >= Math.ceil(result.members / step);
        });
        if (preferred && whole) expect(perRack.size).toBe(1);
      }),
      { numRuns: 400 },
    );
  });
});
