import { expect, test } from "vitest";
import { createMetrics } from "../../observe/index.ts";
import { gatewayMeter } from "./meter.ts";
import type { RoadCount } from "./tally.ts";
import type { TenantTraffic } from "./tenant.ts";

const NONE: RoadCount = { open: 0, accepted: 0, refused: {}, received: 0, sent: 0 };

function traffic(id: string, people: Partial<RoadCount>, change: Partial<TenantTraffic> = {}): TenantTraffic {
  return {
    id,
    ref: { namespace: "default", name: id },
    state: "awake",
    woken: false,
    people: { ...NONE, ...people },
    nodes: NONE,
    egress: NONE,
    held: 0,
    wakes: { done: 0, failed: 0 },
    lastRefusedDials: [],
    problems: [],
    ...change,
  };
}

test("counters grow by what is new, over the end of a gateway, of a daemon and of a tenant", async () => {
  const metrics = createMetrics();
  const look = async () => {
    const lines = (await metrics.text()).split("\n").filter((line) => line.startsWith("ironwright_gateway") && !/ 0$/.test(line));
    return lines.map((line) => line.replace("ironwright_gateway_", "")).sort();
  };
  const meter = gatewayMeter(metrics);
  meter([traffic("a", { open: 2, accepted: 5, received: 100, refused: { asleep: 1 } }), traffic("b", { accepted: 1 }, { held: 3 })]);
  expect(await look()).toEqual([
    'bytes_total{road="people",direction="received"} 100',
    'connections_total{road="people"} 6',
    "held_callers 3",
    'open_connections{road="people"} 2',
    'refused_total{road="people",reason="asleep"} 1',
  ]);
  meter([traffic("a", { accepted: 7, received: 150, refused: { asleep: 1 } }, { wakes: { done: 1, failed: 0 } })]);
  expect(await look()).toEqual([
    'bytes_total{road="people",direction="received"} 150',
    'connections_total{road="people"} 8',
    'refused_total{road="people",reason="asleep"} 1',
    'wakes_total{result="done"} 1',
  ]);
  // a gateway that began again counts from nothing
  meter([traffic("a", { accepted: 2, received: 10 })]);
  expect(await look()).toContain('connections_total{road="people"} 10');
  expect(await look()).toContain('bytes_total{road="people",direction="received"} 160');
});
