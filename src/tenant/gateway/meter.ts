import type { Metrics } from "../../observe/index.ts";
import type { TenantTraffic } from "./tenant.ts";

export type GatewayMetrics = Pick<
  Metrics,
  "gatewayOpen" | "gatewayAccepted" | "gatewayRefused" | "gatewayBytes" | "gatewayHeld" | "gatewayWakes"
>;

const ROADS = ["people", "nodes", "egress"] as const;

/**
 * Adds what the gateway counted since it was last asked to the daemon's metrics: the gateway outlives the daemon, and the daemon a
 * gateway, so either may begin anew.
 */
export function gatewayMeter(metrics: GatewayMetrics): (tenants: readonly TenantTraffic[]) => void {
  let before = new Map<string, number>();
  return (tenants) => {
    const now = new Map<string, number>();
    /** What is new of a number that only grows, unless it began again. */
    const grown = (key: string, value: number): number => {
      now.set(key, value);
      const last = before.get(key) ?? 0;
      return value >= last ? value - last : value;
    };
    for (const road of ROADS) {
      metrics.gatewayOpen.set(
        { road },
        tenants.reduce((sum, one) => sum + one[road].open, 0),
      );
      for (const { id, [road]: count } of tenants) {
        const key = (what: string) => `${id} ${road} ${what}`;
        metrics.gatewayAccepted.inc({ road }, grown(key("accepted"), count.accepted));
        for (const direction of ["received", "sent"] as const) {
          metrics.gatewayBytes.inc({ road, direction }, grown(key(direction), count[direction]));
        }
        for (const [reason, refused] of Object.entries(count.refused)) {
          metrics.gatewayRefused.inc({ road, reason }, grown(key(`refused ${reason}`), refused));
        }
      }
    }
    metrics.gatewayHeld.set(tenants.reduce((sum, one) => sum + one.held, 0));
    for (const { id, wakes } of tenants) {
      for (const result of ["done", "failed"] as const) metrics.gatewayWakes.inc({ result }, grown(`${id} ${result}`, wakes[result]));
    }
    before = now;
  };
}
