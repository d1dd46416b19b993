import { type BootPart, percentile } from "../boot-part.ts";
import type { Measured } from "./thousand.ts";
import type { World } from "./world.ts";

/** What one part of `npm run bench -- tenants` found. */
export interface TenantsPart extends Omit<BootPart, "ratios"> {
  /** What the whole host took at some moments of it. */
  readonly measured?: readonly Measured[];
}

export interface TenantsOptions {
  readonly world: World;
  /** Tenants of one kind that are measured. */
  readonly count: number;
  /** A shorter run, to see that all works; its figures mean little. */
  readonly quick: boolean;
  say(line: string): void;
}

/** `p50 / p99`, for a table. */
export function spread(values: readonly number[]): string {
  return `${Math.round(percentile(values, 0.5))} / ${Math.round(percentile(values, 0.99))}`;
}

/** `nameP50Ms` and `nameP99Ms`. */
export function spreadFigures(name: string, values: readonly number[]): Record<string, number> {
  return { [`${name}P50Ms`]: Math.round(percentile(values, 0.5)), [`${name}P99Ms`]: Math.round(percentile(values, 0.99)) };
}

export function tenths(value: number): number {
  return Number(value.toFixed(1));
}

export function list(values: readonly number[]): string {
  return values.map((one) => Math.round(one)).join(", ");
}
