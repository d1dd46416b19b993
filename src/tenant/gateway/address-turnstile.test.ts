import { expect, test } from "vitest";
import { nodeLimits } from "../entrance.ts";
import { type AddressTurnstile, addressTurnstile } from "./address-turnstile.ts";
import type { NodeLimits } from "./route.ts";

const ENOUGH = { perSecond: 1000, burst: 1000 };
const LIMITS: NodeLimits = {
  ...{ ...ENOUGH, connections: 5 },
  perAddress: { ...ENOUGH, connections: 3 },
  perNode: { ...ENOUGH, connections: 4 },
};

let now = 0;
function stile(limits = LIMITS, mostIdle?: number): AddressTurnstile {
  now = 0;
  return addressTurnstile(
    () => limits,
    (address) => address.startsWith("10.0.0."),
    () => now,
    mostIdle,
  );
}

/** How often somebody gets in, of so many tries. */
function inside(of: AddressTurnstile, address: string, tries = 10): number {
  return Array.from({ length: tries }, () => of.enter(address)).filter((one) => typeof one === "function").length;
}

test("one address takes its share alone, and all strangers together theirs", () => {
  const one = stile();
  expect(inside(one, "192.0.2.1")).toBe(3);
  expect(one.enter("192.0.2.1")).toBe("too many connections of one address");
  expect(inside(one, "192.0.2.2")).toBe(2);
  expect(one.enter("192.0.2.3")).toBe("too many connections");
});

test("whoever crowds the port, a node gets in; and a node that takes all it can takes nothing of others'", () => {
  const one = stile();
  for (const address of ["192.0.2.1", "192.0.2.2", "192.0.2.3"]) inside(one, address);
  expect(inside(one, "10.0.0.1")).toBe(4);
  expect(inside(one, "10.0.0.2")).toBe(4);
});

test("who leaves makes room, at its address and among all", () => {
  const one = stile();
  const left = one.enter("192.0.2.1");
  inside(one, "192.0.2.1");
  inside(one, "192.0.2.2");
  if (typeof left !== "function") throw new Error("it did not get in");
  left();
  expect(inside(one, "192.0.2.1")).toBe(1);
});

test("who comes too fast spends no pace of others", () => {
  const pace = { perSecond: 1, burst: 2 };
  const one = stile({
    ...{ connections: 100, perSecond: 1, burst: 4 },
    perAddress: { ...pace, connections: 9 },
    perNode: { ...pace, connections: 9 },
  });
  expect(inside(one, "192.0.2.1", 1000)).toBe(2);
  expect(one.enter("192.0.2.1")).toBe("too many new connections of one address");
  expect(inside(one, "192.0.2.2")).toBe(2);
  expect(one.enter("192.0.2.3")).toBe("too many new connections");
  now = 1000;
  expect(inside(one, "192.0.2.3")).toBe(1);
});

test("an IPv4 address in IPv6's spelling is the same one", () => {
  const one = stile();
  expect(inside(one, "::ffff:192.0.2.1")).toBe(3);
  expect(one.enter("192.0.2.1")).toBe("too many connections of one address");
});

test("addresses that left are forgotten, the oldest first, and nobody who is in", () => {
  const pace = { perSecond: 0.001, burst: 1 };
  const one = stile({ ...LIMITS, perAddress: { ...pace, connections: 2 } }, 2);
  const stays = "192.0.2.1";
  expect(inside(one, stays)).toBe(1);
  for (const address of ["192.0.2.2", "192.0.2.3", "192.0.2.4"]) {
    const left = one.enter(address);
    if (typeof left === "function") left();
  }
  expect(one.enter(stays)).toBe("too many new connections of one address");
  expect(one.enter("192.0.2.4")).toBe("too many new connections of one address");
  expect(one.enter("192.0.2.2")).toBeTypeOf("function");
});

test("the more nodes a tenant has, the more of who is behind them gets in", () => {
  expect(nodeLimits(0)).toMatchObject({ connections: 64 });
  expect(nodeLimits(200).connections).toBeGreaterThan(6000);
});
