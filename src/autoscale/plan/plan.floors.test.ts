import { describe, expect, test } from "vitest";
import { plan } from "./plan.ts";
import type { PendingPod, Quota, WarmFloor } from "./world.ts";
import { machine, pod, tenant, world } from "./worlds.fixture.ts";

const BOX = { cpu: 64, memory: 512, gpu: 8 };
const H100 = { class: "h100" };
const FLOOR: WarmFloor = { machineClass: "h100", selector: H100, count: 1 };

const three = [1, 2, 3].map((n) => machine(`h${n}`, BOX, { labels: H100 }));
const pods = (count: number, more: Partial<PendingPod> = {}) =>
  Array.from({ length: count }, (_, n) => ({ ...pod(`x${n}`, { gpu: 8 }), ...more }));

function claims(waiting: readonly PendingPod[], floor: WarmFloor = FLOOR, quota?: Quota) {
  const result = plan({ ...world(three, tenant("a", { pods: waiting, ...(quota ? { quota } : {}) })), floors: [floor] });
  return { claims: result.claims.length, reason: result.refusals[0]?.reason };
}

describe("a warm floor", () => {
  test("keeps the last free machines of its class from ordinary demand", () => {
    expect(claims(pods(3)).claims).toBe(2);
    expect(claims(pods(3)).reason).toContain("warm floor of class h100: its last 1 free machines");
    expect(claims(pods(3), { ...FLOOR, count: 5 }).claims).toBe(0);
  });

  test("is there for owners, as far as they stay within nominal", () => {
    expect(claims(pods(3), FLOOR, { nominal: 3 }).claims).toBe(3);
    expect(claims(pods(3), { ...FLOOR, count: 2 }, { nominal: 1 }).claims).toBe(1);
  });

  test("is there for urgent pods: of a priority above 0, or as the operator says", () => {
    expect(claims(pods(3, { priority: 1 })).claims).toBe(3);
    expect(claims(pods(3, { priority: 999 }), { ...FLOOR, priority: 1_000 }).claims).toBe(2);
    expect(claims(pods(3, { priority: 1_000 }), { ...FLOOR, priority: 1_000 }).claims).toBe(3);
  });

  test("concerns the machines of its class that are free, and no others", () => {
    const other = machine("b1", BOX, { labels: { class: "b200" } });
    const wiping = machine("h4", BOX, { labels: H100, readyInS: 60 });
    const worldWith = world([...three, other, wiping], tenant("a", { pods: pods(5) }));
    expect(plan({ ...worldWith, floors: [FLOOR] }).claims.map((one) => one.machine)).not.toContain("h3");
    const waited = plan({ ...worldWith, floors: [FLOOR], policy: { waitForWipeS: 60 } });
    expect(waited.claims.map((one) => one.machine).sort()).toEqual(["b1", "h1", "h2", "h4"]);
  });

  test("holds for gangs: it is whole without the floor's machines, or absent", () => {
    const gang = pods(3, { gang: "g" });
    expect(claims(gang).claims).toBe(0);
    expect(claims(gang).reason).toContain("warm floor");
  });
});
